"""Training on a core: the same bits as in NumPy, however small the memories, and no races."""

import dataclasses
import itertools
import math
from collections import Counter

import numpy as np
import pytest

from nibblegrad.golden.cores.fp4_quantizer import Fp4Mode
from nibblegrad.golden.cores.quantizer import InRange
from nibblegrad.golden.driver.device_backend import DeviceBackend
from nibblegrad.golden.driver.tiling import TileCache
from nibblegrad.golden.engine.command import PRODUCTS, CoreSize, Destination, Operation
from nibblegrad.golden.engine.training_core import TrainingCore
from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.formats import FLOAT16, Fp4Format
from nibblegrad.golden.training import data
from nibblegrad.golden.training.backend import NumpyBackend
from nibblegrad.golden.training.gradient_recipe import GradientRecipe
from nibblegrad.golden.training.methods import VARIANTS
from nibblegrad.golden.training.passes import Weights
from nibblegrad.golden.training.recipes import Recipe
from nibblegrad.golden.training.trainer import RECIPES, Settings, Trainer

SEED = 3
SETTINGS = {
    "mlp": Settings(hidden=(32, 24), epochs=5, batch=32),
    "cnn": Settings(network="cnn", channels=(4, 20), epochs=5, batch=8),
}
FORMATS = {"luq": Fp4Format(1), "two_phase": Fp4Format(2)}
LARGE = CoreSize(activation_words=4096, weight_words=1024, gradient_words=4096, max_terms=2048)
SIZES = {
    "large": LARGE,
    # Rows are cut, and pieces lie beside each other.
    "rows": dataclasses.replace(LARGE, rows=2, columns=4, lanes=8, activation_words=20),
    # Everything is cut, with room for two pieces at once.
    "small": CoreSize(
        rows=4, columns=2, lanes=4, activation_words=24, weight_words=12, gradient_words=20,
        bias_words=8, partial_sum_strips=96, max_terms=16,
    ),
    # Single blocks, loaded again and again.
    "least": CoreSize(
        rows=2, columns=4, lanes=2, activation_words=1, weight_words=1, gradient_words=8,
        bias_words=1, partial_sum_strips=8, max_terms=4,
    ),
    "other numbers": dataclasses.replace(
        LARGE, wide_format=FLOAT16, residual_bits=5, in_range_rule=InRange.ROUNDED
    ),
}  # fmt: skip


