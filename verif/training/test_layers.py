"""Layers: float gradients against differences, 4-bit ones against slow loops in Python."""

import math
from fractions import Fraction

import numpy as np
import pytest

from nibblegrad.golden.cores.fp4_quantizer import Fp4Mode
from nibblegrad.golden.cores.stochastic_rounder import round_float
from nibblegrad.golden.numbers.formats import BFLOAT16, Fp4Format, Scale
from nibblegrad.golden.numbers.random_bits import RandomBits, seed_state
from nibblegrad.golden.training import layers
from nibblegrad.golden.training.backend import NumpyBackend
from nibblegrad.golden.training.conversions import section_rows
from nibblegrad.golden.training.gradient_recipe import GradientRecipe
from nibblegrad.golden.training.learned_step import PublishedStep
from nibblegrad.golden.training.loss import softmax_cross_entropy
from nibblegrad.golden.training.operations import RecordingOperations
from nibblegrad.golden.training.passes import Weights

LUQ = GradientRecipe(Fp4Format(1), Fp4Mode.STOCHASTIC)
TWO_PHASE = GradientRecipe(Fp4Format(2), Fp4Mode.NEAREST, phases=(0, 1))
BATCH, IN, OUT = 5, 7, 3
# Lanes of a load; rows of three gradients take two beats.
LANES = 2


def differences(function, x, epsilon=1e-6):
    """Central differences of a scalar function by every element of ``x``."""
    result = np.zeros_like(x)
    for where in np.ndindex(x.shape):
        saved = x[where]
        x[where] = saved + epsilon
        above = function()
        x[where] = saved - epsilon
        result[where] = (above - function()) / (2 * epsilon)
        x[where] = saved
    return result


@pytest.mark.parametrize("has_bias", [False, True])
def test_dense_and_relu_gradients_are_the_differences(has_bias):
    rng = np.random.default_rng(1)
    x, w, b, upstream = (
        rng.normal(size=shape) for shape in ((BATCH, IN), (OUT, IN), (OUT,), (BATCH, OUT))
    )
    layer = layers.Dense(w, has_relu=True, has_bias=has_bias)
    variables = {"weights": w}
    if has_bias:
        layer.parameters["bias"] = variables["bias"] = b

    def loss():
        return float((layer.forward(x) * upstream).sum())

    loss()
    assert (layer._output == 0).any() and (layer._output > 0).any()
    assert np.allclose(layer.backward(upstream), differences(loss, x), atol=1e-8)
    assert layer.gradients.keys() == variables.keys()
    for name, variable in variables.items():
        assert np.allclose(layer.gradients[name], differences(loss, variable), atol=1e-8)


def test_loss_gradient_is_the_differences():
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(BATCH, OUT)) * 3
    labels = np.array([0, 2, 1, 1, 0])
    _, gradient = softmax_cross_entropy(logits, labels)
    expected = differences(lambda: softmax_cross_entropy(logits, labels)[0], logits)
    assert np.allclose(gradient, expected, atol=1e-8)


def test_loss_of_equal_and_of_huge_logits():
    loss, gradient = softmax_cross_entropy(np.zeros((1, 4)), np.array([2]))
    assert loss == pytest.approx(math.log(4))
    assert gradient.tolist() == [[0.25, 0.25, -0.75, 0.25]]
    loss, gradient = softmax_cross_entropy(np.array([[1000.0, 0.0]]), np.array([1]))
    assert loss == 1000
    assert gradient.tolist() == [[1, -1]]


