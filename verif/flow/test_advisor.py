# amaranth: UnusedElaboratable=no
"""The size advisor: what it proposes for a device and a layer, and what it says where it cannot."""

import contextlib
import dataclasses
import json
import math
import re

import numpy as np
import pytest

from nibblegrad.gen.command_line import main
from nibblegrad.gen.config import TrainingCoreConfig, parse
from nibblegrad.gen.emission.verilog import to_verilog
from nibblegrad.gen.flow import advisor, search, sizing
from nibblegrad.gen.flow.families import TARGETS
from nibblegrad.gen.flow.family import RESOURCES
from nibblegrad.gen.flow.fit import to_toml, training_core
from nibblegrad.gen.flow.throughput import Layer, Network, least_cycles, step_cycles, step_report
from nibblegrad.golden.errors import InputError
from nibblegrad.hdl.engine.timing import core_timing

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


@pytest.mark.slow
def test_the_smallest_targets_are_too_small():
    refused = set()
    for name, target in TARGETS.items():
        try:
            advisor.best(target)
        except InputError:
            refused.add(name)
    assert refused == {"ice40-up5k", "ice40-hx8k", "gowin-9k", "nexus-17"}


def test_a_family_without_a_model_is_told_what_to_do(monkeypatch, tmp_path, capsys):
    xilinx = TARGETS["xilinx"].family
    monkeypatch.setattr(type(xilinx), "model", tmp_path / "xilinx.json")
    sizing.forget()
    try:
        for config in ([], ["--config", "gen/configs/default.toml"]):
            assert main(["fit", "--target", "xilinx", *config]) == 2
            assert capsys.readouterr().err.startswith(
                "nibblegrad fit: error: Training cores were not measured for xilinx; run `python "
                "-m nibblegrad.gen.flow.calibrate --family xilinx`, which takes about an hour, or "
                "choose from "
                "ecp5-25k, "
            )
    finally:
        sizing.forget()


def fits(config, target):
    """Judge a core without the advisor."""
    need = sizing.predict(config.size(), target)
    room = {"luts": 1 - advisor.MARGIN, "flip_flops": 1 - advisor.MARGIN}
    return all(need[r] <= room.get(r, 1) * getattr(target, r) for r in RESOURCES)


def cycles_or_none(core, workload):
    """Tell what a step takes on a core, if it holds the layers."""
    with contextlib.suppress(InputError):
        return step_cycles(core, workload)
    return None


@pytest.mark.parametrize(
    "name, layer",
    [
        ("ecp5-25k", Layer(4, 32, 1000)),
        pytest.param("ecp5-85k", Layer(64, 256, 256), marks=pytest.mark.slow),
        pytest.param("nexus-40", Layer(1000, 9, 16), marks=pytest.mark.slow),
        pytest.param("xilinx", Layer(64, 256, 256), marks=pytest.mark.slow),
    ],
)
def test_nothing_that_fits_is_faster_than_the_proposal(name, layer, request):
    target = TARGETS[name]
    fit = advisor.best(target, layer)
    assert fits(fit.config, target)
    assert fit.need == advisor.check_fits(fit.config, target)
    assert fit.cycles == step_cycles(fit.config, layer)
    # Every array that could be faster, with all the memories of which none can be deeper.
    held = 0
    for smallest in advisor.shapes(target):
        if least_cycles(smallest, layer) < fit.cycles:
            for other in search.candidates(smallest, target, layer, advisor.MARGIN).values():
                cycles = cycles_or_none(other, layer)
                if cycles is not None:
                    held += 1
                    assert cycles >= fit.cycles, other
                    assert cycles >= least_cycles(other, layer)
    assert held > 5
    # Arrays and depths by chance, without any thought of what may be left out. Memories that are
    # shallower may happen to be cut a little better.
    rng = np.random.default_rng(request.config.getoption("seed"))
    arrays = [core for core in advisor.shapes(target) if fits(core, target)]
    held = 0
    for _ in range(100):
        array = arrays[rng.integers(len(arrays))]
        depths = dict(zip(search.DEPTHS, map(int, 1 << rng.integers(8, 13, 4)), strict=True))
        core = dataclasses.replace(array, bias_words=int(1 << rng.integers(2, 10)), **depths)
        if fits(core, target):
            cycles = cycles_or_none(core, layer)
            held += cycles is not None
            assert cycles is None or cycles > 0.98 * fit.cycles, core
    assert held > 5


