"""Checks of the parameters of components."""

__all__ = ["check_integer", "check_type"]


def check_integer(what, value, least, greatest):
    """Refuse a value that is not an integer from ``least`` to ``greatest``."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{what} must be an integer, not {value!r}")
    if not least <= value <= greatest:
        raise ValueError(f"{what} must be {least} to {greatest}, not {value}")


def check_type(what, value, kind):
    """Refuse a value that is not an instance of ``kind``."""
    if not isinstance(value, kind):
        raise TypeError(f"{what} must be a {kind.__name__}, not {value!r}")