class AuditedCore(TrainingCore):
    """Core that knows which commands may run at the same time, and forbids races.

    Commands start in order. When one starts, those before it have surely ended if it waits for
    their kind, if one before it did, or if the host has seen their end.

    Attributes
    ----------
    commands : list of Command
        All commands.
    overlaps : int
        Count of pairs of a load and a product that may run at the same time.
    settings : int
        Count of times the generators were set.
    """

    def __init__(self, size):
        self.commands, self.overlaps, self.settings = [], 0, 0
        self._running = {}
        super().__init__(size)

    def issue(self, command, beats=None):
        is_load = command.is_load
        for number, other in list(self._running.items()):
            other_is_load = other.is_load
            if command.wait_for_loads if other_is_load else command.wait_for_products:
                del self._running[number]
            elif is_load != other_is_load:
                assert not self.words(command) & self.words(other), (command, other)
                self.overlaps += 1
            elif not is_load:
                assert not command.accumulate, "partial sums may not be stored yet"
        number = super().issue(command, beats)
        self._running[number] = command
        self.commands.append(command)
        assert not self.error, (self.error, command)
        return number

    def words(self, command):
        """Words of the operand memories that a command touches."""
        size = self.size
        of_element = command.masked or command.step_gradient
        batch, inputs, outputs = command.batch, command.inputs, command.outputs
        forward, to_inputs, to_weights = (command.operation == product for product in PRODUCTS)
        used = {
            ("activations", command.activation_base, size.blocks(batch, inputs)): forward
            or to_weights
            or (to_inputs and of_element)
            or command.operation == Operation.LOAD_ACTIVATIONS,
            ("weights", command.weight_base, size.blocks(outputs, inputs)): forward
            or to_inputs
            or (to_weights and of_element)
            or command.operation == Operation.LOAD_WEIGHTS,
            ("gradients", command.gradient_base, size.blocks(batch, outputs)): to_inputs
            or to_weights
            or command.operation == Operation.LOAD_GRADIENTS,
            ("biases", command.bias_base, -(-outputs // size.columns)): (forward and command.bias)
            or command.operation == Operation.LOAD_BIASES,
        }
        return {
            (memory, word)
            for (memory, base, count), is_used in used.items()
            if is_used
            for word in range(base, base + count)
        }

    def result(self, number):
        self._running = {n: c for n, c in self._running.items() if n > number}
        return super().result(number)

    def finish(self):
        self._running = {}
        super().finish()

    def seed(self, loads, results):
        self.settings += 1
        super().seed(loads, results)

    def count(self, operation, **settings):
        return sum(
            command.operation == operation
            and all(getattr(command, key) == value for key, value in settings.items())
            for command in self.commands
        )


@pytest.fixture(scope="module")
def digits():
    return data.digits()


def numpy_backend(size):
    return NumpyBackend(
        size.wide_format,
        size.load_lanes,
        SEED,
        residual_bits=size.residual_bits,
        in_range=size.in_range_rule,
    )


def train(digits, network, recipe, size, steps):
    """Train on the golden core, and compare with NumPy after every step."""
    core = AuditedCore(dataclasses.replace(size, fmt=FORMATS[recipe]))
    return core, compare(digits, network, RECIPES[recipe], core, steps)


def compare(digits, network, recipe, core, steps):
    """Train on a core and in NumPy, and compare after every step; returns both trainers."""
    size = core.size
    runs = [
        Trainer(recipe, digits, SETTINGS[network], SEED, backend)
        for backend in (numpy_backend(size), DeviceBackend(core, SEED))
    ]
    start = runs[0].parameters()
    for _, rows in zip(range(steps), runs[0].batches(), strict=False):
        losses = [run.step(rows) for run in runs]
        assert losses[0] == losses[1]
        expected, obtained = (run.parameters() for run in runs)
        for name, value in expected.items():
            assert value.tobytes() == obtained[name].tobytes(), name
    assert not any(np.array_equal(start[name], expected[name]) for name in start)
    return runs


@pytest.mark.parametrize(
    "network, recipe, size",
    [
        pytest.param(*case, marks=[pytest.mark.slow] * (case[::2] == ("cnn", "least")))
        for case in itertools.product(SETTINGS, FORMATS, SIZES)
    ],
)
def test_core_trains_to_the_same_bits(digits, network, recipe, size):
    core, runs = train(digits, network, recipe, SIZES[size], steps=1 if size == "least" else 3)
    if size == "large":
        assert runs[0].accuracy() == runs[1].accuracy()
    assert core.overlaps > 0
    chains = {product: core.count(product, accumulate=True) > 0 for product in PRODUCTS}
    if size in ("small", "least"):
        assert all(chains.values())
    elif size == "rows":
        assert any(chains.values())


GRADIENTS = {
    "published phases": GradientRecipe(Fp4Format(2), Fp4Mode.NEAREST, (0, 1), alternate=True),
    "grad scale": GradientRecipe(Fp4Format(2), Fp4Mode.NEAREST, (0, 1), grad_scale=True),
    "terms everywhere": GradientRecipe(Fp4Format(2), Fp4Mode.NEAREST, terms=2),
    "radix 2 terms": GradientRecipe(Fp4Format(1), Fp4Mode.STOCHASTIC, terms=2),
    "samples": GradientRecipe(Fp4Format(1), Fp4Mode.STOCHASTIC, samples=2),
}


@pytest.mark.parametrize(
    "network, name, size",
    [
        pytest.param(*case, marks=[pytest.mark.slow] * (case[::2] == ("cnn", "small")))
        for case in itertools.product(SETTINGS, GRADIENTS, ["large", "small"])
    ],
)
def test_core_takes_every_kind_of_gradient(digits, network, name, size):
    gradient = GRADIENTS[name]
    core = AuditedCore(dataclasses.replace(SIZES[size], fmt=gradient.fmt))
    compare(digits, network, Recipe(name, gradient=gradient), core, steps=2)


@pytest.mark.parametrize("recipe", FORMATS)
def test_what_fits_is_loaded_once_a_step(digits, recipe):
    core = AuditedCore(dataclasses.replace(LARGE, fmt=FORMATS[recipe]))
    backend = DeviceBackend(core, SEED)
    run = Trainer(RECIPES[recipe], digits, SETTINGS["mlp"], SEED, backend)
    backend.log, before = [], len(core.commands)
    run.step(np.arange(LARGE.block))
    loaded, phases = Counter(), len(set(RECIPES[recipe].gradient.phases))
    for command in core.commands[before:]:
        if command.is_load:
            loaded[Operation(command.operation)] += math.prod(command.load_shape())
    sizes, rows = [(64, 32), (32, 24), (24, 10)], LARGE.block
    # The backward pass of the last layer has its weights and its gradient in as many parts.
    parts = RECIPES[recipe].last.parts
    repeated = sizes[-1][0] * sizes[-1][1] * parts if parts > 1 else 0
    sizes[-1] = (24, 10 * parts)
    assert loaded == {
        Operation.LOAD_WEIGHTS: 64 * 32 + 32 * 24 + 24 * 10 + repeated,
        Operation.LOAD_ACTIVATIONS: sum(rows * inputs for inputs, _ in sizes),
        Operation.LOAD_GRADIENTS: sum(rows * outputs for _, outputs in sizes) * phases,
        Operation.LOAD_BIASES: 32 + 24 + 10,
    }
    # The generator is set at the start only.
    assert core.settings == 1
    # The gradient by the images is wanted for the step's gradient only.
    for entry in backend.log:
        if entry.command.operation == Operation.INPUT_GRADIENT:
            is_first = entry.layer == backend.log[0].layer
            wanted = Destination.NOTHING if is_first else Destination.STREAM
            assert entry.command.destination == wanted


@pytest.mark.parametrize(
    "name, bound, beats", [("two_phase", 9280, 2240), ("two_phase_before", 9120, 4352)]
)
def test_what_gradients_cost(digits, name, bound, beats):
    """Passes or strips of a step, and beats of its gradients, as docs/decisions/0021 has them."""
    size = CoreSize(fmt=Fp4Format(2), rows=8, columns=8, lanes=16, gradient_words=512)
    size = dataclasses.replace(size, activation_words=1024, max_terms=4096)
    core = AuditedCore(size)
    backend = DeviceBackend(core, SEED)
    run = Trainer((RECIPES | VARIANTS)[name], digits, Settings(), SEED, backend)
    backend.log, before = [], len(core.commands)
    run.step(np.arange(64))
    work = {}
    for entry in backend.log:
        passes, strips = work.get((entry.layer, entry.command.operation), (0, 0))
        sums = passes + size.passes(entry.command), strips + size.strips(entry.command)
        work[entry.layer, entry.command.operation] = sums
    assert sum(map(max, work.values())) == bound
    loads = [c for c in core.commands[before:] if c.operation == Operation.LOAD_GRADIENTS]
    assert sum(c.batch * -(-c.outputs // size.load_lanes) for c in loads) == beats


def test_gradients_that_are_loaded_again_get_their_random_numbers_again(digits):
    core, _ = train(digits, "mlp", "luq", SIZES["least"], steps=1)
    assert core.settings > 1
    core, _ = train(digits, "mlp", "luq", SIZES["rows"], steps=1)
    assert core.settings == 1


def test_log_has_every_multiplication(digits):
    backend = DeviceBackend(TrainingCore(LARGE), SEED)
    run = Trainer(RECIPES["luq"], digits, SETTINGS["mlp"], SEED, backend)
    backend.log = []
    run.step(np.arange(32))
    sizes = {"layer0": (64, 32), "layer1": (32, 24), "layer2": (24, 10)}
    products = (Operation.FORWARD, Operation.INPUT_GRADIENT, Operation.WEIGHT_GRADIENT)
    macs = {(layer, operation): 0 for layer in sizes for operation in products}
    for entry in backend.log:
        command = entry.command
        macs[entry.layer, Operation(command.operation)] += (
            command.batch * command.inputs * command.outputs
        )
    for (layer, _), count in macs.items():
        assert count == 32 * math.prod(sizes[layer])
    numbers = [entry.number for entry in backend.log]
    assert numbers == sorted(numbers)


def test_long_weight_gradients_are_added_in_sections():
    """Of radix 4, 32 bits hold sums of 32768 rows; the rest is added on the host."""
    rng = np.random.default_rng(6)
    rows = (1 << 15) + 40
    size = CoreSize(
        fmt=Fp4Format(2), activation_words=300, gradient_words=300, max_terms=2048, lanes=8
    )
    weights, x, gradient = (
        (rng.integers(0, 256, shape) / 16).astype(np.float32)
        for shape in ((2, 3), (rows, 3), (rows, 2))
    )
    core = AuditedCore(size)
    results = []
    for backend in (numpy_backend(size), DeviceBackend(core, SEED)):
        with backend.begin({"layer": Weights(weights, 1.5)}) as passes:
            output = passes.forward("layer", x, 1.25, None, relu=False)
            recipe = RECIPES["two_phase"].gradient
            results.append((output, passes.backward("layer", gradient, recipe)))
    (output, expected), (other_output, obtained) = results
    assert np.array_equal(output, other_output)
    assert core.count(Operation.WEIGHT_GRADIENT, destination=Destination.STREAM) == 2
    for name in ("inputs", "weights", "activation_step", "weight_step"):
        assert np.array_equal(getattr(expected, name), getattr(obtained, name)), name


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        (None, "A training core multiplies gradients in FP4 only; choose a recipe that does"),
        (
            RECIPES["two_phase"].gradient,
            "Recipe and core must have the same FP4 format, not fp4_radix4 and fp4_radix2",
        ),
        (
            GradientRecipe(Fp4Format(1), Fp4Mode.STOCHASTIC, random_bits=4),
            "Recipe and core must have the same count of random bits, not 4 and 8",
        ),
    ],
)
def test_bad_recipe(recipe, sentence):
    ones = np.ones((2, 2), np.float32)
    passes = DeviceBackend(TrainingCore(LARGE)).begin({"layer": Weights(ones, 1.0)})
    passes.forward("layer", ones, 1.0, None, relu=False)
    with pytest.raises(InputError, match=f"^{sentence}$"):
        passes.backward("layer", ones, recipe)


def test_bad_bias():
    ones = np.ones((2, 2), np.float32)
    passes = DeviceBackend(TrainingCore(LARGE)).begin({"layer": Weights(ones, 1.0)})
    with pytest.raises(
        InputError, match=r"^Biases of layer must fit 32 bits in units of the sums$"
    ):
        passes.forward("layer", ones, 1.0, np.full(2, 2.0**31, np.float32), relu=False)


def test_cache_makes_room_for_what_is_newer():
    cache = TileCache[str](10)
    assert [cache.allocate(tile, 4) for tile in "ab"] == [0, 4]
    assert cache.find("a") == 0
    assert cache.allocate("c", 3) == 4  # b was used the longest ago
    assert cache.find("b") is None
    assert cache.allocate("d", 10, keep=["a"]) is None
    assert (cache.find("c"), cache.find("a")) == (4, 0)
    assert cache.allocate("d", 6, keep=["a"]) == 4
    # What is dropped is not found, but makes room only when it must, or is told to.
    cache.drop(lambda tile: tile == "a")
    assert cache.find("a") is None
    assert cache.allocate("e", 4) == 0
    assert cache.find("d") == 4