@pytest.mark.parametrize("name", ["ecp5-25k", "ecp5-85k"])
@pytest.mark.slow
def test_a_network_is_held_where_its_gradients_are_whole(name):
    """The memories of other shares are slower, though no array is faster."""
    target, network = TARGETS[name], Network(64, (64, 128, 128, 10))
    ranked = advisor.ranking(target, network)
    first, second, *_ = ranked
    assert [each.rank for each in ranked] == sorted(each.rank for each in ranked)
    assert len({(f.config.rows, f.config.columns, f.config.lanes) for f in ranked}) == len(ranked)
    assert all(fits(each.config, target) for each in ranked)
    assert first.cycles == step_cycles(first.config, network) < second.cycles
    assert second.cycles <= advisor.FAR * first.cycles
    products = 3 * 64 * (64 * 128 + 128 * 128 + 128 * 10) - 64 * 64 * 128
    lanes = first.config.rows * first.config.columns * first.config.lanes
    # The first layer has no gradient of its inputs to give, but that of its step.
    assert first.busy * first.cycles * lanes >= products
    core = dataclasses.replace(first.config, gradient_words=128)
    assert cycles_or_none(core, network) > first.cycles


def test_cores_that_fit_are_no_larger_than_what_was_measured():
    """Why there is no limit of lanes: on ECP5 not even without any margin."""
    for name, target in TARGETS.items():
        measured = json.loads(target.family.model.read_text())["measured"]
        shapes = [re.findall(r"\d+", core)[:3] for core in measured]
        most = max(math.prod(map(int, shape)) for shape in shapes)
        lanes = [
            core.rows * core.columns * core.lanes
            for core in advisor.shapes(target)
            if search.fits(core, target, 0)
        ]
        assert max(lanes, default=0) <= most * (1 if target.family.name == "ecp5" else 2), name


def test_pipelines_do_not_depend_on_memories():
    core = TrainingCoreConfig()
    deep = dataclasses.replace(
        core, activation_words=4096, weight_words=2048, bias_words=512, partial_sum_strips=8192
    )
    assert core_timing(core.size()) == core_timing(deep.size())


@pytest.mark.slow
def test_a_larger_target_is_no_slower():
    cycles = [advisor.best(TARGETS[f"ecp5-{size}"]).cycles for size in ("25k", "45k", "85k")]
    assert cycles == sorted(cycles, reverse=True) and cycles[0] > cycles[2]
    margins = [advisor.best(TARGETS["ecp5-85k"], margin=k / 10).cycles for k in range(7)]
    assert margins == sorted(margins) and margins[0] < margins[-1]


def test_memories_are_weighed_against_lanes():
    """Where block RAMs are short, the most lanes are not the fastest core."""
    few = dataclasses.replace(TARGETS["ecp5-85k"], block_rams=122)
    layer = Layer(32, 512, 512)
    fit = advisor.best(few, layer, 0.1)
    most = max(
        (array for array in advisor.shapes(few) if search.fits(array, few, 0.1)),
        key=lambda core: core.rows * core.columns * core.lanes,
    )
    assert (fit.config.rows, fit.config.columns, fit.config.lanes) == (8, 8, 8)
    assert (most.rows, most.columns, most.lanes) == (8, 8, 16)


def test_what_does_not_fit_memories_takes_longer():
    core, layer = TrainingCoreConfig(), Layer(64, 256, 256)
    # 8 x 32 words of activations and of gradients, 32 x 32 of weights, and one more of each.
    roomy = dataclasses.replace(
        core, activation_words=512, weight_words=2048, gradient_words=512, bias_words=64
    )
    passes = 4 * 64 * 256 * 256 // 128
    # The first operands are loaded before there is a product.
    assert passes <= least_cycles(core, layer) < step_cycles(roomy, layer) < 1.1 * passes
    assert step_cycles(core, layer) > 1.01 * step_cycles(roomy, layer)
    with pytest.raises(InputError, match="does not fit the training core however it is cut"):
        step_cycles(dataclasses.replace(core, gradient_words=1), layer)


