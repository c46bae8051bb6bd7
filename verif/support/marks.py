"""Which cases of a test wait for `make test-all`."""

import pytest

__all__ = ["slow"]


def slow(*values):
    """Mark a case as one that `make test` has no time for."""
    return pytest.param(*values, marks=pytest.mark.slow)
