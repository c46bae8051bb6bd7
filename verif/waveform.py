# amaranth: UnusedElaboratable=no
"""Draws ``docs/images/commands.svg`` from what happens at the pins of a simulated training core.

``python -m verif.waveform`` runs two layers on the default core: the weights of the second one are
loaded while the product of the first one is under way, and its activations never leave the core.
"""

import itertools
import json

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge

from nibblegrad.gen import config
from nibblegrad.golden.engine.command import Command, Destination, Operation
from nibblegrad.golden.engine.device import pack_biases, pack_matrix
from nibblegrad.golden.engine.registers import BY_NAME
from nibblegrad.golden.engine.training_core import TrainingCore
from verif.engine.core_driver import CoreDriver, expected
from verif.paths import ROOT
from verif.support.coverage import assert_equal
from verif.support.sim import BUILD, simulate

FIGURE = ROOT / "docs" / "images" / "commands.svg"
TRACE = BUILD / "waveform.json"

BATCH, INPUTS, HIDDEN, OUTPUTS = 16, 32, 32, 24
SEED = 1

PINS = (
    *("s_axi_awvalid", "s_axi_awready", "s_axi_awaddr"),
    *("s_axis_tvalid", "s_axis_tready", "s_axis_tlast"),
    *("m_axis_tvalid", "m_axis_tready", "m_axis_tlast"),
    "irq",
)


def program(size):
    """List the commands with their beats and what the figure calls them."""
    rng = np.random.default_rng(SEED)

    def beats(rows, columns):
        numbers = rng.integers(-128, 128, (rows, columns)) / 128
        return pack_matrix(size.wide_format.encode(numbers.astype(np.float32)), size.load_lanes)

    first = {"batch": BATCH, "inputs": INPUTS, "outputs": HIDDEN}
    second = {
        **{"batch": BATCH, "inputs": HIDDEN, "outputs": OUTPUTS},
        "activation_base": size.blocks(BATCH, INPUTS),
        "weight_base": size.blocks(HIDDEN, INPUTS),
    }
    operation = Operation
    to_core = {"destination": Destination.OPERAND, "result_base": second["activation_base"]}
    return [
        ("W 1", Command(operation.LOAD_WEIGHTS, **first, exponent=-12), beats(HIDDEN, INPUTS)),
        ("b", Command(operation.LOAD_BIASES, **first), pack_biases(np.arange(HIDDEN), size)),
        ("X", Command(operation.LOAD_ACTIVATIONS, **first, exponent=-12), beats(BATCH, INPUTS)),
        ("forward 1", Command(operation.FORWARD, **first, **to_core, bias=True, relu=True,
                              exponent=-18), None),
        ("W 2", Command(operation.LOAD_WEIGHTS, **second, exponent=-12,
                        wait_for_products=False), beats(OUTPUTS, HIDDEN)),
        ("forward 2", Command(operation.FORWARD, **second), None),
    ]  # fmt: skip


async def watch_pins(dut, trace):
    """Note the pins in every cycle, as both sides see them at its end."""
    while True:
        await RisingEdge(dut.aclk)
        trace.append({pin: int(getattr(dut, pin).value) for pin in PINS})


async def watch_status(driver, trace, seen):
    """Read what the core says of itself, as often as the bus lets."""
    while True:
        status = await driver.status()
        cycle = len(trace)
        done = await driver.read("COMMANDS_DONE")
        seen.append((cycle, status["loading"], status["computing"], done))


@cocotb.test()
async def record(dut):
    """Run the program, and write down what happens."""
    size = config.load(config.DEFAULT)["training_core"].size()
    Clock(dut.aclk, 10, unit="ns").start()
    driver = CoreDriver(dut, size)
    await driver.reset()
    await driver.write("INTERRUPT_ENABLE", 0b11)
    trace, seen = [], []
    cocotb.start_soon(watch_pins(dut, trace))
    cocotb.start_soon(watch_status(driver, trace, seen))
    commands = [(command, beats) for _, command, beats in program(size)]
    received = await driver.run(commands)
    await ClockCycles(dut.aclk, 40)
    for mine, theirs in zip(received, expected(TrainingCore(size), commands), strict=True):
        assert_equal("strips", mine, theirs)
    TRACE.write_text(json.dumps({"pins": trace, "status": seen}))


