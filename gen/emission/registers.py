"""The register table as text: SystemRDL, a C header, Markdown, and what PeakRDL makes of it."""

# Ref: Accellera SystemRDL 2.0 Register Description Language

import enum
import os
import re
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from nibblegrad.golden.engine.command import Destination, ErrorCode, Operation
from nibblegrad.golden.engine.registers import IDENTIFIER, REGISTERS, VERSION, Field, Register
from nibblegrad.golden.numbers.rounding import RoundMode

__all__ = [
    "CODES",
    "documents",
    "files",
    "to_c_header",
    "to_markdown",
    "to_systemrdl",
]

#: The fields that hold codes, and what the codes mean.
CODES: dict[tuple[str, str], type[enum.IntEnum]] = {
    ("ERROR", "value"): ErrorCode,
    ("COMMAND", "operation"): Operation,
    ("COMMAND", "destination"): Destination,
    ("COMMAND", "mode"): RoundMode,
}

#: Properties of the fields of a register, by its access.
_PROPERTIES = {
    "rw": "sw = rw; hw = r; reset = 0;",
    "ro": "sw = r; hw = w;",
    "wo": "sw = w; hw = r; swmod;",
    "w1c": "sw = rw; onwrite = woclr; hw = rw; hwset; reset = 0;",
}

#: What holds for every register; see :class:`nibblegrad.hdl.engine.axi_lite.AxiLiteRegisters`.
_RULES = """\
32 bits each, over AXI4-Lite. Bits of no field read as 0 and are ignored when written. The lowest
two bits of an address are ignored.

| access | read | write |
|---|---|---|
| read and write | OKAY, what was written last | OKAY; bytes without strobe keep their value |
| read only | OKAY | SLVERR, changes nothing |
| write only | OKAY, and 0 | OKAY; bytes without strobe count as 0, without any it is no write |
| write 1 to clear | OKAY | OKAY; clears the bits that are written as 1, in bytes with a strobe |
| addresses without a register | SLVERR, and 0 | SLVERR, changes nothing |

A response tells about the address alone. A command that is refused, or a seed that comes too early,
is answered with OKAY and sets ERROR.""".splitlines()

_ACCESS = {
    "rw": "read and write",
    "ro": "read only",
    "wo": "write only",
    "w1c": "read, write 1 to clear",
}


def files(name: str) -> dict[str, str]:
    """Make the text of every file about the registers of a training core, by its name.

    Parameters
    ----------
    name : str
        Name of the module.
    """
    stem = f"{name}_registers"
    return {
        f"{stem}.rdl": to_systemrdl(stem),
        f"{stem}.h": to_c_header(),
        f"{stem}.md": to_markdown(name),
    }


def to_systemrdl(name: str, registers: Sequence[Register] = REGISTERS) -> str:
    """Describe registers in SystemRDL.

    Parameters
    ----------
    name : str
        Name of the address map; no keyword of SystemRDL.
    registers : sequence of Register
        The table.
    """
    codes = {CODES[key]: None for register in registers for key in _keys(register) if key in CODES}
    lines = [
        f"addrmap {name} {{",
        f'    name = "Registers of {name}";',
        "    default regwidth = 32;",
        "    default accesswidth = 32;",
    ]
    for values in codes:
        lines += ["", f"    enum {_snake(values)} {{"]
        lines += [f"        {value.name} = {value.value};" for value in values]
        lines += ["    };"]
    for register in registers:
        lines += ["", "    reg {", f'        name = "{register.name}";']
        lines += [f'        desc = "{_quoted(register.description)}";']
        for part in register.fields:
            lines += ["        field {", f'            desc = "{_quoted(_described(part))}";']
            lines += [f"            {_PROPERTIES[register.access]}"]
            if (register.name, part.name) in CODES:
                values = CODES[register.name, part.name]
                lines += [f"            encode = {_snake(values)};"]
            lines += [f"        }} {part.name}[{part.low + part.bits - 1}:{part.low}];"]
        lines += [f"    }} {register.name} @ 0x{register.offset:03X};"]
    return "\n".join(lines) + "\n};\n"


