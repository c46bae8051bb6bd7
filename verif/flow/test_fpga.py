# amaranth: UnusedElaboratable=no
"""The size advisor and the FPGA command: what they propose, predict and refuse."""

import dataclasses
import json
import re

import pytest

from nibblegrad.gen.command_line import main
from nibblegrad.gen.config import TrainingCoreConfig, parse
from nibblegrad.gen.flow import calibrate, sizing
from nibblegrad.gen.flow.families import FAMILIES, TARGETS
from nibblegrad.gen.flow.family import RESOURCES
from nibblegrad.gen.flow.fit import to_toml, training_core
from nibblegrad.gen.flow.fpga import check_memories
from nibblegrad.gen.flow.fpga_report import condense
from nibblegrad.gen.flow.memories import map_memory, memory_use
from nibblegrad.gen.flow.placement import Step, place
from nibblegrad.gen.flow.synthesis import Synthesis
from nibblegrad.golden.errors import InputError

ECP5 = TARGETS["ecp5-25k"]


@pytest.mark.parametrize(
    "depth, width, block_rams",
    # As Yosys 0.70 maps them.
    [
        *((16, 64, 0), (16, 128, 0), (32, 32, 0), (32, 64, 0), (48, 32, 0), (64, 8, 0)),
        *((64, 16, 0), (64, 33, 1), (64, 128, 4), (128, 16, 1), (128, 20, 1), (256, 8, 1)),
    ],
)
def test_memories_are_mapped_as_yosys_does(depth, width, block_rams):
    assert map_memory(depth, width, ECP5).block_rams == block_rams


def test_memories_of_the_default_core():
    """What Yosys makes of it, as docs/training_core.md says."""
    assert memory_use(TrainingCoreConfig().size(), ECP5).block_rams == 97


def test_configurations_survive_toml():
    core = TrainingCoreConfig(rows=2, wide_format="float32", seed=7)
    assert parse(to_toml(core)) == {"training_core": core}


def test_core_that_does_not_fit_is_refused(capsys, tmp_path):
    config = "gen/configs/default.toml"
    output = tmp_path / "fpga"
    arguments = ["fpga", "--target", "ecp5-25k", "--config", config, "--output", str(output)]
    assert main(arguments) == 2
    assert "needs 97 block RAMs, and ecp5-25k has 56" in capsys.readouterr().err
    assert not output.exists()