@pytest.mark.parametrize("has_relu", [False, True])
def test_float_layer_is_its_functions(has_relu):
    rng = np.random.default_rng(3)
    w = rng.normal(size=(OUT, IN)).astype(np.float32)
    x = rng.normal(size=(BATCH, IN)).astype(np.float32)
    upstream = rng.normal(size=(BATCH, OUT)).astype(np.float32)
    layer = layers.Dense(w, has_relu)
    layer.parameters["bias"] += np.float32(0.5)
    output = x @ w.T + np.float32(0.5)
    masked = np.where((output <= 0) & has_relu, 0, upstream)
    assert np.array_equal(layer.forward(x), np.maximum(output, 0) if has_relu else output)
    assert np.array_equal(layer.backward(upstream), masked @ w)
    assert np.array_equal(layer.gradients["weights"], masked.T @ x)
    assert np.array_equal(layer.gradients["bias"], masked.sum(axis=0))
    assert layer.backward(upstream, want_input_gradient=False) is None
    assert np.array_equal(layer.gradients["weights"], masked.T @ x)


def make_layer(recipe, has_relu=True, batch=BATCH, rule=PublishedStep):
    """Layer with clipped and unclipped weights and activations, its input and upstream gradient."""
    rng = np.random.default_rng(4)
    w = rng.normal(size=(OUT, IN)).astype(np.float32)
    x = wide(np.maximum(rng.normal(size=(batch, IN)), 0))
    upstream = wide(rng.normal(size=(batch, OUT)) * 2.0 ** rng.integers(-9, 0, (batch, OUT)))
    layer = layers.QuantizedDense("layer", w, has_relu, x, recipe, step_rule=rule)
    layer.parameters["bias"][:] = [0.1, -0.2, 0.3]
    layer.parameters["weight_step"] *= np.float32(0.4)
    layer.parameters["activation_step"] *= np.float32(0.3)
    return layer, x, upstream


def make_backend(**options):
    """Backend that the slow loops know the random numbers of."""
    return NumpyBackend(load_lanes=LANES, seed=4, **options)


def train(layer, backend, x, upstream, **options):
    """Do a step of a network that is this layer; returns its output and its input gradient."""
    with backend.begin(layer.announce()) as passes:
        return layer.forward(x, passes), layer.backward(upstream, passes, **options)


def wide(x):
    return round_float(np.asarray(x, np.float64), BFLOAT16).values


def slow_wide(x):
    """Nearest number with 8 significant bits, of a Fraction; ties to even."""
    if x == 0:
        return 0.0
    exponent = math.frexp(float(abs(x)))[1] - 8
    return float(round(x / Fraction(2) ** exponent) * Fraction(2) ** exponent)


def slow_quantize(number, step, least, greatest):
    """Code, in-range flag and derivative by the step in 1/256, in exact fractions."""
    z = Fraction(number) * Fraction(float(Scale.from_float(1 / float(step)).value))
    code = min(max(round(z), least), greatest)
    inside = least < z < greatest
    return code, inside, (code * 256 - int(z * 256)) if inside else code * 256


def slow_fp4(number, exponent, recipe, phase, noise):
    """Signed multiple of ``2**(exponent + phase)``, from the definition of the recipe."""
    y = abs(Fraction(float(number))) / Fraction(2) ** (exponent + phase)
    if recipe.mode is Fp4Mode.STOCHASTIC:
        unit = 1
        while 2 * unit <= y:
            unit *= 2
        fraction = Fraction(math.floor(y / unit * 256), 256)
        magnitude = unit * math.floor(fraction + Fraction(int(noise), 256))
    else:
        grid = [0] + [4**k for k in range(7)]
        # The nearest; of two as near, the larger.
        magnitude = max(grid, key=lambda candidate: (-abs(candidate - y), candidate))
    return magnitude if number > 0 else -magnitude


