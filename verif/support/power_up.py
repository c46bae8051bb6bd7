"""What memories and registers hold at power-up, where it is not what the Verilog says."""

import re

__all__ = ["hold_chance", "hold_nothing_known"]

_MODULE = re.compile(r"^module .*?^endmodule", re.DOTALL | re.MULTILINE)
_MEMORY = re.compile(r"^ *reg +(?:\[\d+:0\] +)?(\w+) +\[\d+:0\];$", re.MULTILINE)
_REGISTER = re.compile(r"^( *initial \w+ = )(\d+)'s?[hdb][0-9a-fA-F]+;$", re.MULTILINE)
_RESET = re.compile(r"^( *initial \w+_rst = )1'h[01];$", re.MULTILINE)
_CLEARED = re.compile(r"^( *(\w+) *\[.+\] = )(\d+)'[hd]0+;$", re.MULTILINE)


def hold_nothing_known(verilog):
    """Start every memory with x, as without an ``initial`` block.

    Parameters
    ----------
    verilog : str
        Text that the generator made.
    """
    return _fill(verilog, lambda bits: f"{{{bits}{{1'bx}}}}")


def hold_chance(verilog, registers=False):
    """Start every word of every memory with random bits, of `$random`.

    Parameters
    ----------
    verilog : str
        Text that the generator made.
    registers : bool
        Whether registers start so, too: for what is reset before it is used. Those that pass on
        a reset begin with it: a part that is not in reset yet is held to its promises.
    """
    text = _fill(verilog, _chance)
    if not registers:
        return text

    def start(register):
        if _RESET.fullmatch(register[0]):
            return f"{register[1]}1'h1;"
        return _quietly(f"{register[1]}{_chance(int(register[2]))};")

    return _REGISTER.sub(start, text)


def _chance(bits):
    """Write random bits: as many, or more."""
    return f"{{{', '.join(['$random'] * -(-bits // 32))}}}"


def _quietly(line):
    """Let Verilator say nothing of a value that is too wide."""
    return f"// verilator lint_off WIDTHTRUNC\n{line}\n// verilator lint_on WIDTHTRUNC"


def _fill(verilog, contents):
    """Replace the zeros that words of memories begin with by what ``contents`` makes of a width."""

    def fill_module(module):
        memories = set(_MEMORY.findall(module[0]))
        filled = set()

        def fill(match):
            if match[2] not in memories:
                return match[0]
            filled.add(match[2])
            return _quietly(f"{match[1]}{contents(int(match[3]))};")

        text = _CLEARED.sub(fill, module[0])
        # A memory that keeps its zeros would test nothing.
        assert filled == memories, f"not filled: {sorted(memories - filled)}"
        return text

    return _MODULE.sub(fill_module, verilog)