@pytest.mark.parametrize("command", ["fit", "fpga"])
def test_bad_arguments(command, capsys, tmp_path):
    path = tmp_path / "other.toml"
    path.write_text('[modules.q]\ncore = "quantizer"\n')
    two = "gen/configs/training_odd.toml"
    for arguments, message in (
        (["--target", "ecp5-12k"], "Unknown target 'ecp5-12k'; did you mean ecp5-"),
        (["--config", str(path)], "other.toml has no training_core; name a file that has one"),
        (["--config", str(tmp_path / "none.toml")], "Cannot read configuration "),
        (
            ["--config", two],
            f"{two} has 2 training cores; choose one with --module: training_core, training_core_f",
        ),
        (["--config", two, "--module", "q"], f"{two}: module 'q' is not there; choose from train"),
        (
            ["--config", "gen/configs/default.toml", "--module", "requantizer"],
            "default.toml: module 'requantizer' is a scale_multiplier; choose from training_core",
        ),
        (["--module", "q"], "Module 'q' is of no file; name one with --config"),
        *(
            ([f"--layer={layer}"], "Layer must be BATCHxINPUTSxOUTPUTS, 1 to 65536 each, such as ")
            for layer in ("64", "64x64", "0x1x1", "1x1x65537", "nanx1x1", "-1x1x1", "1x1x1x1", "")
        ),
    ):
        assert main([command, *arguments]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("target", ["xilinx", "gowin-9k"])
def test_targets_without_a_bitstream(target, capsys):
    assert main(["fpga", "--target", target]) == 2
    error = capsys.readouterr().err
    assert f"There is no bitstream for {target}; choose from ecp5-25k, " in error
    with pytest.raises(SystemExit):
        main(["fpga", "--help"])
    listed = re.search(r"device: (.*?) \(default", " ".join(capsys.readouterr().out.split()))[1]
    assert target not in listed and f"choose from {listed}\n" in error


def test_memories_that_fell_to_flip_flops(tmp_path):
    made = Synthesis(tmp_path, "training_core", ECP5, {"DP16KD": 96}, 0, 1.0, "Yosys")
    with pytest.raises(InputError, match=r"^Memories need 97 block RAMs, but only 96 were made: "):
        check_memories(made, TrainingCoreConfig(), ECP5)
    enough = dataclasses.replace(made, cells={"DP16KD": 97})
    check_memories(enough, TrainingCoreConfig(), ECP5)


def test_carry_chains_are_one_step():
    path = [
        Step("clk-to-q", 0.5, "a"),
        Step("routing", 1.0, "b"),
        *(Step("logic", 0.4, "c"), Step("routing", 0.0, "d"), Step("logic", 0.1, "e")),
        Step("routing", 0.2, "f"),
        Step("logic", 0.3, "g"),
        Step("setup", 0.0, "h"),
    ]
    condensed = condense(path)
    assert [step.name for step in condensed] == ["a", "b", "e", "f", "g", "h"]
    assert condensed[2] == Step("logic", 0.5, "e")


def test_fit_finds_the_coefficients():
    """Counts that were made from coefficients lead back to them."""
    shapes = ECP5.family.shapes
    configs = [calibrate.configuration(shape, ECP5) for shape in shapes]
    made = dict(zip(sizing.TERMS, (30, 100, 20, 5, 900, 700, 3000), strict=True))
    measured = []
    for config in configs:
        total = round(float(sizing.terms(config.size()) @ list(made.values())))
        luts = total + memory_use(config.size(), ECP5).luts
        measured.append({"luts": luts, "flip_flops": total, "multipliers": total})
    found = calibrate.fit(configs, measured, ECP5)
    for resource in ("luts", "flip_flops", "multipliers"):
        assert found[resource] == pytest.approx(made, rel=0.01)


def test_calibration_is_predicted():
    """Every core that was measured is predicted within 10 %."""
    for family in FAMILIES.values():
        target = TARGETS[family.measured_on]
        for name, each in json.loads(family.model.read_text())["measured"].items():
            shape = map(int, name.replace(",", " x").split(" x "))
            need = sizing.predict(calibrate.configuration(tuple(shape), target).size(), target)
            for resource, value in each.items():
                assert need[resource] == pytest.approx(value, rel=0.1, abs=1), (family.name, name)


@pytest.mark.slow
def test_another_core_is_predicted(tmp_path):
    """A core that was not measured takes what was predicted, within 10 %, as nextpnr says."""
    config = TrainingCoreConfig(
        rows=2,
        columns=4,
        lanes=2,
        activation_words=256,
        weight_words=512,
        gradient_words=256,
        partial_sum_strips=256,
    )
    need = sizing.predict(config.size(), ECP5)
    synthesis = calibrate.measure(config, ECP5)
    check_memories(synthesis, config, ECP5)
    placed = place(synthesis, ECP5)
    for resource in RESOURCES:
        assert placed.used(resource) == pytest.approx(need[resource], rel=0.1), resource


@pytest.mark.slow
def test_a_small_core_becomes_a_bitstream(tmp_path, capsys):
    """The smallest core on the smallest ECP5: report, netlist and bitstream."""
    config = tmp_path / "small.toml"
    config.write_text(to_toml(sizing.smallest_memories(2, 2, 2, ECP5)))
    output = tmp_path / "fpga"
    arguments = ["fpga", "--target", "ecp5-25k", "--config", str(config), "--output", str(output)]
    assert main([*arguments, "--seeds", "2"]) == 0
    folder = output / "ecp5-25k"
    assert str(folder / "REPORT.md") in capsys.readouterr().out
    report = json.loads((folder / "report.json").read_text())
    for resource in RESOURCES:
        predicted, alone = report["predicted"][resource], report["alone"]["used"][resource]
        assert alone == pytest.approx(predicted, rel=0.1), resource
        assert alone <= report["hosted"]["used"][resource] <= 1.1 * alone + 400, resource
    for each in (report["alone"], report["hosted"]):
        assert set(each["seeds"]) == {"1", "2"}
        assert each["megahertz"] == max(each["seeds"].values()) > 50
        assert each["megahertz"] == each["seeds"][str(each["seed"])]
    assert (folder / "hosted_core.bit").read_bytes()[:4] == b"\xff\x00Pa"
    assert training_core(folder / "training_core.toml") == training_core(config)
    netlist = (folder / "training_core.netlist.v").read_text()
    assert len(re.findall(r"^module training_core\(", netlist, re.M)) == 1
    assert "Worst path, with the bridge" in (folder / "REPORT.md").read_text()