@pytest.mark.parametrize("has_relu", [False, True])
@pytest.mark.parametrize("recipe", [LUQ, TWO_PHASE], ids=["luq", "two_phase"])
def test_quantized_layer_is_the_slow_loop(recipe, has_relu):
    layer, x, upstream = make_layer(recipe, has_relu)
    steps = {key: float(layer.parameters[key]) for key in ("weight_step", "activation_step")}
    bias = layer.parameters["bias"].astype(np.float64)
    weights = wide(layer.parameters["weights"])
    output, input_gradient = train(layer, make_backend(), x, upstream)

    w = [[slow_quantize(n, steps["weight_step"], -8, 7) for n in row] for row in weights]
    a = [[slow_quantize(n, steps["activation_step"], 0, 15) for n in row] for row in x]
    for operand in (w, a):
        assert {inside for row in operand for _, inside, _ in row} == {False, True}

    factor = Fraction(
        float(Scale.from_float(steps["weight_step"] * steps["activation_step"]).value)
    )
    expected = np.zeros((BATCH, OUT))
    for n in range(BATCH):
        for o in range(OUT):
            total = sum(a[n][i][0] * w[o][i][0] for i in range(IN))
            total += round(bias[o] / float(factor))
            expected[n, o] = slow_wide((max(total, 0) if has_relu else total) * factor)
    assert np.array_equal(output, expected)

    masked = np.where((expected <= 0) & has_relu, 0, upstream)
    assert (masked == 0).any() == has_relu
    greatest = np.abs(masked).max()
    exponent = math.ceil(math.log2(greatest)) - 6 * recipe.fmt.log2_radix
    # Every row begins with a new beat, and a beat of two lanes takes a whole word.
    noise = RandomBits(seed_state(4, 0)).words(BATCH * 2).reshape(BATCH, 2)
    noise = np.stack([noise[:, 0], noise[:, 0] >> 8, noise[:, 1]], axis=1) & 255
    codes = [
        [[slow_fp4(masked[n, o], exponent, recipe, phase, noise[n, o]) for o in range(OUT)]
         for n in range(BATCH)]
        for phase in recipe.phases
    ]  # fmt: skip
    units = [
        Fraction(2) ** (exponent + phase) * Fraction(float(Scale.from_float(steps[key]).value))
        for phase, key in zip(recipe.phases, steps, strict=True)
    ]

    total = 0
    for n in range(BATCH):
        for i in range(IN):
            upstream_sum = sum(codes[0][n][o] * w[o][i][0] for o in range(OUT))
            _, inside, derivative = a[n][i]
            total += upstream_sum * derivative
            assert input_gradient[n, i] == slow_wide(upstream_sum * units[0]) * inside
            assert inside or not np.signbit(input_gradient[n, i])
    factor = 1 / math.sqrt(IN * 15)
    assert layer.gradients["activation_step"] == pytest.approx(
        float(total * units[0] / 256) * factor, rel=1e-12
    )

    total = 0
    for o in range(OUT):
        for i in range(IN):
            upstream_sum = sum(codes[1][n][o] * a[n][i][0] for n in range(BATCH))
            _, inside, derivative = w[o][i]
            total += upstream_sum * derivative
            expected_gradient = slow_wide(upstream_sum * units[1]) * inside
            assert layer.gradients["weights"][o, i] == expected_gradient
    factor = 1 / math.sqrt(OUT * IN * 7)
    assert layer.gradients["weight_step"] == pytest.approx(
        float(total * units[1] / 256) * factor, rel=1e-12
    )
    assert np.array_equal(layer.gradients["bias"], masked.sum(axis=0))


def paper_step_gradient(upstream, v, step, least, greatest):
    """Equations 2 and 3 of the LSQ paper, in float64."""
    z = v / step
    derivative = np.where(z <= least, least, np.where(z >= greatest, greatest, np.rint(z) - z))
    return float((upstream * derivative).sum())


def test_step_gradients_are_the_paper_formula():
    layer, x, upstream = make_layer(None, has_relu=False, batch=50)
    train(layer, make_backend(), x, upstream)
    w = wide(layer.parameters["weights"])
    steps = [float(layer.parameters[key]) for key in ("weight_step", "activation_step")]
    codes = [
        np.clip(np.rint(v / step), *limits) * step
        for v, step, limits in zip((w, x), steps, ((-8, 7), (0, 15)), strict=True)
    ]
    # The residual is cut to 1/256, and the reciprocal step to 16 bits.
    upstreams = (upstream.T @ codes[1], upstream @ codes[0])
    for name, gradient, v, step, limits, count in (
        ("weight_step", upstreams[0], w, steps[0], (-8, 7), OUT * IN),
        ("activation_step", upstreams[1], x, steps[1], (0, 15), IN),
    ):
        expected = paper_step_gradient(gradient, v, step, *limits)
        tolerance = np.abs(gradient).sum() / 250
        assert abs(expected) > 10 * tolerance
        obtained = layer.gradients[name] * math.sqrt(count * limits[1])
        assert obtained == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("recipe", [LUQ, TWO_PHASE], ids=["luq", "two_phase"])
