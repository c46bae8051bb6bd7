# amaranth: UnusedElaboratable=no
"""What the handbook says about the time that a layer takes, measured on the Verilog."""

import re

import numpy as np
import pytest

from nibblegrad.golden.engine.command import Command, Operation
from verif.engine.core_scenarios import config
from verif.harness.build import build_core
from verif.harness.device import RtlDevice
from verif.paths import ROOT

PAGE = ROOT / "docs" / "training_core.md"
SIZE = config("4x4x8").size()
ORDER = [
    Operation.LOAD_WEIGHTS,
    Operation.LOAD_ACTIVATIONS,
    Operation.FORWARD,
    Operation.LOAD_GRADIENTS,
    Operation.INPUT_GRADIENT,
    Operation.WEIGHT_GRADIENT,
]


def rows(batch, inputs, outputs):
    """Read passes, beats or strips, and cycles of a layer in the table; None for an empty cell."""
    begin = f"| {batch} x {inputs} -> {outputs} | passes |"
    lines = PAGE.read_text().partition(begin)[2].splitlines()[:3]
    cells = [re.sub(r"beats or strips|cycles|,", "", line).split("|") for line in lines]
    wanted = len(ORDER) + 1
    return [[int(cell) if cell.strip() else None for cell in line[:-1][-wanted:]] for line in cells]


@pytest.fixture(scope="module")
def device():
    return RtlDevice(SIZE, build_core(SIZE, 1))


def measure(device, commands):
    """Run commands one after the other; returns passes, beats or strips, and cycles."""
    device.clear_counters()
    numbers = []
    for command in commands:
        beats = None
        if command.is_load:
            height, width = command.load_shape()
            count = height * -(-width // SIZE.load_lanes)
            beats = np.zeros((count, SIZE.load_lanes), np.uint32)
        numbers.append((device.issue(command, beats), command))
    for number, command in numbers:
        if command.is_product:
            device.result(number)
    counters = device.counters()
    moved = counters["LOAD_BEATS"] + counters["STRIPS"]
    return counters["PASSES"], moved, counters["CYCLES"]


# Slow: Verilator takes its time for the whole core.
@pytest.mark.slow
@pytest.mark.parametrize("shape", [(64, 128, 128), (64, 128, 10)], ids=str)
def test_cycles_are_those_of_the_handbook(device, shape):
    commands = [
        Command(operation, **dict(zip(("batch", "inputs", "outputs"), shape, strict=True)))
        for operation in ORDER
    ]
    passes, moved, cycles = rows(*shape)
    for column, command in enumerate([[c] for c in commands] + [commands]):
        name = ORDER[column].name if column < len(ORDER) else "together"
        found = measure(device, command)
        assert found[0] == (passes[column] or 0), name
        assert moved[column] is None or found[1] == moved[column], name
        # A few cycles depend on when the host writes.
        assert abs(found[2] - cycles[column]) <= 8 * len(command), name


def test_loads_hide_behind_products(device):
    """Eight layers in a row; each is loaded into the other half of the memories."""
    shape = {"batch": 64, "inputs": 128, "outputs": 64}
    commands = []

    def issue(layer, *operations, **waits):
        half = layer % 2
        places = {
            "activation_base": half * SIZE.blocks(64, 128),
            "weight_base": half * SIZE.blocks(64, 128),
            "gradient_base": half * SIZE.blocks(64, 64),
        }
        waits = {"wait_for_products": False, **waits}
        commands.extend(Command(operation, **shape, **places, **waits) for operation in operations)

    issue(0, Operation.LOAD_WEIGHTS, Operation.LOAD_ACTIVATIONS)
    for layer in range(8):
        issue(layer, Operation.FORWARD, Operation.LOAD_GRADIENTS, Operation.INPUT_GRADIENT)
        if layer < 7:
            issue(layer + 1, Operation.LOAD_WEIGHTS, Operation.LOAD_ACTIVATIONS)
        issue(layer, Operation.WEIGHT_GRADIENT, wait_for_loads=False)
    passes, _, cycles = measure(device, commands)
    words = " ".join(PAGE.read_text().split())
    said, share = re.search(r"take ([\d,]+) cycles, ([\d.]+) % of them passes", words).groups()
    assert abs(cycles - int(said.replace(",", ""))) <= 8 * len(commands)
    assert abs(100 * passes / cycles - float(share)) < 0.5
