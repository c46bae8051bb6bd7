"""What memories hold at power-up, where it is not what the emitted Verilog says."""

import re

__all__ = ["hold_chance", "hold_nothing_known"]

_MODULE = re.compile(r"^module .*?^endmodule", re.DOTALL | re.MULTILINE)
_MEMORY = re.compile(r"^ *reg +(?:\[\d+:0\] +)?(\w+) +\[\d+:0\];$", re.MULTILINE)
#: What comes before and after a value that is too wide, for Verilator.
_QUIET = ("// verilator lint_off WIDTHTRUNC", "// verilator lint_on WIDTHTRUNC")
_CLEARED = re.compile(r"^( *(\w+) *\[.+\] = )(\d+)'[hd]0+;$", re.MULTILINE)


def hold_nothing_known(verilog):
    """Start every memory with x, as without an ``initial`` block.

    Parameters
    ----------
    verilog : str
        Text that the generator made.
    """
    return _fill(verilog, lambda bits: f"{{{bits}{{1'bx}}}}")


def hold_chance(verilog):
    """Start every word of every memory with random bits, of `$random`.

    Parameters
    ----------
    verilog : str
        Text that the generator made.
    """
    return _fill(verilog, lambda bits: f"{{{', '.join(['$random'] * -(-bits // 32))}}}")


def _fill(verilog, contents):
    """Replace the zeros that words of memories begin with by what ``contents`` makes of a width."""

    def fill_module(module):
        memories = set(_MEMORY.findall(module[0]))
        filled = set()

        def fill(match):
            if match[2] not in memories:
                return match[0]
            filled.add(match[2])
            # As many bits as there are, or more.
            return f"{_QUIET[0]}\n{match[1]}{contents(int(match[3]))};\n{_QUIET[1]}"

        text = _CLEARED.sub(fill, module[0])
        # A memory that keeps its zeros would test nothing.
        assert filled == memories, f"not filled: {sorted(memories - filled)}"
        return text

    return _MODULE.sub(fill_module, verilog)
