"""The error that tells a user what is wrong with what they gave."""

import difflib
from collections.abc import Iterable


class InputError(Exception):
    """Something the user gave cannot be used; the message says what, what was expected, and what to do."""

    def _render_traceback_(self) -> list[str]:
        """What Jupyter shows in the place of a traceback: the message."""
        return [f"InputError: {self}"]


def unknown(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that does not exist, with the nearest one that does."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f": did you mean {near[0]!r}?" if near else "."
    return InputError(f"unknown {kind} {name!r}{hint} Known: {', '.join(names)}.")
