# amaranth: UnusedElaboratable=no
"""The size advisor: what it proposes for a device and a layer, and what it says where it cannot."""

import contextlib
import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest

from gen.__main__ import main
from gen.config import TrainingCoreConfig, parse
from gen.flow import advisor, sizing
from gen.flow.fit import to_toml, training_core
from gen.flow.targets import RESOURCES, TARGETS
from gen.flow.throughput import Layer, least_cycles, step_cycles
from gen.verilog import to_verilog
from golden.errors import InputError
from golden.tiling import choose_tiling

ROOT = Path(__file__).resolve().parent.parent
ECP5 = TARGETS["ecp5-25k"]


def number(text):
    return int(text.replace(",", ""))


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_gets_an_answer(name, capsys):
    """A proposal that fits, or a sentence that says what there is too little of."""
    target = TARGETS[name]
    status = main(["fit", "--target", name])
    said = capsys.readouterr()
    if status == 0:
        need, have = map(number, re.search(r"^# LUTs +(\S+) +(\S+)", said.out, re.M).groups())
        assert need <= 0.75 * have == 0.75 * target.luts
        (core,) = parse(said.out).values()
        assert advisor.check_fits(core, target)["luts"] == need
        return
    assert status == 2 and not said.out
    answer = re.fullmatch(
        r"nibblegrad fit: error: Not even the 2 x 2 x 2 training core fits (\S+): it needs "
        r"(\S+) (LUTs|flip-flops|block RAMs|multipliers), and there are ([\d,]+)"
        r"(?:, of which 25% stay free)?; choose from ecp5-25k, .*\n",
        said.err,
    )
    resource = next(key for key, words in RESOURCES.items() if words == answer[3])
    need, have = number(answer[2]), number(answer[4])
    assert answer[1] == name and have == getattr(target, resource) and need > 0.75 * have


def test_the_smallest_targets_are_too_small():
    refused = set()
    for name, target in TARGETS.items():
        try:
            advisor.best(target)
        except InputError:
            refused.add(name)
    assert refused == {"ice40-up5k", "ice40-hx8k", "gowin-9k", "nexus-17"}


def test_a_family_without_a_model_is_told_what_to_do(monkeypatch, tmp_path, capsys):
    model = json.loads(sizing.MODEL.read_text())
    model["families"].pop("xilinx", None)
    path = tmp_path / "model.json"
    path.write_text(json.dumps(model))
    monkeypatch.setattr(sizing, "MODEL", path)
    sizing.forget()
    try:
        for config in ([], ["--config", "gen/configs/default.toml"]):
            assert main(["fit", "--target", "xilinx", *config]) == 2
            assert capsys.readouterr().err.startswith(
                "nibblegrad fit: error: Training cores were not measured for xilinx; run `python "
                "-m gen.flow.calibrate --family xilinx`, which takes about an hour, or choose from "
                "ecp5-25k, "
            )
    finally:
        sizing.forget()


def fits(config, target):
    """Judge a core without the advisor."""
    need = sizing.predict(config.size(), target)
    room = {"luts": 1 - advisor.MARGIN, "flip_flops": 1 - advisor.MARGIN}
    return all(need[r] <= room.get(r, 1) * getattr(target, r) for r in RESOURCES)


