"""Convolution, batch normalisation and pooling: against direct loops and differences."""

import numpy as np
import pytest

from nibblegrad.golden.cores.fp4_quantizer import Fp4Mode
from nibblegrad.golden.cores.quantizer import quantize
from nibblegrad.golden.cores.stochastic_rounder import round_float
from nibblegrad.golden.numbers.formats import BFLOAT16, Fp4Format, Scale
from nibblegrad.golden.training.backend import ACTIVATIONS, NumpyBackend
from nibblegrad.golden.training.convolution import (
    BatchNormalization,
    Convolution,
    Flatten,
    MaxPool,
    Relu,
    col2im,
    im2col,
)
from nibblegrad.golden.training.gradient_recipe import GradientRecipe
from nibblegrad.golden.training.layers import Dense, QuantizedDense
from verif.training.test_layers import differences

SHAPE = BATCH, HEIGHT, WIDTH, CHANNELS = 2, 5, 4, 3
OUT = 2
RECIPES = {
    "luq": GradientRecipe(Fp4Format(1), Fp4Mode.STOCHASTIC),
    "two_phase": GradientRecipe(Fp4Format(2), Fp4Mode.NEAREST, phases=(0, 1)),
}


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def slow_convolution(x, weights):
    """Sum over the pixels that lie inside, one product at a time; weights (out, channels, 3, 3)."""
    batch, height, width, channels = x.shape
    result = np.zeros((batch, height, width, len(weights)))
    for n, row, column, o in np.ndindex(result.shape):
        for c, i, j in np.ndindex(channels, 3, 3):
            y, z = row + i - 1, column + j - 1
            if 0 <= y < height and 0 <= z < width:
                result[n, row, column, o] += x[n, y, z, c] * weights[o, c, i, j]
    return result


def test_convolution_is_the_direct_loop():
    x, weights = normal(1, *SHAPE), normal(2, OUT, CHANNELS * 9)
    layer = Convolution(Dense(weights, has_relu=False, has_bias=False))
    expected = slow_convolution(x, weights.reshape(OUT, CHANNELS, 3, 3))
    assert np.allclose(layer.forward(x, None), expected, rtol=0, atol=1e-12)


def test_columns_of_a_pixel_are_its_neighbourhood():
    x = np.arange(1, 13.0).reshape(1, 3, 4, 1)
    columns = im2col(x).reshape(3, 4, 3, 3)
    assert columns[1, 2].tolist() == [[2, 3, 4], [6, 7, 8], [10, 11, 12]]
    assert columns[0, 0].tolist() == [[0, 0, 0], [0, 1, 2], [0, 5, 6]]
    assert columns[2, 3].tolist() == [[7, 8, 0], [11, 12, 0], [0, 0, 0]]


def test_adding_up_columns_is_the_transpose():
    x, columns = normal(3, *SHAPE), normal(4, BATCH * HEIGHT * WIDTH, CHANNELS * 9)
    left, right = (im2col(x) * columns).sum(), (x * col2im(columns, SHAPE)).sum()
    assert left == pytest.approx(right, rel=1e-12)
    # Every pixel has as many neighbourhoods as neighbours.
    counts = col2im(np.ones((12, 9)), (1, 3, 4, 1))[0, ..., 0]
    assert counts.tolist() == [[4, 6, 6, 4], [6, 9, 9, 6], [4, 6, 6, 4]]


def check_gradients(layer, x):
    """Compare the gradients by input and parameters with differences of a loss."""
    upstream = normal(5, *layer.forward(x, None).shape)

    def loss():
        return float((layer.forward(x, None) * upstream).sum())

    loss()
    gradient = layer.backward(upstream, None)
    assert np.allclose(gradient, differences(loss, x), rtol=0, atol=1e-7)
    assert layer.gradients.keys() == layer.parameters.keys()
    for name, parameter in layer.parameters.items():
        assert np.allclose(layer.gradients[name], differences(loss, parameter), rtol=0, atol=1e-7)


@pytest.mark.parametrize("has_bias", [False, True])
def test_convolution_gradients_are_the_differences(has_bias):
    product = Dense(normal(6, OUT, CHANNELS * 9), has_relu=True, has_bias=has_bias)
    if has_bias:
        product.parameters["bias"] = normal(7, OUT)
    layer = Convolution(product)
    check_gradients(layer, normal(8, *SHAPE))
    assert layer.backward(normal(5, *SHAPE[:3], OUT), None, want_input_gradient=False) is None


def test_normalization_gradients_are_the_differences():
    layer = BatchNormalization(CHANNELS)
    layer.parameters.update(scale=normal(9, CHANNELS), shift=normal(10, CHANNELS))
    check_gradients(layer, 3 * normal(11, *SHAPE) + 2)
    assert layer.backward(normal(5, *SHAPE), want_input_gradient=False) is None


