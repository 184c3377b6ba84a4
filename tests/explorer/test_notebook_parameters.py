"""The check of a notebook's parameters stops what papermill would let pass."""

import pytest

from turbo_kit import InputError
from turbo_kit.explorer.notebook import check_parameters

KNOWN = {"epochs": int, "rate": float, "view": ("audio", "text"), "interactive": bool}


def variables(**changes):
    return {"In": [], "Out": {}, "_": 3, "epochs": 3, "rate": 1, "view": "audio", "interactive": False, **changes}


def test_right_parameters_pass_beside_what_jupyter_and_imports_leave():
    check_parameters(variables(check=check_parameters), **KNOWN)


def test_an_unknown_parameter_is_named_with_the_nearest_one():
    with pytest.raises(InputError, match="unknown parameter 'epoch': did you mean 'epochs'"):
        check_parameters(variables(epoch=5), **KNOWN)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": "3"}, "epochs = '3': expected a whole number"),
        ({"epochs": True}, "epochs = True: expected a whole number"),
        ({"rate": None}, "rate = None: expected a number"),
        ({"interactive": 1}, "interactive = 1: expected True or False"),
        ({"view": "txt"}, "unknown value of view 'txt': did you mean 'text'"),
    ],
)
def test_a_wrong_value_is_said_in_one_sentence(changes, message):
    with pytest.raises(InputError, match=message):
        check_parameters(variables(**changes), **KNOWN)


def test_run_again_it_takes_no_result_for_a_parameter_and_still_checks_values():
    notebook = variables()
    check_parameters(notebook, **KNOWN)
    notebook["scores"] = [0.5]
    check_parameters(notebook, **KNOWN)
    notebook["epochs"] = 0.5
    with pytest.raises(InputError, match="epochs"):
        check_parameters(notebook, **KNOWN)


def test_a_parameter_that_failed_once_fails_again():
    notebook = variables(epoch=5)
    for _ in range(2):
        with pytest.raises(InputError, match="epoch"):
            check_parameters(notebook, **KNOWN)