@pytest.mark.parametrize(
    "name, layer",
    [
        ("ecp5-25k", Layer(4, 32, 1000)),
        ("ecp5-85k", Layer(64, 256, 256)),
        ("nexus-40", Layer(1000, 9, 16)),
        ("xilinx", Layer(64, 256, 256)),
    ],
)
def test_nothing_that_fits_is_faster_than_the_proposal(name, layer, request):
    target = TARGETS[name]
    fit = advisor.best(target, layer)
    assert fits(fit.config, target)
    assert fit.need == advisor.check_fits(fit.config, target)
    assert fit.cycles == step_cycles(fit.config.size(), layer)
    # Every array, with every depth that is tried.
    held = 0
    for smallest in advisor.shapes(target):
        for other in advisor.candidates(smallest, target, layer):
            held += 1
            assert other.cycles >= fit.cycles, other.config
            assert other.cycles >= least_cycles(other.config.size(), layer)
    assert held > 10
    # Arrays and depths by chance, without any thought of what may be left out.
    rng = np.random.default_rng(request.config.getoption("seed"))
    arrays = [core for core in advisor.shapes(target) if fits(core, target)]
    held = 0
    for array in rng.permutation(np.repeat(np.arange(len(arrays)), 1 + 300 // len(arrays))):
        depths = dict(zip(advisor.DEPTHS, map(int, 1 << rng.integers(4, 13, 4)), strict=True))
        bias_words = int(1 << rng.integers(2, 10))
        core = dataclasses.replace(arrays[array], bias_words=bias_words, **depths)
        if fits(core, target):
            with contextlib.suppress(InputError):
                assert step_cycles(core.size(), layer) >= fit.cycles, core
                held += 1
    assert held > 10


def test_a_larger_target_is_no_slower():
    cycles = [advisor.best(TARGETS[f"ecp5-{size}"]).cycles for size in ("25k", "45k", "85k")]
    assert cycles == sorted(cycles, reverse=True) and cycles[0] > cycles[2]
    margins = [advisor.best(TARGETS["ecp5-85k"], margin=k / 10).cycles for k in range(7)]
    assert margins == sorted(margins) and margins[0] < margins[-1]


def test_memories_are_weighed_against_lanes():
    """Where block RAMs are short, the most lanes are not the fastest core."""
    few = dataclasses.replace(TARGETS["ecp5-85k"], block_rams=44)
    layer = Layer(32, 512, 512)
    fit = advisor.best(few, layer)
    held = [c for c in advisor.shapes(few) if next(advisor.candidates(c, few, layer), None)]
    most = max(c.rows * c.columns * c.lanes for c in held)
    assert fit.config.rows * fit.config.columns * fit.config.lanes < most


def test_cycles_are_those_of_the_verilog():
    """Layers in a row, as the handbook has them from the Verilog (verif/test_sizing.py)."""
    words = " ".join((ROOT / "docs" / "training_core.md").read_text().split())
    said = re.search(r"eight layers of 64 x 128 -> 64 in a row.*? take ([\d,]+) cycles", words)[1]
    predicted = 8 * step_cycles(TrainingCoreConfig().size(), Layer(64, 128, 64))
    assert predicted == pytest.approx(number(said), rel=0.05)


def test_what_does_not_fit_memories_takes_longer():
    size, layer = TrainingCoreConfig().size(), Layer(64, 256, 256)
    # 8 x 32 words of activations and of gradients, 32 x 32 of weights, and one more of each.
    roomy = dataclasses.replace(
        size, activation_words=512, weight_words=2048, gradient_words=512, bias_words=64
    )
    assert least_cycles(size, layer) == 4 * 64 * 256 * 256 // 128
    assert step_cycles(roomy, layer) == least_cycles(size, layer) + 3 * 32
    assert step_cycles(size, layer) > 1.2 * step_cycles(roomy, layer)
    with pytest.raises(InputError, match="does not fit the training core however it is cut"):
        step_cycles(dataclasses.replace(size, gradient_words=1), layer)


def test_pieces_are_loaded_again():
    """A layer in pieces of 16 rows, whose weights do not stay: bound by loads, beat by beat."""
    size = TrainingCoreConfig(
        rows=8,
        columns=8,
        lanes=16,
        activation_words=32,
        weight_words=128,
        gradient_words=32,
        partial_sum_strips=65535,
    ).size()
    layer = Layer(128, 256, 256)
    tiling = choose_tiling(size, *layer)
    assert tiling.rows == 16
    row_cuts, output_cuts = 8, -(-256 // tiling.outputs)
    x, w, dy = 128 * 256 // 8, 256 * 256 // 8, 128 * 256 // 8
    loads = x * output_cuts + w * row_cuts
    # Backward, products in so small pieces take a little longer than their loads.
    assert step_cycles(size, layer) == pytest.approx(loads + loads + dy, rel=0.02)


def test_proposal_is_a_configuration(tmp_path, capsys):
    path = tmp_path / "core.toml"
    assert main(["fit", "--target", "ecp5-85k", "--output", str(path)]) == 0
    said = capsys.readouterr().out
    fit = advisor.best(TARGETS["ecp5-85k"])
    assert training_core(path) == fit.config
    assert re.search(r"^# block RAMs +[\d,]+ +208 +\d+%$", said, re.M)
    step = f"# A training step of a layer 256 -> 256 at batch 64 takes about {fit.cycles:,} cycles;"
    assert step in said.splitlines()
    # It is judged as it was proposed.
    assert main(["fit", "--target", "ecp5-85k", "--config", str(path)]) == 0
    assert capsys.readouterr().out == said


def test_the_layer_is_stated(capsys):
    target = ["fit", "--target", "ecp5-85k"]
    assert main([*target, "--layer", "8x1024x16"]) == 0
    said = capsys.readouterr().out
    fit = advisor.best(TARGETS["ecp5-85k"], Layer(8, 1024, 16))
    assert f"a layer 1024 -> 16 at batch 8 takes about {fit.cycles:,} cycles;\n" in said
    assert parse(said) == {"training_core": fit.config}
    default = ["--config", "gen/configs/default.toml"]
    cycles = step_cycles(TrainingCoreConfig().size(), Layer(60000, 9, 9))
    assert main([*target, *default, "--layer", "60000x9x9"]) == 0
    assert f"takes about {cycles:,} cycles" in capsys.readouterr().out
    assert main([*target, *default, "--layer", "64x60000x60000"]) == 0
    assert "# A layer 60000 -> 60000 at batch 64 does not fit its memories, however it is cut." in (
        capsys.readouterr().out.splitlines()
    )
    assert main(["fit", "--layer", "65536x65536x65536"]) == 2
    assert "No training core that fits ecp5-25k holds a layer 65536 -> " in capsys.readouterr().err


def test_structure_is_that_of_the_family(tmp_path, capsys):
    """Where it is left open; what is named is taken as it is."""
    path = tmp_path / "core.toml"
    for structure, target, expected in (
        ("auto", "ecp5-85k", "ecp5"),
        ("auto", "nexus-40", "pipelined"),
        ("plain", "ecp5-85k", "plain"),
        ("compact", "nexus-40", "compact"),
    ):
        smallest = sizing.smallest_memories(2, 2, 2, TARGETS[target])
        config = dataclasses.replace(smallest, structure=structure)
        path.write_text(to_toml(config))
        assert main(["fit", "--target", target, "--config", str(path)]) == 0
        (core,) = parse(capsys.readouterr().out).values()
        assert core == dataclasses.replace(config, structure=expected)
    path.write_text(to_toml(dataclasses.replace(config, structure="ecp5")))
    assert main(["fit", "--target", "nexus-40", "--config", str(path)]) == 2
    assert "structure 'ecp5' is made of cells that nexus-40 has not; choose 'auto'" in (
        capsys.readouterr().err
    )


def test_auto_is_plain_without_a_family():
    left, named = (
        dataclasses.replace(sizing.smallest_memories(2, 2, 2, ECP5), structure=structure)
        for structure in ("auto", "plain")
    )
    assert TrainingCoreConfig().structure == "auto"
    assert to_verilog(left.build(), "core") == to_verilog(named.build(), "core")


def test_a_module_is_chosen(tmp_path, capsys):
    core = sizing.smallest_memories(2, 2, 2, ECP5)
    other = dataclasses.replace(core, seed=77)
    path = tmp_path / "two.toml"
    path.write_text(to_toml(core) + to_toml(other).replace("training_core]", "second]"))
    assert main(["fit", "--config", str(path), "--module", "second"]) == 0
    assert parse(capsys.readouterr().out) == {"training_core": other}


def test_core_that_does_not_fit():
    with pytest.raises(
        InputError,
        match=r"^The 4 x 4 x 8 training core needs 97 block RAMs, and ecp5-25k has 56; "
        r"\d+ x \d+ x \d+ with \d+, \d+ and \d+ words fits$",
    ):
        advisor.check_fits(TrainingCoreConfig(), ECP5)


def test_why_no_core_is_proposed_instead():
    """Of a layer that no core holds, other targets are no way out."""
    config, layer = TrainingCoreConfig(rows=16, columns=16, lanes=16), Layer(*[1 << 16] * 3)
    with pytest.raises(InputError, match=r"; no training core that fits it holds a layer "):
        advisor.check_fits(config, ECP5, layer)
    with pytest.raises(InputError, match=r"; no training core fits it, choose from ecp5-25k, "):
        advisor.check_fits(config, TARGETS["ice40-hx8k"])


def test_a_margin_that_leaves_nothing():
    with pytest.raises(InputError, match=r"100% stay free; leave less free than 0\.9999$"):
        advisor.best(ECP5, margin=0.9999)