@pytest.mark.parametrize("size", [0.0, 2.0**-130])
def test_vanishing_gradients_become_zero(recipe, size):
    layer, x, upstream = make_layer(recipe, has_relu=False)
    assert not train(layer, make_backend(), x, upstream * size)[1].any()
    assert not layer.gradients["weights"].any()


@pytest.mark.parametrize("recipe", [LUQ, TWO_PHASE], ids=["luq", "two_phase"])
def test_first_layer_needs_no_input_gradient(recipe):
    expected, other = (make_layer(recipe)[0] for _ in range(2))
    _, x, upstream = make_layer(recipe)
    assert train(expected, make_backend(), x, upstream)[1].any()
    _, gradient = train(other, make_backend(), x, upstream, want_input_gradient=False)
    assert gradient is None
    for name, gradient in expected.gradients.items():
        assert np.array_equal(other.gradients[name], gradient)


def test_long_weight_gradients_are_added_in_sections():
    # Radix 4 and UINT4: 32 bits hold the sums of 2**31 / 16 / 4096 rows.
    section = section_rows(TWO_PHASE.fmt)
    assert section == 1 << 15
    rng = np.random.default_rng(5)
    rows = section + 100
    backend = NumpyBackend()
    weights = wide(rng.normal(size=(2, 3))).astype(np.float32)
    x = wide(np.abs(rng.normal(size=(rows, 3)))).astype(np.float32)
    gradient = wide(rng.normal(size=(rows, 2))).astype(np.float32)
    gradient[[0, section], 0] = 8.0  # the same unit in both sections
    parts = []
    for part in (slice(None), slice(section), slice(section, None)):
        with backend.begin({"layer": Weights(weights, 0.25)}) as passes:
            passes.forward("layer", x[part], 0.125, None, relu=False)
            parts.append(passes.backward("layer", gradient[part], TWO_PHASE))
    whole, first, second = parts
    assert np.array_equal(whole.weights, first.weights + second.weights)
    assert whole.weight_step == first.weight_step + second.weight_step
    assert np.array_equal(whole.inputs, np.concatenate([first.inputs, second.inputs]))


def test_calls_name_every_tensor():
    operations = RecordingOperations()
    layer, x, upstream = make_layer(TWO_PHASE)
    train(layer, make_backend(operations=operations), x, upstream)
    calls = operations.calls
    assert [(call.operation, call.tensor) for call in calls] == [
        ("quantize", "layer.weights"),
        ("quantize", "layer.activations"),
        ("matmul", "layer.output"),
        ("scale_to_float", "layer.output"),
        ("quantize_fp4", "layer.output_gradient"),
        ("matmul", "layer.input_gradient"),
        ("step_gradient", "layer.activations"),
        ("scale_to_float", "layer.input_gradient"),
        ("quantize_fp4", "layer.output_gradient"),
        ("matmul", "layer.weight_gradient"),
        ("step_gradient", "layer.weights"),
        ("scale_to_float", "layer.weight_gradient"),
    ]
    assert [c.arguments["phase"] for c in calls if "phase" in c.arguments] == [0, 1]
    # Both phases quantise the same gradient, and a record does not change afterwards.
    first, second = (c for c in calls if c.operation == "quantize_fp4")
    assert np.array_equal(first.arguments["x"], second.arguments["x"])
    assert not np.array_equal(first.result.codes, second.result.codes)
    saved = calls[1].arguments["x"].copy()
    x += 1
    assert np.array_equal(calls[1].arguments["x"], saved)