def test_the_structure_counts():
    """The pipelines of ECP5 are longer: each product ends later."""
    plain, ecp5 = (
        step_report(TrainingCoreConfig(structure=structure), Layer(64, 128, 64))
        for structure in ("plain", "ecp5")
    )
    assert plain.cycles < ecp5.cycles < plain.cycles + 32 * len(plain.spans)
    assert step_cycles(TrainingCoreConfig(), Layer(64, 128, 64)) == plain.cycles


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
    judged = capsys.readouterr().out
    # Only the other arrays are not there.
    assert judged == re.sub(r"#\n# array .*?(?=\n\n)", "", said, flags=re.S).replace(
        "\n\n\n", "\n\n"
    )


@pytest.mark.slow
def test_arrays_are_compared(capsys):
    assert main(["fit", "--target", "ecp5-85k", "--layers", "64,128,128,10", "--batch", "64"]) == 0
    said = capsys.readouterr().out
    network = Network(64, (64, 128, 128, 10))
    ranked = advisor.ranking(TARGETS["ecp5-85k"], network)
    rows = re.findall(
        r"^# (\d+ x \d+ x \d+) +(\d+, \d+, \d+) +(\d+) +\d+% +(\d+) +([\d,]+) +(\d+)% +(\S+)$",
        said,
        re.M,
    )
    assert len(rows) == len(ranked) > 1
    for (array, words, strips, blocks, cycles, busy, ratio), fit in zip(rows, ranked, strict=True):
        core = fit.config
        assert array == f"{core.rows} x {core.columns} x {core.lanes}"
        assert words == f"{core.activation_words}, {core.weight_words}, {core.gradient_words}"
        assert int(strips) == core.partial_sum_strips
        assert int(blocks) == fit.need["block_rams"]
        assert number(cycles) == fit.cycles
        assert int(busy) == round(100 * fit.busy)
        assert float(ratio) == pytest.approx(fit.cycles / ranked[0].cycles, abs=0.005)
    assert f"a network 64-128-128-10 at batch 64 takes about {ranked[0].cycles:,} cycles;\n" in said


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            ["--layer", "64x8x8", "--layers", "8,8"],
            "--layer 64x8x8 and --layers 8,8 are both there; leave out one of them",
        ),
        (["--batch", "64"], "--batch 64 is of a network; name its layers with --layers, or write"),
        (["--layers", "8,8", "--batch", "0"], "--batch must be 1 to 65,536, not 0"),
        *(
            ([f"--layers={layers}"], f"such as 784,512,512,10, not {layers!r}")
            for layers in ("", "8", "8,", "8,0", "8,65537", "8x8", "-1,8", ",".join(["8"] * 66))
        ),
    ],
)
def test_networks_that_cannot_be_meant(arguments, message, capsys):
    assert main(["fit", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_the_layer_is_stated(capsys):
    target = ["fit", "--target", "ecp5-85k"]
    assert main([*target, "--layer", "8x1024x16"]) == 0
    said = capsys.readouterr().out
    fit = advisor.best(TARGETS["ecp5-85k"], Layer(8, 1024, 16))
    assert f"a layer 1024 -> 16 at batch 8 takes about {fit.cycles:,} cycles;\n" in said
    assert parse(said) == {"training_core": fit.config}
    default = ["--config", "gen/configs/default.toml"]
    cycles = step_cycles(TrainingCoreConfig(structure="ecp5"), Layer(60000, 9, 9))
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


def test_memories_that_make_very_many_products(tmp_path, capsys):
    """How long they take would take minutes to find out."""
    core = sizing.smallest_memories(2, 2, 2, ECP5)
    path = tmp_path / "core.toml"
    path.write_text(to_toml(core))
    assert main(["fit", "--config", str(path)]) == 0
    # 256 forward; 2 rows, 2 inputs and 16 outputs in each of both backward.
    products = 256 + 2 * (64 // 2) * (256 // 2) * (256 // 16)
    said = capsys.readouterr().out
    assert (
        f"# A training step of a {Layer(64, 256, 256)} becomes about {products:,} products" in said
    )
    assert main(["fit", "--config", str(path), "--layer", "64x64x64"]) == 0
    cycles = step_cycles(core, Layer(64, 64, 64))
    assert f"takes about {cycles:,} cycles;\n" in capsys.readouterr().out


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
