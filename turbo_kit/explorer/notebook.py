"""The check of a notebook's parameters, before it does anything else."""

from collections.abc import MutableMapping
from typing import Any

from turbo_kit.config import InputError, notebook_literals, unknown

_CHECKED = "_parameters_checked"
_TYPES = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a text",
    list: "a list",
    dict: "a dict",
}


def check_parameters(variables: MutableMapping[str, Any], **known: type | tuple[str, ...]) -> None:
    """Stops a notebook whose parameters are none of its own: papermill would only warn, and run with the defaults.

    Args:
        variables: `globals()` of the notebook, right after its `parameters` cell. Names are checked once in a kernel:
            when the cell is run again, what the notebook made of its own since is no parameter.
        known: each parameter with its type, or with the values that it may take. The knobs of a run are checked more
            closely by `RunConfig`.

    Raises:
        InputError: a parameter that the notebook does not have, with the nearest one that it has, or a wrong value.
    """
    if not variables.get(_CHECKED):
        for name in notebook_literals(variables):
            if name not in known:
                raise unknown("parameter", name, known)
    for name, expected in known.items():
        _check_value(name, variables[name], expected)
    variables[_CHECKED] = True


def _check_value(name: str, value: Any, expected: type | tuple[str, ...]) -> None:
    if isinstance(expected, tuple):
        if value not in expected:
            raise unknown(f"value of {name}", str(value), expected)
        return
    right = isinstance(value, (int, float) if expected is float else expected)
    if not right or (isinstance(value, bool) and expected is not bool):
        raise InputError(f"{name} = {value!r}: expected {_TYPES.get(expected, expected.__name__)}.")
