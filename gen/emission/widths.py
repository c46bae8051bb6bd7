"""Operands of Verilog's operators, written as wide as what is made of them."""

import re
from dataclasses import dataclass

__all__ = ["widen_operands"]

_DECLARATION = re.compile(r"^  (?:wire|reg) (?:\[(\d+):0\] )?(\w+)", re.MULTILINE)
# A product stays as it is: the widths of its operands tell tools which multiplier it needs.
_OPERATION = re.compile(
    r"^(  assign (.+?) = )(\S.*?) (\+|-|<|<=|>|>=|==|!=|<<) (\S.*?) ?;$", re.MULTILINE
)
_NEGATION = re.compile(r"^(  assign .+? = )! (\S.*?) ?;$", re.MULTILINE)
_SIGNED = re.compile(r"\$signed\((.+)\)")
_CONCATENATION = re.compile(r"\{ (.+?) \}")
_CONSTANT = re.compile(r"(\d+)'([bdh])([\da-f]+)")
_SIGNAL = re.compile(r"(\w+) ?(?:\[(\d+)(?::(\d+))?\])?")
_BASES = {"b": 2, "d": 10, "h": 16}


def widen_operands(module: str) -> str:
    """Write out how operands are extended that are narrower than the operation.

    Verilog does it by itself, by zeros or, if both are signed, by the sign; so this changes
    nothing, but linters need not ask whether it was meant. What has another form stays as it is.
    For the same reason the logical negation of a vector is its comparison with zero.

    Parameters
    ----------
    module : str
        A module as Yosys writes it, with one operator to an assignment.
    """
    widths = {name: int(high or 0) + 1 for high, name in _DECLARATION.findall(module)}

    def widen(match: re.Match[str]) -> str:
        start, result, left, operator, right = match.groups()
        # How far to shift is a number by itself.
        given = [left] if operator == "<<" else [left, right]
        try:
            operands = [_operand(text, widths) for text in given]
            width = max(operand.width for operand in operands)
            if operator in ("+", "-", "<<"):
                width = max(width, _operand(result, widths).width)
        except _UnknownError:
            return match[0]
        if len({operand.signed for operand in operands}) > 1:
            return match[0]
        texts = [operand.extended(width) for operand in operands] + [right]
        return f"{start}{texts[0]} {operator} {texts[1]};"

    def compare(match: re.Match[str]) -> str:
        start, operand = match.groups()
        try:
            width = _operand(operand, widths).width
        except _UnknownError:
            return match[0]
        return f"{start}{operand} == {width}'h0;" if width > 1 else match[0]

    return _NEGATION.sub(compare, _OPERATION.sub(widen, module))


class _UnknownError(Exception):
    """The text is neither a signal nor a constant, nor a concatenation of these."""


@dataclass
class _Operand:
    """Parts from the highest to the lowest, as text, with the widths of both."""

    parts: list[str]
    width: int
    highest_width: int
    signed: bool

    def extended(self, width: int) -> str:
        more = width - self.width
        parts = self.parts
        constant = _CONSTANT.fullmatch(parts[0])
        if more and constant:
            parts = [self._wider(constant, self.highest_width + more), *parts[1:]]
        elif more and self.signed:
            parts = [self._sign()] * more + parts
        elif more:
            parts = [f"{more}'h{0:0{-(-more // 4)}x}", *parts]
        text = parts[0] if len(parts) == 1 else f"{{ {', '.join(parts)} }}"
        return f"$signed({text})" if self.signed else text

    def _wider(self, constant, width):
        value = int(constant[3], _BASES[constant[2]])
        if self.signed and value >> (self.highest_width - 1):
            value += (1 << width) - (1 << self.highest_width)
        return f"{width}'h{value:0{-(-width // 4)}x}"

    def _sign(self):
        if self.highest_width == 1:
            return self.parts[0]
        name, _, range_ = self.parts[0].partition("[")
        high = range_.partition(":")[0] or self.highest_width - 1
        return f"{name.strip()}[{high}]"


def _operand(text: str, widths: dict[str, int]) -> _Operand:
    signed = _SIGNED.fullmatch(text)
    text = (signed[1] if signed else text).strip()
    concatenation = _CONCATENATION.fullmatch(text)
    parts = [part.strip() for part in (concatenation[1] if concatenation else text).split(", ")]
    of_parts = [_width(part, widths) for part in parts]
    return _Operand(parts, sum(of_parts), of_parts[0], bool(signed))


def _width(part: str, widths: dict[str, int]) -> int:
    constant = _CONSTANT.fullmatch(part)
    if constant:
        return int(constant[1])
    signal = _SIGNAL.fullmatch(part)
    if not signal or signal[1] not in widths:
        raise _UnknownError(part)
    _, high, low = signal.groups()
    if high is None:
        return widths[signal[1]]
    return 1 if low is None else int(high) - int(low) + 1
