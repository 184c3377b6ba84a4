"""The examples in the docstrings run and say what happens."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize("module", ["", ".info_nce", ".objective"], ids=["objectives", "info_nce", "objective"])
def test_the_examples_of_a_docstring_run(module):
    found = importlib.import_module("turbo_kit.objectives" + module)
    outcome = doctest.testmod(found, extraglobs={"torch": importlib.import_module("torch")})
    assert outcome.attempted > 1
    assert outcome.failed == 0
