"""Numbers of the command line: whether they can be meant."""

from golden.errors import InputError

__all__ = ["check_range"]


def check_range(option: str, value: float | None, least: float, greatest: float) -> None:
    """Refuse a number that is out of range, or is none. An option that was left out is fine.

    Raises
    ------
    InputError
        If ``value`` is not ``least`` to ``greatest``, as NaN is not.
    """
    if value is not None and not least <= value <= greatest:
        raise InputError(f"{option} must be {least:,} to {greatest:,}, not {value}")