@pytest.mark.parametrize("layer", [Relu(), MaxPool(), Flatten()])
def test_other_gradients_are_the_differences(layer):
    check_gradients(layer, normal(12, *SHAPE))


def test_normalization_has_mean_and_variance_of_its_parameters():
    x = 3 * normal(13, *SHAPE) + 2
    layer = BatchNormalization(CHANNELS)
    layer.parameters.update(scale=np.array([1.0, 2, 3]), shift=np.array([0.0, -1, 5]))
    output = layer.forward(x).reshape(-1, CHANNELS)
    assert np.allclose(output.mean(axis=0), [0, -1, 5], rtol=0, atol=1e-12)
    assert np.allclose(output.std(axis=0), [1, 2, 3], rtol=1e-5)
    # Running averages: a tenth of the new, nine of the old, which were 0 and 1.
    pixels = x.reshape(-1, CHANNELS)
    mean, variance = 0.1 * pixels.mean(axis=0), 0.9 + 0.1 * pixels.var(axis=0, ddof=1)
    assert np.allclose(layer.statistics["mean"], mean, rtol=1e-12)
    assert np.allclose(layer.statistics["variance"], variance, rtol=1e-12)
    judged = layer.forward(x[:1], training=False)
    expected = (x[:1] - mean) / np.sqrt(variance + 1e-5) * [1, 2, 3] + [0, -1, 5]
    assert np.allclose(judged, expected, rtol=1e-12)


def test_judging_leaves_the_statistics_alone():
    layer = BatchNormalization(CHANNELS)
    layer.forward(normal(14, *SHAPE), training=False)
    assert not layer.statistics["mean"].any()
    assert (layer.statistics["variance"] == 1).all()


def test_normalization_rounds_to_the_wide_format():
    x, upstream = (normal(seed, *SHAPE).astype(np.float32) for seed in (15, 16))
    exact, rounded = BatchNormalization(CHANNELS), BatchNormalization(CHANNELS, is_rounded=True)
    passes = NumpyBackend().begin({})
    for function, argument in (("forward", x), ("backward", upstream)):
        full, short = (getattr(layer, function)(argument, passes) for layer in (exact, rounded))
        assert np.array_equal(short, round_float(full, BFLOAT16).values)
        assert not np.array_equal(short, full)


def test_pooling_by_hand():
    image = np.array([[1, 5, 2, 2, 9], [3, 5, 2, 2, 9], [0, 0, -1, -2, 9], [0, 0, -3, -4, 9]])
    layer = MaxPool()
    output = layer.forward(image.reshape(1, 4, 5, 1))
    assert output.reshape(2, 2).tolist() == [[5, 2], [0, -1]]
    gradient = layer.backward(np.array([[10, 20], [30, 40]]).reshape(1, 2, 2, 1))
    # The first of equals, row by row; nothing for the odd column.
    assert gradient.reshape(4, 5).tolist() == [
        [0, 10, 20, 0, 0],
        [0, 0, 0, 0, 0],
        [30, 0, 40, 0, 0],
        [0, 0, 0, 0, 0],
    ]


def quantized(x, recipe, weights):
    """Layer, and the step of a backend that it is the network of."""
    layer = QuantizedDense("layer", weights, False, x, recipe, has_bias=False)
    return layer, NumpyBackend(seed=17).begin(layer.announce())


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_quantized_convolution_is_the_dense_layer_on_columns(recipe):
    x = round_float(np.maximum(normal(18, *SHAPE), 0), BFLOAT16).values.astype(np.float32)
    upstream = round_float(normal(19, *SHAPE[:3], OUT), BFLOAT16).values.astype(np.float32)
    weights = normal(20, OUT, CHANNELS * 9).astype(np.float32)
    # The step starts from the pixels, not from the zeros around them.
    product, passes = quantized(x, recipe, weights.copy())
    convolution = Convolution(product)
    dense, of_dense = quantized(x, recipe, weights.copy())
    output = convolution.forward(x, passes)
    columns = dense.forward(im2col(x), of_dense)
    assert np.array_equal(output.reshape(-1, OUT), columns)
    assert output.any()
    gradient = convolution.backward(upstream, passes)
    expected = dense.backward(upstream.reshape(-1, OUT), of_dense)
    assert np.array_equal(gradient, col2im(expected, SHAPE))
    assert convolution.gradients.keys() == convolution.parameters.keys()
    for name, value in dense.gradients.items():
        assert np.array_equal(convolution.gradients[name], value)
        assert value.any()


def test_quantizing_commutes_with_laying_out_columns():
    """A core may quantise the pixels once; what lies beyond the edge is code 0, out of range."""
    x = round_float(np.maximum(normal(21, *SHAPE), 0), BFLOAT16).values.astype(np.float32)
    before, after = (
        quantize(values, Scale.from_float(5.0), ACTIVATIONS) for values in (x, im2col(x))
    )
    assert np.array_equal(im2col(before.codes), after.codes)
    assert np.array_equal(im2col(before.in_range), after.in_range)
