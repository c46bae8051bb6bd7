"""What callers write for a format, a mode or a scale: taken if it is clear, refused otherwise."""

import enum
import re
from typing import TypeVar

from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.formats import (
    WIDE_FORMATS,
    FloatFormat,
    Fp4Format,
    IntFormat,
    Scale,
)
from nibblegrad.golden.numbers.gradient_format import GRADIENT_FORMATS, GradientFormat

__all__ = ["check_scale", "take_format", "take_member"]

_Format = TypeVar("_Format", IntFormat, Fp4Format, GradientFormat, FloatFormat)
_Member = TypeVar("_Member", bound=enum.IntEnum)

#: Names of the formats of a kind, for the sentence that refuses another.
_EXAMPLES = {
    IntFormat: "an IntFormat, or its name, such as 'int4' or 'uint4'",
    Fp4Format: "an Fp4Format, or its name, 'fp4_radix2' or 'fp4_radix4'",
    GradientFormat: "a GradientFormat, or the name of one, such as 'fp4_radix2'",
    FloatFormat: f"a FloatFormat, or its name, {', '.join(map(repr, WIDE_FORMATS))}",
}


def _named(name: str) -> IntFormat | GradientFormat | FloatFormat | None:
    if match := re.fullmatch(r"(u?)int(\d{1,2})", name):
        return IntFormat(int(match[2]), signed=not match[1])
    return WIDE_FORMATS.get(name) or GRADIENT_FORMATS.get(name)


def take_format(what: str, fmt: _Format | str, kind: type[_Format]) -> _Format:
    """Take a format, or its name.

    Parameters
    ----------
    what : str
        What the format is of, at the beginning of a sentence.
    fmt : format or str
    kind : type
        Which formats are meant.

    Raises
    ------
    InputError
        If it is none of these.
    """
    found = _named(fmt) if isinstance(fmt, str) else fmt
    if not isinstance(found, kind):
        raise InputError(f"{what} must be {_EXAMPLES[kind]}, not {fmt!r}")
    return found


def take_member(what: str, value: _Member | str | int, kind: type[_Member]) -> _Member:
    """Take a member of an enumeration, its name in letters of any case, or its number.

    Raises
    ------
    InputError
        If it is none of these.
    """
    if isinstance(value, kind):
        return value
    # The number of a member of another enumeration means something else.
    for member in () if isinstance(value, enum.Enum) else kind:
        if (value.upper() == member.name) if isinstance(value, str) else value == member:
            return member
    names = ", ".join(member.name.lower() for member in kind)
    raise InputError(f"{what} must be one of {kind.__name__}, {names}, not {value!r}")


def check_scale(what: str, value: Scale) -> Scale:
    """Refuse a bare number where a scale is meant: nobody could say how it is rounded.

    Raises
    ------
    InputError
        If it is no :class:`Scale`.
    """
    if not isinstance(value, Scale):
        raise InputError(f"{what} must be a Scale, such as Scale.from_float(0.5), not {value!r}")
    return value
