# amaranth: UnusedElaboratable=no
"""Products that do not wait for each other: the same settings follow at once, others never mix."""

import dataclasses

import numpy as np
import pytest

from nibblegrad.golden.engine.command import PRODUCTS, Destination, Operation
from nibblegrad.golden.engine.training_core import TrainingCore
from nibblegrad.golden.numbers.rounding import RoundMode
from verif.engine.core_scenarios import Layer, config, matches
from verif.harness.build import build_core
from verif.harness.device import RtlDevice

WITHOUT_WAITING = {"wait_for_loads": False, "wait_for_products": False}
# One setting at a time, for FORWARD, and for the gradients.
FORWARD_CHANGES = [
    {"significand": 40000},
    {"exponent": -21},
    {"mode": RoundMode.TRUNCATE},
    {"relu": True},
    {"bias": False},
    {"destination": Destination.PARTIAL_SUMS, "bias": False},
    {"destination": Destination.OPERAND, "result_base": 16},
    {"destination": Destination.OPERAND, "result_base": 16, "signed_result": True},
]
GRADIENT_CHANGES = [
    {"significand": 40000},
    {"masked": False},
    {"step_gradient": False},
    {"clear_step_gradient": True},
    {"destination": Destination.NOTHING},
]


@pytest.fixture(scope="module")
def size():
    return config("4x4x8").size()


@pytest.fixture
def rng(request):
    return np.random.default_rng(request.config.getoption("--seed"))


@pytest.fixture
def device(size):
    return RtlDevice(size, build_core(size, 1))


@pytest.mark.parametrize("pauses", [0.0, 0.8])
@pytest.mark.parametrize("operation", PRODUCTS)
def test_settings_belong_to_their_product(device, size, rng, operation, pauses):
    device.set_stalls((0.0, pauses, 0.0))
    twin, layer = TrainingCore(size), Layer(rng, size)
    changes = FORWARD_CHANGES if operation is Operation.FORWARD else GRADIENT_CHANGES
    plain, _ = layer.product(operation, **WITHOUT_WAITING)
    program = layer.loads()
    program.append((dataclasses.replace(plain, wait_for_loads=True), None))
    for change in changes:
        changed = dataclasses.replace(plain, **change)
        program += [(plain, None), (plain, None), (changed, None), (changed, None), (plain, None)]
    matches(device, twin, program)


@pytest.mark.parametrize("operation", PRODUCTS)
def test_pieces_of_a_layer_follow_without_a_gap(device, size, rng, operation):
    """Other operands and places, the same settings: as pieces of a layer are multiplied."""
    twin, layer = TrainingCore(size), Layer(rng, size, batch=64, inputs=64, outputs=64)
    matches(device, twin, layer.loads())
    plain, _ = layer.product(operation, **WITHOUT_WAITING)
    axis, bases = {
        Operation.FORWARD: ("batch", ["activation_base"]),
        Operation.INPUT_GRADIENT: ("batch", ["activation_base", "gradient_base"]),
        Operation.WEIGHT_GRADIENT: ("outputs", ["gradient_base", "weight_base"]),
    }[operation]
    words = size.blocks(16, 64)
    if operation is Operation.WEIGHT_GRADIENT:
        # The columns of the gradient are not cut: every piece takes the same ones.
        bases = ["weight_base"]
    pieces = [
        dataclasses.replace(
            plain, **{axis: 16}, **{base: getattr(plain, base) + k * words for base in bases}
        )
        for k in range(4)
    ]
    cycles = []
    for program in ([pieces[0]], pieces):
        device.clear_counters()
        twin.clear_counters()
        matches(device, twin, [(command, None) for command in program])
        cycles.append(device.counters()["CYCLES"])
    one, four = cycles
    work = max(size.passes(pieces[0]), size.strips(pieces[0]))
    assert one + 3 * work <= four <= one + 3 * (work + 4)


def test_short_products_follow_tall_tiles(rng):
    """A tile of eight strips, and at once one of another product: none takes the other's place."""
    size = config("8x2x4 radix 4").size()
    device, twin = RtlDevice(size, build_core(size, 1)), TrainingCore(size)
    layer = Layer(rng, size, batch=8, inputs=128, outputs=2)
    matches(device, twin, layer.loads())
    plain, _ = layer.product(Operation.FORWARD, **WITHOUT_WAITING)
    # While the long one computes, short ones wait, with as many strips and with one.
    short = dataclasses.replace(plain, inputs=4)
    single = dataclasses.replace(short, batch=1)
    for followers in ([short, short, short], [short, single, short], [single, single, single]):
        matches(device, twin, [(command, None) for command in (plain, *followers)])
