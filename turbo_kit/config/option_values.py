"""Checks of one value: its type, its range, and an error that names the option."""

import json
import math
import reprlib
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

from turbo_kit.config.errors import InputError, unknown

_brief = reprlib.Repr()
_brief.maxlevel = 2


def check_range(name: str, given: Any, low: float, high: float) -> None:
    """Raises an `InputError` unless a number, or each number of a list, lies from `low` to `high`."""
    for value in given if isinstance(given, list) else [given]:
        if isinstance(value, int | float) and not low <= value <= high:
            limit = f"at least {low:g}" if math.isinf(high) else f"from {low:g} to {high:g}"
            raise InputError(f"{name} = {value} is out of range: it must be {limit}.")


def checked(name: str, value: Any, hint: Any) -> Any:
    """Returns `value` as the type that `hint` asks for.

    Args:
        name: of the option, for errors.
        value: what the user gave; a whole number is taken where a float is asked for.
        hint: the option's type.

    Raises:
        InputError: a value of another type. It is shown in part: from YAML it may hold itself, or unfold without end.
    """
    origin, choices = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if value in choices:
            return value
        shown = value if isinstance(value, str) else _brief.repr(value)
        raise unknown(f"value of {name}", shown, [str(choice) for choice in choices])
    if origin in (types.UnionType, typing.Union):
        return _first_that_fits(name, value, choices)
    if origin is dict:
        if isinstance(value, Mapping):
            of = choices[1]
            return {checked(name, key, str): checked(f"{name}[{key!r}]", item, of) for key, item in value.items()}
        raise InputError(f"{name} = {_brief.repr(value)}: expected names and values, such as {{'a1-t1': 0.5}}.")
    if origin is list:
        if isinstance(value, list | tuple):
            return [checked(f"{name}[{place}]", item, choices[0]) for place, item in enumerate(value)]
        raise InputError(f"{name} = {_brief.repr(value)}: expected a list of numbers, such as [0.1, 0.5].")
    return _scalar(name, value, hint)


def _first_that_fits(name: str, value: Any, hints: tuple[Any, ...]) -> Any:
    for hint in hints:
        try:
            return checked(name, value, hint)
        except InputError:
            continue
    expected = " or ".join(_type_name(hint) for hint in hints)
    raise InputError(f"{name} = {_brief.repr(value)}: expected {expected}.")


def _scalar(name: str, value: Any, hint: Any) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1e300:
        value = float(value)
    wrong_bool = isinstance(value, bool) and hint is not bool
    if wrong_bool or not isinstance(value, hint) or (hint is float and not math.isfinite(value)):
        shown = _brief.repr(value) if isinstance(value, list | tuple | Mapping) else json.dumps(value, default=repr)
        raise InputError(f"{name} = {shown}: expected {_type_name(hint)}.")
    return value


def _type_name(hint: Any) -> str:
    names = {int: "a whole number", float: "a finite number", str: "a text", bool: "true or false"}
    names[type(None)] = "None"
    if typing.get_origin(hint) is Literal:
        return " or ".join(repr(choice) for choice in typing.get_args(hint))
    return names.get(hint, str(hint))
