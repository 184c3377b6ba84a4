"""Cases of a parametrised test that `make test` leaves to `make test-all`."""

from typing import Any

import pytest


def slow(case: Any) -> Any:
    """The same case, marked slow."""
    return pytest.param(case, marks=pytest.mark.slow)
