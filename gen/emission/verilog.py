"""Verilog text of a component."""

import itertools
import os
import re

from nibblegrad.gen.emission.axi import AxiWrapper
from nibblegrad.gen.emission.keywords import KEYWORDS
from nibblegrad.gen.emission.widths import widen_operands

__all__ = ["TURNS", "to_verilog"]

_ESCAPED = re.compile(r"\\(\S+) ")
_MODULE = re.compile(r"^module (\w+)\s*(.*?^endmodule)\n", re.DOTALL | re.MULTILINE)
_INSTANCE = re.compile(r"^  (\w+)(?= +\w+ \($)", re.MULTILINE)
_ANY_MODULE = re.compile(r"^module .*?^endmodule\n", re.DOTALL | re.MULTILINE)
_TRIGGER = re.compile(r"\\\$auto\$\S+ ")
_REGISTER = re.compile(r"^(  reg (?:\[\d+:0\] )?(\w+)) += (.*);$", re.MULTILINE)
_START = re.compile(r"^  reg (unused_trigger\w*) += 0;$", re.MULTILINE)
_ZEROS = re.compile(
    r"^  initial begin\n((?:    (\w+) ?\[\d+\] = (\d+'[hd])0+;\n)+)  end\n", re.MULTILINE
)
_CONCATENATION = re.compile(r"\{ ([^{}]*?) \}")

#: How often a loop turns, at most: by default some tools unroll no more than 5,000 turns.
TURNS = 4096

#: Rules of Verilator that are broken on purpose, by names that every version of it knows.
_BROKEN_RULES = {
    "UNUSED": "Parts of payloads and of intermediate results have names, used or not.",
    "DECLFILENAME": "A core with all its parts is one file to take.",
}


def to_verilog(component, name: str) -> str:
    """Convert a component to Verilog-2005: a module called ``name`` with AXI4-Stream ports.

    The text does not depend on the machine or on where the checkout lies, and holds no escaped
    identifiers. Parts of the component are modules called ``name__part``.

    Parameters
    ----------
    component : wiring.Component
        A core.
    name : str
        Name of the module.
    """
    # Amaranth takes any newer Yosys it finds first, and each writes other text.
    os.environ["AMARANTH_USE_YOSYS"] = "builtin"
    from amaranth.back import verilog

    text = verilog.convert(
        AxiWrapper(component), name=name, emit_src=False, strip_internal_attrs=True
    )
    text = _plain_identifiers(_ANY_MODULE.sub(_name_triggers, text))
    text = _ANY_MODULE.sub(lambda module: widen_operands(module[0]), text)
    # A declaration with a value would make two writers of a register that a process assigns.
    text = _REGISTER.sub(r"\1;\n  initial \2 = \3;", text)
    text = _CONCATENATION.sub(_replicate, _ZEROS.sub(_clear_in_loops, text))
    return _without_warnings(_share_modules(text))


def _without_warnings(text: str) -> str:
    """Tell linters what is meant, in the file itself: it holds wherever the file goes."""
    header, first, modules = text.partition("module ")
    comments = "".join(
        f"// {reason}\n// verilator lint_off {rule}\n" for rule, reason in _BROKEN_RULES.items()
    )
    return (
        f"{header}// verilator lint_save\n{comments}\n{first}{modules}\n// verilator lint_restore\n"
    )


def _name_triggers(module):
    """Name the signals by which Yosys starts processes without inputs, anew in each module."""
    names: dict[str, str] = {}

    def rename(match):
        count = len(names)
        return names.setdefault(match[0], f"unused_trigger{f'_{count}' if count else ''} ")

    text = _TRIGGER.sub(rename, module[0])
    # Last in the module, so that the processes already wait for the change from unknown to 0:
    # Icarus Verilog gives a register that is declared with a value no change to be seen.
    starts = "".join(f"  initial {name} = 0;\n" for name in _START.findall(text))
    return _START.sub(r"  reg \1;", text).replace("endmodule\n", f"{starts}endmodule\n")


def _clear_in_loops(block):
    """Clear a memory in loops: a line for each word makes tools slow, and readers tired."""
    count, name, zero = block[1].count("\n"), block[2], block[3] + "0"
    index = f"{name}_word"
    high = max((count - 1).bit_length(), 1) - 1
    loops = ""
    for first in range(0, count, TURNS):
        end = min(first + TURNS, count)
        loops += (
            f"    for ({index} = {first}; {index} < {end}; {index} = {index} + 1)\n"
            f"      {name}[{index}[{high}:0]] = {zero};\n"
        )
    return f"  integer {index};\n  initial begin\n{loops}  end\n"


def _replicate(concatenation):
    """Write an operand that is repeated, as in the extension of a sign, with its count."""
    parts = []
    for operand, repeated in itertools.groupby(concatenation[1].split(", ")):
        count = len(list(repeated))
        parts.append(operand if count == 1 else f"{{{count}{{{operand.strip()}}}}}")
    return f"{{ {', '.join(parts)} }}"


def _plain_identifiers(text: str) -> str:
    """Replace escaped identifiers by plain ones, unique in the file."""
    taken = set(KEYWORDS).union(re.findall(r"[A-Za-z_][\w$]*", _ESCAPED.sub(" ", text)))
    plain: dict[str, str] = {}

    def rename(match):
        escaped = match.group(1)
        if escaped not in plain:
            # Hierarchy is a double underscore; a leading dollar marks a nameless intermediate.
            is_module = escaped.count(".") and "[" not in escaped and "__" not in escaped
            candidate = escaped.replace(".", "__" if is_module else "_")
            candidate = re.sub(r"^\$", "_", candidate)
            candidate = re.sub(r"\W+", "_", candidate).rstrip("_")
            unique, count = candidate, 1
            while unique in taken:
                count += 1
                unique = f"{candidate}_{count}"
            taken.add(unique)
            plain[escaped] = unique
        return plain[escaped] + " "

    return _ESCAPED.sub(rename, text)


def _share_modules(text: str) -> str:
    """Keep one of the modules that are alike, such as the lanes of a core."""
    header = text[: text.index("module ")]
    modules: dict[str, str] = dict(_MODULE.findall(text))
    while True:
        alike: dict[str, list[str]] = {}
        for name, body in modules.items():
            alike.setdefault(body, []).append(name)
        shared: dict[str, str] = {}
        for names in alike.values():
            if len(names) > 1:
                # What is shared loses its number, if no other module bears the name.
                plain = re.sub(r"(_\d+)+$", "", names[0])
                taken = plain in modules or plain in shared.values()
                kept = names[0] if taken else plain
                shared |= dict.fromkeys(names, kept)
        if not shared:
            return header + "\n".join(f"module {name} {body}\n" for name, body in modules.items())
        modules = {
            shared.get(name, name): _rename_instances(body, shared)
            for name, body in modules.items()
        }


def _rename_instances(body: str, names: dict[str, str]) -> str:
    return _INSTANCE.sub(lambda match: "  " + names.get(match[1], match[1]), body)
