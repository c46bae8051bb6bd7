"""Configurations: what is refused, with which sentence, and what is not stumbled over."""

import dataclasses
import os
import re
import subprocess
import sys
import tomllib

import pytest

from nibblegrad.gen import config
from nibblegrad.gen.command_line import main
from nibblegrad.golden.errors import InputError
from verif.paths import ROOT


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "There is no module; describe one in a section [modules.NAME]"),
        ("[core.x]", "Unknown section 'core'; modules are described in [modules.NAME]"),
        ("a = ", "This is not TOML: Invalid value (at end of document)"),
        ("[modules.x]", "[modules.x]: core is missing; choose from quantizer, "),
        ("[modules.x]\ncore = 'q'", "[modules.x]: core must not be 'q'; choose from quantizer, "),
        ("[modules.reg]\ncore = 'quantizer'", "Module name 'reg' is a keyword of SystemVerilog; "),
        (
            "[modules.x]\ncore = 'quantizer'\nlane = 3",
            "[modules.x]: unknown key 'lane'; did you mean lanes?",
        ),
        (
            "[modules.x]\ncore = 'quantizer'\nlanes = '3'",
            "[modules.x]: lanes must be an integer, not '3'",
        ),
        (
            "[modules.x]\ncore = 'quantizer'\nlanes = true",
            "[modules.x]: lanes must be an integer, not True",
        ),
        (
            "[modules.x]\ncore = 'quantizer'\nlanes = 0",
            "[modules.x]: Lane count must be 1 to 64, not 0",
        ),
        (
            "[modules.x]\ncore = 'quantizer'\nwide_format = 'half'",
            "[modules.x]: wide_format must not be 'half'; choose from bfloat16, float16, ",
        ),
        (
            "[modules.x]\ncore = 'stochastic_rounder'\nsource = 'float16'\ntarget = 'float32'",
            "[modules.x]: Target format must have fewer fraction bits than float16, ",
        ),
    ],
)
def test_bad_configuration(tmp_path, capsys, text, message):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    output = tmp_path / "out"
    assert main(["verilog", "--config", str(path), "--output", str(output)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"nibblegrad verilog: error: {path}: {message}"), error
    assert error.count("\n") == 1
    assert not output.exists()


def test_no_file(tmp_path, capsys):
    assert main(["verilog", "--config", str(tmp_path / "none.toml")]) == 2
    error = capsys.readouterr().err
    assert re.fullmatch(
        r"nibblegrad verilog: error: Cannot read configuration .*none\.toml: "
        r"No such file or directory\n",
        error,
    )


TEXT = '# Größe: 4 × 4\n[modules.x]\ncore = "quantizer" # ≤ 64 lanes\nlanes = 2\n'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("locale", ["C", "POSIX", "C.UTF-8"])
def test_bytes_of_a_file_mean_the_same_everywhere(tmp_path, encoding, newline, locale):
    path = tmp_path / "größe.toml"
    path.write_bytes(TEXT.replace("\n", newline).encode(encoding))
    program = (
        "import sys, pathlib, nibblegrad.gen.config as c; print(c.load(pathlib.Path(sys.argv[1])))"
    )
    # Python would choose UTF-8 by itself in these locales.
    others = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": locale, "LANG": locale}
    result = subprocess.run(
        [sys.executable, "-c", program, path],
        cwd=ROOT,
        env={**os.environ, **others},
        capture_output=True,
    )
    assert result.returncode == 0, result.stderr.decode(errors="replace")
    assert result.stdout.decode().strip() == str(config.parse(TEXT))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1"])
def test_other_encodings_are_named(tmp_path, encoding):
    path = tmp_path / "x.toml"
    path.write_bytes(TEXT.replace("×", "x").replace("≤", "to").encode(encoding))
    with pytest.raises(InputError, match=r"x\.toml: it is not UTF-8 text, by its byte \d+; save"):
        config.load(path)


#: A value of every kind that TOML has, and numbers that are odd.
VALUES = (
    *("-1 0 1 2 3 7 64 65 4096 1000000000 18446744073709551616 true false".split()),
    *("1.5 nan inf -0.0 2020-01-01 12:00:00 1979-05-27T07:32:00Z".split()),
    *("'' 'x' 'bfloat16' 'int4' \"\\u0000\" 'é' '''\n''' [] ['quantizer'] [[1]] {}".split(" ")),
    *("{a=1}", "1" + "0" * 4000, "0x" + "f" * 4000, "'" + "x" * 4000 + "'"),
)


def refusal(text):
    """Read a configuration; give the sentence by which it is refused, or nothing."""
    try:
        config.parse(text)
    except InputError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("core", config.CORES)
def test_every_kind_of_value_in_every_key(core):
    """It is either taken or refused in one sentence, whatever it is."""
    for field in (*dataclasses.fields(config.CORES[core].config), "unknown"):
        key = getattr(field, "name", field)
        for value in VALUES:
            said = refusal(f"[modules.x]\ncore = '{core}'\n{key} = {value}\n")
            assert "\n" not in said and len(said) < 300, (key, value[:20], said)
            right = key != "unknown" and type(tomllib.loads(f"x = {value}")["x"]) is field.type
            assert said or right, (key, value)
            if said and not right and key != "unknown":
                assert said.startswith(f"[modules.x]: {key} must be a"), said


@pytest.mark.parametrize(
    "text", ["{v}", "{v} = 1", "x = {v}", "modules = {v}", "[modules]\nx = {v}"]
)
def test_every_kind_of_value_elsewhere(text):
    for value in VALUES:
        for core in (text, "[modules.x]\ncore = {v}"):
            said = refusal(core.replace("{v}", value))
            assert said and len(said) < 300, (core, value[:20], said)


def test_nesting_without_end():
    assert refusal("x = " + "[" * 100_000).startswith("This is not TOML: ")


@pytest.mark.parametrize("core", ["shift_multiply_array", "training_core"])
def test_absurd_sizes_are_asked_about(tmp_path, capsys, core):
    text = f"[modules.x]\ncore = '{core}'\nrows = 64\ncolumns = 64\nlanes = 64\n"
    assert refusal(text) == (
        "[modules.x] has 262,144 lanes, and more than 4,096 take very long; make it smaller, or "
        "ask for it with --force"
    )
    assert config.parse(text, force=True)["x"].lane_count() == 64**3
    path, output = tmp_path / "x.toml", tmp_path / "out"
    path.write_text(text)
    assert main(["verilog", "--config", str(path), "--output", str(output)]) == 2
    assert "ask for it with --force" in capsys.readouterr().err and not output.exists()


def test_shipped_configurations_are_not_absurd():
    paths = list((ROOT / "gen" / "configs").glob("*.toml"))
    assert len(paths) > 2 and all(config.load(path) for path in paths)


def names(*modules):
    return refusal("".join(f"['modules'.'{name}']\ncore = 'quantizer'\n" for name in modules))


@pytest.mark.parametrize(
    "modules, said",
    [
        (["a b"], "Module name 'a b' is no Verilog identifier; choose another one"),
        (["größe"], "Module name 'größe' is no Verilog identifier; choose another one"),
        (["1st"], "Module name '1st' is no Verilog identifier; choose another one"),
        (["../x"], "Module name '../x' is no Verilog identifier; choose another one"),
        ([""], "Module name '' is no Verilog identifier; choose another one"),
        (["logic"], "Module name 'logic' is a keyword of SystemVerilog; choose another one"),
        (["reg"], "Module name 'reg' is a keyword of SystemVerilog; choose another one"),
        (["entity"], "Module name 'entity' is a keyword of VHDL, which does not distinguish"),
        (["Signal"], "Module name 'Signal' is a keyword of VHDL, which does not distinguish"),
        (["nul"], "Module name 'nul' is no name of a file on Windows; choose another one"),
        (["COM1"], "Module name 'COM1' is no name of a file on Windows; choose another one"),
        (["q", "Q"], "Module names 'q' and 'Q' differ in case only, which some file systems"),
        (["q", "q__core"], "Module name 'q__core' is one that a part of 'q' may have; rename"),
        (["q__core", "q"], "Module name 'q__core' is one that a part of 'q' may have; rename"),
        (["q", "Q__x"], "Module name 'Q__x' is one that a part of 'q' may have; rename"),
        (["x" * 65], f"Module name {'x' * 20}... has 65 letters; choose one of at most 64"),
    ],
)
def test_names_that_a_tool_stumbles_over(modules, said):
    assert names(*modules).startswith(said)


@pytest.mark.parametrize("modules", [["q", "q_core"], ["q__core"], ["Logic"], ["x" * 64], ["_q"]])
def test_names_that_are_fine(modules):
    assert names(*modules) == ""


def test_parts_bear_the_name_of_their_module(texts):
    """What the rule about names of parts stands on."""
    for name, text in texts.items():
        if name.endswith(".v") and "_testbench" not in name and "_template" not in name:
            top = name.removesuffix(".v")
            modules = re.findall(r"^module (\w+)", text, re.M)
            assert top in modules
            assert all(module == top or module.startswith(f"{top}__") for module in modules)
