# amaranth: UnusedElaboratable=no
"""The register table, and that everything made from it says the same."""

import dataclasses
import re
import subprocess

import numpy as np
import pytest

from nibblegrad.gen import packaging
from nibblegrad.gen.command_line import main
from nibblegrad.gen.config import CORES, CoreConfig
from nibblegrad.gen.emission import registers
from nibblegrad.gen.outputs import MANIFEST
from nibblegrad.golden.engine.command import Command, Destination, ErrorCode, Operation
from nibblegrad.golden.engine.registers import (
    BY_NAME,
    IDENTIFIER,
    REGISTERS,
    VERSION,
    command_writes,
)
from nibblegrad.golden.numbers.rounding import RoundMode

NAME = "core"
FIELDS = [(register, part) for register in REGISTERS for part in register.fields]

# How SystemRDL says what software may do.
RDL_ACCESS = {"rw": "rw", "ro": "r", "wo": "w", "w1c": "rw"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with all files about the registers."""
    where = tmp_path_factory.mktemp("registers")
    texts = registers.files(NAME)
    for name, text in texts.items():
        (where / name).write_text(text)
    stem = f"{NAME}_registers"
    made = registers.documents(stem, texts[f"{stem}.rdl"])
    (where / "structs.h").write_bytes(made[f"{stem}_structs.h"])
    return where


def test_table_is_consistent():
    offsets = [register.offset for register in REGISTERS]
    assert offsets == sorted(set(offsets)) and not any(offset % 4 for offset in offsets)
    assert len(BY_NAME) == len(REGISTERS) > 40
    for register in REGISTERS:
        assert re.fullmatch(r"[A-Z][A-Z0-9_]*", register.name)
        assert register.access in ("rw", "ro", "wo", "w1c")
        end = 0
        for part in register.fields:
            assert part.low >= end and part.bits > 0, f"{register.name}.{part.name}"
            end = part.low + part.bits
        assert 0 < end <= 32, register.name
        names = [part.name for part in register.fields]
        assert len(set(names)) == len(names) and ("value" not in names or len(names) == 1)
        for text in (register.description, *(part.description for part in register.fields)):
            assert text.endswith(".") and "|" not in text and "*/" not in text


def test_codes_fit_their_fields():
    for (register, name), values in registers.CODES.items():
        (part,) = (part for part in BY_NAME[register].fields if part.name == name)
        assert max(values) <= part.mask


def test_words_hold_their_fields():
    scale = BY_NAME["SCALE"]
    word = scale.pack(significand=0xBEEF, exponent=-3)
    assert word == 0x00FD_BEEF
    assert scale.unpack(word | 0xFF00_0000) == {"significand": 0xBEEF, "exponent": -3}
    assert scale.pack(exponent=127) == 0x007F_0000
    assert scale.pack(significand=0x1_0001, exponent=-129) == 0x007F_0001
    assert BY_NAME["FP4_EXPONENT"].unpack(0x80) == {"value": -128}


def test_commands_come_back_from_their_registers():
    rng = np.random.default_rng(1)
    ranges = {
        "significand": (0, 1 << 16),
        "exponent": (-128, 128),
        "fp4_exponent": (-128, 128),
        "operation": (0, 16),
        "destination": (0, 4),
        "mode": (0, 4),
    }
    flags = {field.name for field in dataclasses.fields(Command) if field.type is bool}
    assert len(flags) > 10
    for trial in range(300):
        values = {}
        for field in dataclasses.fields(Command):
            low, high = (0, 2) if field.name in flags else ranges.get(field.name, (0, 1 << 16))
            # The ends as well, which chance may miss.
            values[field.name] = (
                (low, high - 1)[trial] if trial < 2 else int(rng.integers(low, high))
            )
        writes = command_writes(Command(**values))
        assert [*writes][-1] == "COMMAND"
        found = {}
        for name, word in writes.items():
            assert BY_NAME[name].access == ("wo" if name == "COMMAND" else "rw")
            assert 0 <= word < 1 << 32
            fields = BY_NAME[name].unpack(word)
            found |= {name.lower(): fields["value"]} if "value" in fields else fields
        assert found == values


def test_systemrdl_says_the_same(folder):
    from systemrdl import RDLCompiler
    from systemrdl.rdltypes import OnWriteType

    compiler = RDLCompiler()
    compiler.compile_file(str(folder / f"{NAME}_registers.rdl"))
    top = compiler.elaborate().top
    found = [*top.registers()]
    assert [node.inst_name for node in found] == [register.name for register in REGISTERS]
    for node, register in zip(found, REGISTERS, strict=True):
        assert node.absolute_address == register.offset
        assert node.get_property("regwidth") == node.get_property("accesswidth") == 32
        assert node.get_property("desc") == register.description
        fields = [*node.fields()]
        assert len(fields) == len(register.fields)
        for got, part in zip(fields, register.fields, strict=True):
            assert (got.inst_name, got.low, got.high) == (
                part.name,
                part.low,
                part.low + part.bits - 1,
            )
            assert got.get_property("sw").name == RDL_ACCESS[register.access]
            assert got.is_hw_writable == (register.access in ("ro", "w1c"))
            assert got.get_property("swmod") == (register.access == "wo")
            clears = OnWriteType.woclr if register.access == "w1c" else None
            assert got.get_property("onwrite") == clears
            encoding = got.get_property("encode")
            values = registers.CODES.get((register.name, part.name))
            assert (encoding is None) == (values is None)
            if values is not None:
                assert {v.name: v.value for v in encoding} == {v.name: v.value for v in values}


def run_c(folder, compiler, includes, expressions):
    """Print expressions of C with a program; dict of expression to value."""
    prints = "".join(
        f'    printf("%lu\\n", (unsigned long)({expression}));\n' for expression in expressions
    )
    includes = "".join(f'#include "{include}"\n' for include in includes)
    text = f"#include <stddef.h>\n#include <stdio.h>\n{includes}int main(void)\n{{\n{prints}"
    suffix = ".cpp" if compiler[0] == "g++" else ".c"
    (folder / f"program{suffix}").write_text(text + "    return 0;\n}\n")
    strict = ["-Wall", "-Wextra", "-pedantic", "-Werror", "-o", "program"]
    built = subprocess.run(
        [*compiler, *strict, f"program{suffix}"], cwd=folder, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    result = subprocess.run([folder / "program"], capture_output=True, check=True, text=True)
    return dict(zip(expressions, map(int, result.stdout.split()), strict=True))


@pytest.mark.parametrize("compiler", [("g++", "-std=c++17"), ("gcc", "-std=c99")], ids=str)
def test_c_header_says_the_same(folder, compiler):
    expected = {"IDENTIFIER": IDENTIFIER, "MAP_VERSION": VERSION}
    for register, part in FIELDS:
        macro = register.name if part.name == "value" else f"{register.name}_{part.name.upper()}"
        expected[f"{register.name}_OFFSET"] = register.offset
        expected[f"{macro}_SHIFT"] = part.low
        expected[f"{macro}_MASK"] = sum(1 << part.low + k for k in range(part.bits))
    codes = {"OPERATION": Operation, "DESTINATION": Destination, "ERROR_CODE": ErrorCode}
    for prefix, values in (codes | {"ROUND_MODE": RoundMode}).items():
        expected |= {f"{prefix}_{value.name}": value.value for value in values}
    expected = {f"NIBBLEGRAD_{name}": value for name, value in expected.items()}
    header = f"{NAME}_registers.h"
    text = (folder / header).read_text()
    defined = re.findall(r"^#define (\w+) |^    (\w+) =", text, re.MULTILINE)
    names = [macro or enumerator for macro, enumerator in defined]
    assert sorted(names) == sorted(expected), "a name is missing, strange or defined twice"
    # Twice: headers of several modules go together.
    assert run_c(folder, compiler, [header, header], [*expected]) == expected


def test_header_of_peakrdl_agrees(folder):
    text = (folder / "structs.h").read_text()
    (struct,) = re.findall(r"^} (\w+);$", text, re.MULTILINE)
    expected = {f"offsetof({struct}, {name})": r.offset for name, r in BY_NAME.items()}
    for register, part in FIELDS:
        macro = f"{NAME}_registers__{register.name}__{part.name}".upper()
        expected |= {f"{macro}_bp": part.low, f"{macro}_bm": part.mask << part.low}
    assert run_c(folder, ("gcc", "-std=c11"), ["structs.h"], [*expected]) == expected


def test_markdown_lists_everything():
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in registers.to_markdown(NAME).splitlines()
        if line.startswith("| ")
    ]
    register, found = None, []
    for row in rows:
        if row[0].startswith("0x"):
            register = BY_NAME[row[1]]
            assert int(row[0], 16) == register.offset
        if len(row) == 6 and re.fullmatch(r"[0-9:]+", row[2]):
            high, _, low = row[2].partition(":")
            found.append((register.name, row[3] or "value", int(low or high), int(high)))
    assert found == [(r.name, p.name, p.low, p.low + p.bits - 1) for r, p in FIELDS]
    assert ["11", "SEED"] in rows and ["7", "WEIGHT_GRADIENT"] in rows


def test_generator_writes_them(tmp_path, monkeypatch, capsys):
    # A core that is quickly made takes its name.
    stub = dataclasses.replace(
        CORES["step_gradient"], name="training_core", runs=None, program=list, config=CoreConfig
    )
    monkeypatch.setitem(CORES, "training_core", stub)
    # What it stands for cannot be told from outside, so nothing is packed.
    monkeypatch.setattr(packaging, "files", lambda modules: {})
    path, output = tmp_path / "one.toml", tmp_path / "out"
    path.write_text('[modules.one]\ncore = "training_core"\n')
    arguments = ["verilog", "--config", str(path), "--output", str(output)]
    assert main(arguments) == 0
    for name, text in registers.files("one").items():
        assert (output / name).read_text() == text
    pages = output / "one_registers_html"
    index = pages / "index.html"
    assert "one_registers" in index.read_text()
    assert "one_registers_t" in (output / "one_registers_structs.h").read_text()
    assert "one_registers_html: written" in capsys.readouterr().out

    # What is gone is made again, and only that.
    first = index.read_bytes()
    index.unlink()
    assert main(arguments) == 0
    assert index.read_bytes() == first
    said = capsys.readouterr().out
    assert "one_registers_html: written" in said and "one.v: unchanged" in said

    # With its module everything goes, but for what somebody has added.
    (pages / "mine.txt").write_text("mine")
    path.write_text('[modules.other]\ncore = "quantizer"\n')
    assert main(arguments) == 0
    left = {file.relative_to(output).as_posix() for file in output.rglob("*") if file.is_file()}
    made = {"other.v", "SUMMARY.md", "filelist.f", MANIFEST}
    assert left == made | {"one_registers_html/mine.txt"}


def test_documents_depend_on_the_map_alone():
    rdl = registers.files("one")["one_registers.rdl"]
    first = registers.documents("one_registers", rdl)
    assert registers.documents("one_registers", rdl) == first
    other = registers.documents("one_registers", rdl.replace("Registers of", "Those of"))
    index = "one_registers_html/index.html"
    assert other[index] != first[index], "a browser would show the old pages"
