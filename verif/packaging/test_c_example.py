# amaranth: UnusedElaboratable=no
"""The C program of the handbook, compiled and run on the Verilog."""

import math
import subprocess

import numpy as np
import pytest

from nibblegrad.gen.emission import registers
from nibblegrad.golden.engine.command import Command, ErrorCode, Operation, Store
from nibblegrad.golden.engine.device import pack_biases, pack_matrix, unpack_result
from nibblegrad.golden.engine.training_core import TrainingCore
from nibblegrad.golden.numbers.formats import Scale
from verif.engine.core_scenarios import config
from verif.harness.build import build_core
from verif.paths import ROOT

EXAMPLES = ROOT / "docs" / "examples"
SIZE = config("4x4x8").size()


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The program, with a core."""
    library = build_core(SIZE, optimize=1)
    folder = tmp_path_factory.mktemp("c")
    for name, text in registers.files("training_core").items():
        (folder / name).write_text(text)
    includes = [folder, EXAMPLES, ROOT / "verif" / "harness"]
    sources = [EXAMPLES / "layer.c", ROOT / "verif" / "c_example_board.c"]
    subprocess.run(
        [
            *("gcc", "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror"),
            *(f"-I{path}" for path in includes),
            *sources,
            *(library, "-lm", f"-Wl,-rpath,{library.parent}", "-o", folder / "layer"),
        ],
        check=True,
    )
    return folder / "layer"


class Layer:
    """A layer with random operands, and its commands."""

    def __init__(self, rng, batch, inputs, outputs, *, weight_base=0, relu=True):
        self.shape = {"batch": batch, "inputs": inputs, "outputs": outputs}
        self.bases = {"activation_base": 3, "weight_base": weight_base, "gradient_base": 1}
        self.bases["bias_base"] = 2
        self.relu = relu
        self.exponent = -5
        self.steps = (float(rng.uniform(0.05, 0.2)), float(rng.uniform(0.05, 0.2)))
        shapes = {"x": (batch, inputs), "w": (outputs, inputs), "dy": (batch, outputs)}
        self.beats = {
            name: pack_matrix(self._codes(rng, shape), SIZE.load_lanes)
            for name, shape in shapes.items()
        }
        self.biases = rng.integers(-3000, 3000, outputs)

    @staticmethod
    def _codes(rng, shape):
        numbers = (rng.integers(-255, 256, shape) / 128).astype(np.float32)
        return SIZE.wide_format.encode(numbers)

    def stdin(self):
        """What the program reads."""
        head = [*self.shape.values(), *self.bases.values(), self.exponent, self.relu]
        padded = np.zeros(-(-len(self.biases) // SIZE.load_lanes) * SIZE.load_lanes, np.int32)
        padded[: len(self.biases)] = self.biases
        return b"".join(
            [
                np.array(head, np.int32).tobytes(),
                np.array(self.steps).tobytes(),
                *(beats.astype(np.uint16).tobytes() for beats in self.beats.values()),
                padded.tobytes(),
            ]
        )

    def run(self, core):
        """Compute on the golden model what the program writes."""
        x_step, w_step = self.steps
        common = {**self.shape, **self.bases}
        gradient = {"masked": True, "step_gradient": True, "clear_step_gradient": True}

        def load(operation, beats, scale=1.0, **settings):
            scale = Scale.from_float(scale)
            numbers = {"significand": scale.significand, "exponent": scale.exponent}
            core.issue(Command(operation, **common, **numbers, **settings), beats)

        def product(operation, scale, **settings):
            scale = Scale.from_float(scale)
            numbers = {"significand": scale.significand, "exponent": scale.exponent}
            command = Command(operation, **common, **numbers, **settings)
            strips = core.result(core.issue(command))
            return unpack_result(strips, command, SIZE).astype(np.uint16).tobytes()

        load(Operation.LOAD_WEIGHTS, self.beats["w"], 1 / w_step)
        load(Operation.LOAD_BIASES, pack_biases(self.biases, SIZE))
        load(Operation.LOAD_ACTIVATIONS, self.beats["x"], 1 / x_step)
        y = product(Operation.FORWARD, x_step * w_step, bias=True, relu=self.relu)
        load(
            Operation.LOAD_GRADIENTS, self.beats["dy"],
            fp4_exponent=self.exponent, stochastic=True,
        )  # fmt: skip
        units = math.ldexp(w_step, self.exponent), math.ldexp(x_step, self.exponent)
        dx = product(Operation.INPUT_GRADIENT, units[0], **gradient)
        dw = product(Operation.WEIGHT_GRADIENT, units[1], **gradient)
        steps = [
            core.step_gradient(memory) * unit / 2**SIZE.residual_bits
            for memory, unit in zip((Store.ACTIVATIONS, Store.WEIGHTS), units, strict=True)
        ]
        assert all(steps), "a step gradient of 0 would prove nothing"
        return np.zeros(2, np.int32).tobytes() + y + dx + dw + np.array(steps).tobytes()


def test_layers_are_those_of_the_golden_model(program):
    rng = np.random.default_rng(1)
    core = TrainingCore(SIZE)
    layers = [
        Layer(rng, 9, 13, 7),
        Layer(rng, 16, 32, 24, weight_base=40, relu=False),
        Layer(rng, 1, 9, 3),
    ]
    done = subprocess.run([program], input=b"".join(layer.stdin() for layer in layers),
                          capture_output=True, check=True)  # fmt: skip
    expected = [layer.run(core) for layer in layers]
    begin = 0
    for layer, bits in zip(layers, expected, strict=True):
        assert done.stdout[begin : begin + len(bits)] == bits, layer.shape
        begin += len(bits)
    assert len(done.stdout) == begin


def test_refused_layer_leaves_the_core_ready_for_another(program):
    rng = np.random.default_rng(2)
    refused, good = Layer(rng, 8, 8, 8, weight_base=SIZE.weight_words), Layer(rng, 10, 9, 11)
    done = subprocess.run([program], input=refused.stdin() + good.stdin(),
                          capture_output=True, check=True)  # fmt: skip
    error = np.array([ErrorCode.MEMORY, 0], np.int32).tobytes()
    assert done.stdout == error + good.run(TrainingCore(SIZE))