def to_c_header(registers: Sequence[Register] = REGISTERS) -> str:
    """Describe registers as macros and enumerations of C99, which are C++ as well.

    The text does not depend on a module: a program may include the headers of several.

    Parameters
    ----------
    registers : sequence of Register
        The table.
    """
    lines = [
        "/*",
        " * Registers of the training core.",
        " *",
        " * REGISTER_OFFSET is the byte address of a register. A field of it is",
        " * (word & REGISTER_FIELD_MASK) >> REGISTER_FIELD_SHIFT; where a register is one number,",
        " * FIELD is left out.",
        " */",
        "#ifndef NIBBLEGRAD_REGISTERS_H",
        "#define NIBBLEGRAD_REGISTERS_H",
        "",
        "/* What the registers ID and VERSION hold. */",
        f"#define NIBBLEGRAD_IDENTIFIER 0x{IDENTIFIER:08X}u",
        f"#define NIBBLEGRAD_MAP_VERSION 0x{VERSION:08X}u",
    ]
    for register in registers:
        prefix = f"NIBBLEGRAD_{register.name}"
        lines += ["", f"/* {register.name}, {_ACCESS[register.access]}. {register.description} */"]
        lines += [f"#define {prefix}_OFFSET 0x{register.offset:03X}u"]
        for part in register.fields:
            macro = prefix if part.name == "value" else f"{prefix}_{part.name.upper()}"
            if part.name != "value":
                lines += [f"/* {_described(part)} */"]
            elif part.signed:
                lines += ["/* Two's complement. */"]
            lines += [f"#define {macro}_SHIFT {part.low}u"]
            lines += [f"#define {macro}_MASK 0x{part.mask << part.low:08X}u"]
    for values in CODES.values():
        prefix = f"NIBBLEGRAD_{_snake(values).upper()}"
        lines += ["", f"/* {_summary(values)} */", f"enum {prefix.lower()} {{"]
        lines += [",\n".join(f"    {prefix}_{value.name} = {value.value}" for value in values)]
        lines += ["};"]
    return "\n".join([*lines, "", "#endif", ""])


def to_markdown(name: str, registers: Sequence[Register] = REGISTERS) -> str:
    """Describe registers in Markdown: a table of them all, and one for each field of codes.

    Parameters
    ----------
    name : str
        Name of the module.
    registers : sequence of Register
        The table.
    """
    lines = [
        f"# Registers of `{name}`",
        "",
        *_RULES,
        "",
        "| offset | register | bits | field | access | what it is |",
        "|---|---|---|---|---|---|",
    ]
    for register in registers:
        number = register.fields[0] if [*_keys(register)] == [(register.name, "value")] else None
        bits = _range(number) if number else ""
        text = _described(number) if number else register.description
        lines += [
            f"| 0x{register.offset:03X} | {register.name} | {bits} | | {_ACCESS[register.access]} "
            f"| {text} |"
        ]
        if not number:
            lines += [
                f"| | | {_range(part)} | {part.name} | | {_described(part)} |"
                for part in register.fields
            ]
    for (register_name, field_name), values in CODES.items():
        where = register_name if field_name == "value" else f"{register_name}.{field_name}"
        lines += ["", f"## Codes of {where}", "", "| code | meaning |", "|---|---|"]
        lines += [f"| {value.value} | {value.name} |" for value in values]
    return "\n".join(lines) + "\n"


def documents(name: str, rdl: str) -> dict[str, bytes]:
    """Let PeakRDL make web pages and a C header with structures.

    Parameters
    ----------
    name : str
        Name of the address map.
    rdl : str
        The map in SystemRDL.

    Returns
    -------
    dict of str to bytes
        ``NAME_structs.h``, and the pages in a folder ``NAME_html``, by their names.
    """
    # PeakRDL knows git, and complains where there is none.
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    # They take longer to load than most configurations to make.
    from peakrdl_cheader.exporter import CHeaderExporter
    from peakrdl_html import HTMLExporter
    from systemrdl import RDLCompiler

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        source = folder / f"{name}.rdl"
        source.write_text(rdl, encoding="utf-8")
        compiler = RDLCompiler()
        compiler.compile_file(str(source))
        root = compiler.elaborate()
        source.unlink()
        HTMLExporter(generate_source_links=False).export(root, str(folder / f"{name}_html"))
        CHeaderExporter().export(root, str(folder / f"{name}_structs.h"))
        made = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
    index = f"{name}_html/index.html"
    made[index] = _without_time(made[index], rdl)
    return made


def _without_time(page: bytes, rdl: str) -> bytes:
    """Put a number that depends on the map in the place of the time, by which browsers reload."""
    time = re.search(rb"var BUILD_TS = (\d+);", page)
    return page.replace(time[1], b"%d" % zlib.crc32(rdl.encode())) if time else page


def _keys(register: Register) -> list[tuple[str, str]]:
    return [(register.name, part.name) for part in register.fields]


def _described(part: Field) -> str:
    return f"{part.description} Two's complement." if part.signed else part.description


def _range(part: Field) -> str:
    high = part.low + part.bits - 1
    return f"{part.low}" if part.bits == 1 else f"{high}:{part.low}"


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _snake(values: type[enum.IntEnum]) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", values.__name__).lower()


def _summary(values: type[enum.IntEnum]) -> str:
    return (values.__doc__ or "").partition(".")[0] + "."