class Figure:
    """Rows of signals over a common axis of cycles.

    Parameters
    ----------
    cycles : int
        Length of the axis.
    """

    WIDTH, LEFT, RIGHT, ROW, TOP = 1000, 165, 20, 36, 44

    def __init__(self, cycles):
        self._cycles = cycles
        self._scale = (self.WIDTH - self.LEFT - self.RIGHT) / cycles
        self._parts = []
        self._rows = 0
        self.low = 0  # level of the row that was begun last

    def x(self, cycle):
        return round(self.LEFT + cycle * self._scale, 1)

    def row(self, name):
        """Begin a row; returns the heights of its high and of its low level."""
        self.low = low = self.TOP + self._rows * self.ROW + 26
        self._rows += 1
        self.text(self.LEFT - 12, low - 5, name, "name", "end")
        return low - 18, low

    def text(self, x, y, words, kind, anchor="middle"):
        self._parts.append(
            f'<text class="{kind}" x="{x}" y="{y}" text-anchor="{anchor}">{words}</text>'
        )

    def box(self, begin, end, y, height, kind):
        width = round((end - begin) * self._scale, 1)
        self._parts.append(
            f'<rect class="{kind}" x="{self.x(begin)}" y="{y}" width="{width}" height="{height}"/>'
        )

    def line(self, cycle, y, to, kind):
        self._parts.append(f'<path class="{kind}" d="M{self.x(cycle)} {y} V{to}"/>')

    def level(self, name, spans):
        """Draw a signal that is high in some spans of cycles, each with its label."""
        high, low = self.row(name)
        path = f"M{self.x(0)} {low}"
        for begin, end, label in spans:
            self.box(begin, end, high, low - high, "high")
            path += f" H{self.x(begin)} V{high} H{self.x(end)} V{low}"
            self.text(self.x((begin + end) / 2), low - 5, label, "label")
        self._parts.append(f'<path class="wire" d="{path} H{self.x(self._cycles)}"/>')

    def beats(self, name, runs, last, labels):
        """Draw the transfers of a stream: runs of beats, TLAST at the end of some of them."""
        high, low = self.row(name)
        self._parts.append(f'<path class="wire" d="M{self.x(0)} {low} H{self.x(self._cycles)}"/>')
        for begin, end in runs:
            self.box(begin, end, high, low - high, "beats")
        before = -1
        for cycle, label in zip(last, labels, strict=True):
            start = next(begin for begin, end in runs if end > before + 1)
            self.line(cycle, high - 4, low, "last")
            self.text(self.x((max(start, before + 1) + cycle) / 2), low - 5, label, "label")
            before = cycle

    def svg(self, captions):
        """Add axis and captions, and join everything."""
        bottom = self.TOP + self._rows * self.ROW + 12
        for cycle in range(0, self._cycles, self._cycles // 1000 * 100 or 100):
            self.line(cycle, bottom - 6, bottom, "wire")
            self.text(self.x(cycle), bottom + 14, cycle, "small")
        self.text(self.LEFT - 12, bottom + 14, "cycle", "small", "end")
        for number, caption in enumerate(captions):
            self.text(20, bottom + 42 + 19 * number, caption, "small", "start")
        height = bottom + 42 + 19 * len(captions)
        return "\n".join([HEAD.format(width=self.WIDTH, height=height), *self._parts, "</svg>", ""])


HEAD = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" \
font-family="Helvetica, Arial, sans-serif">
<title>Waveform of two layers on the training core</title>
<style>
.wire {{ stroke: #444; stroke-width: 1; fill: none }}
.setting {{ stroke: #8aa4bd; stroke-width: 1 }}
.command, .last {{ stroke: #b06f00; stroke-width: 2 }}
.high {{ fill: #e8f1fb }}
.beats {{ fill: #fbdfae }}
.together {{ fill: #dff2df }}
.name {{ font-size: 13px; font-weight: bold; fill: #123a63 }}
.label {{ font-size: 12px; fill: #222 }}
.small {{ font-size: 12px; fill: #444 }}
</style>
<rect width="{width}" height="{height}" fill="#ffffff"/>"""


def runs(cycles):
    """Join cycles that follow each other; pairs of the first one and that after the last."""
    spans = []
    for cycle in cycles:
        if spans and spans[-1][1] == cycle:
            spans[-1][1] = cycle + 1
        else:
            spans.append([cycle, cycle + 1])
    return spans


def changes(samples):
    """List cycle and value wherever a value that is read now and then has changed."""
    found = [samples[0]]
    for cycle, value in samples[1:]:
        if value != found[-1][1]:
            found.append((cycle, value))
    return found


def draw(pins, status, commands):
    """Draw what was recorded.

    Parameters
    ----------
    pins : list of dict
        Pins by name, in every cycle.
    status : list of (cycle, loading, computing, done)
        What the registers said.
    commands : list of (str, Command, array or None)
        What :func:`program` gave.

    Returns
    -------
    str
        The figure, as SVG.
    """
    figure = Figure(len(pins))
    moves = {
        stream: [
            k for k, now in enumerate(pins) if now[f"{stream}_tvalid"] & now[f"{stream}_tready"]
        ]
        for stream in ("s_axis", "m_axis")
    }
    last = {name: [k for k in cycles if pins[k][f"{name}_tlast"]] for name, cycles in moves.items()}
    loads = [name for name, _, beats in commands if beats is not None]
    products = [name for name, _, beats in commands if beats is None]
    ends = [cycle for cycle, _ in changes([(s[0], s[3]) for s in status])][1:]

    loading = changes([(s[0], s[1]) for s in status])
    computing = changes([(s[0], s[2]) for s in status])
    begin = next(cycle for cycle, value in computing if value)
    half = ends[4]  # the first product ends after all loads and before the second one
    stop = computing[-1][0]
    figure.box(begin, last["s_axis"][-1], figure.TOP, 7 * figure.ROW, "together")
    figure.text(figure.x((begin + last["s_axis"][-1]) / 2), figure.TOP - 8,
                "loads and computes at once", "label")  # fmt: skip

    high, low = figure.row("s_axi writes")
    number = 0
    for cycle, now in enumerate(pins):
        if now["s_axi_awvalid"] & now["s_axi_awready"]:
            is_command = now["s_axi_awaddr"] == BY_NAME["COMMAND"].offset
            figure.line(cycle, high - 2 if is_command else high + 8, low,
                        "command" if is_command else "setting")  # fmt: skip
            number += is_command
            if is_command:
                figure.text(figure.x(cycle), high - 5, number, "label")
    figure.beats("s_axis", runs(moves["s_axis"]), last["s_axis"], loads)
    spans = [(a[0], b[0], "") for a, b in itertools.pairwise(loading) if a[1]]
    figure.level("STATUS.loading", spans)
    figure.level("STATUS.computing", [(begin, half, products[0]), (half, stop, products[1])])
    high, low = figure.row("COMMANDS_DONE")
    for count, (start, end) in enumerate(zip([0, *ends], [*ends, len(pins)], strict=True)):
        figure.line(start, high, low, "wire") if count else None
        figure.text(figure.x((start + end) / 2), low - 5, count, "label")
    figure.beats("m_axis", runs(moves["m_axis"]), last["m_axis"], [""])
    figure.text(
        figure.x(moves["m_axis"][0]) - 8, figure.low - 5, "strips of forward 2", "label", "end"
    )
    figure.level("irq", [(next(k for k, now in enumerate(pins) if now["irq"]), len(pins), "")])

    said = [f"{k}: {describe(command)}" for k, (_, command, _) in enumerate(commands, 1)]
    return figure.svg([
        "s_axi: settings (short) and COMMAND (long). s_axis, m_axis: beats, and TLAST (stroke).",
        " · ".join(said[:4]),
        " · ".join(said[4:]),
    ])  # fmt: skip


def describe(command):
    """Say in a few words what a command does."""
    shape = f"{command.batch} x {command.inputs} x {command.outputs}"
    name = Operation(command.operation).name
    if command.operation >= Operation.FORWARD:
        return f"{name} to {Destination(command.destination).name} ({shape})"
    return f"{name} ({' x '.join(map(str, command.load_shape()))})"


def main():
    """Simulate, and draw."""
    core = config.load(config.DEFAULT)["training_core"]
    simulate(core.build(), ["verif.waveform"], {}, seed=SEED)
    recorded = json.loads(TRACE.read_text())
    FIGURE.write_text(draw(recorded["pins"], recorded["status"], program(core.size())))


if __name__ == "__main__":
    main()
