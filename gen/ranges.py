"""Numbers and names of the command line: whether they can be meant."""

from collections.abc import Collection

from nibblegrad.golden.errors import InputError

__all__ = ["check_range", "parse_names", "parse_sizes"]


def check_range(option: str, value: float | None, least: float, greatest: float) -> None:
    """Refuse a number that is out of range, or is none. An option that was left out is fine.

    Raises
    ------
    InputError
        If ``value`` is not ``least`` to ``greatest``, as NaN is not.
    """
    if value is not None and not least <= value <= greatest:
        raise InputError(f"{option} must be {least:,} to {greatest:,}, not {value}")


def parse_names(what: str, text: str, known: Collection[str]) -> list[str]:
    """Read names with commas between them; what is named twice is meant once.

    Raises
    ------
    InputError
        If one is not known.
    """
    names = text.split(",")
    for name in names:
        if name not in known:
            raise InputError(f"{what} must be one of {', '.join(known)}, not {name!r}")
    return list(dict.fromkeys(names))


def parse_sizes(what: str, text: str) -> tuple[int, ...]:
    """Read whole numbers with commas between them.

    Raises
    ------
    InputError
        If the text is nothing of the kind.
    """
    try:
        return tuple(int(size) for size in text.split(","))
    except ValueError:
        raise InputError(
            f"{what} must be whole numbers separated by commas, not {text!r}"
        ) from None
