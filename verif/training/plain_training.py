"""Training steps as docs/training.md has them, in one function and in NumPy: a second opinion.

There are no layers, backends or recipes here, whose wiring is what is judged; only what is judged
elsewhere is shared: quantisers, the rounding of floats, the rule of the steps, and the bits.
"""

import copy

import numpy as np

from nibblegrad.golden.cores.fp4_quantizer import Fp4Mode, quantize_fp4
from nibblegrad.golden.cores.quantizer import quantize
from nibblegrad.golden.cores.stochastic_rounder import round_float
from nibblegrad.golden.numbers.formats import BFLOAT16, Fp4Format, IntFormat, Scale
from nibblegrad.golden.numbers.random_bits import RandomBits, seed_state
from nibblegrad.golden.training.conversions import section_rows
from nibblegrad.golden.training.convolution import col2im, im2col
from nibblegrad.golden.training.gradient_recipe import (
    GradientRecipe,
    gradient_parts,
    needed_exponent,
)
from nibblegrad.golden.training.loss import softmax_cross_entropy
from nibblegrad.golden.training.optimizers import clip_factor, cosine_schedule

__all__ = ["PlainTraining"]

INT4, UINT4 = IntFormat(4), IntFormat(4, signed=False)
LOAD_LANES = 8


def wide(x):
    return round_float(x, BFLOAT16).values.astype(np.float32)


def scale(number):
    return float(Scale.from_float(number).value)


class PlainTraining:
    """Training from where a trainer stands.

    Parameters
    ----------
    trainer : Trainer
        It has not trained yet; its parameters are copied.
    method : str
        ``float32``, ``int4``, ``luq`` or ``two_phase``.
    seed : int
        Seed of the training.
    steps : int
        Count of steps in all epochs.
    """

    def __init__(self, trainer, method, seed, steps):
        layers = copy.deepcopy(trainer.layers)
        self.parameters = {name: layer.parameters for name, layer in layers.items()}
        self.statistics = {name: layer.statistics for name, layer in layers.items()}
        self.rules = {name: layer.steps for name, layer in layers.items()}
        self.velocities, self.done, self.steps = {}, 0, steps
        self.settings, self.method = trainer.settings, method
        self.image_shape = trainer.scaled.image_shape
        # Layers with weights have words of their own, by their number.
        products = [name for name, own in self.parameters.items() if "weights" in own]
        self.last = products[-1]
        self.words = {
            name: RandomBits(seed_state(seed, (1 << 18) + number))
            for number, name in enumerate(products)
        }
        self.noise = RandomBits(seed_state(seed, 0))

    def step(self, x, labels):
        """Train on a mini-batch; returns its loss."""
        self.gradients, backwards = {}, []
        if self.settings.network == "cnn":
            x = x.reshape(len(x), *self.image_shape)
        for name in self.parameters:
            x, backward = self._forward(name, x)
            backwards.append(backward)
        if self.method != "float32":
            x = x.astype(np.float64)
        loss, gradient = softmax_cross_entropy(x, labels)
        if self.method in ("luq", "two_phase"):
            gradient = wide(gradient)
        for backward in reversed(backwards):
            gradient = backward(gradient)
        self._update()
        self.done += 1
        return loss

    def _forward(self, name, x):
        """Output of a layer, and how its gradient goes back."""
        if name.startswith("convolution"):
            y, back = self._product(name, im2col(x), has_relu=False, features=x[0].size)
            return y.reshape(*x.shape[:3], -1), lambda dy: col2im(
                back(dy.reshape(-1, dy.shape[-1])), x.shape
            )
        if name.startswith("normalization"):
            return self._normalization(name, x)
        if name.startswith("relu"):
            y = np.maximum(x, 0)
            return y, lambda dy: dy * (y > 0)
        if name.startswith("pool"):
            return pool(x)
        if name == "flatten":
            return x.reshape(len(x), -1), lambda dy: dy.reshape(x.shape)
        return self._product(name, x, has_relu=name != self.last, features=x[0].size)

    def _product(self, name, x, has_relu, features):
        own = self.parameters[name]
        bias, rules = own.get("bias"), self.rules[name]
        if self.method == "float32":
            y = x @ own["weights"].T + (0 if bias is None else bias)
            y = np.maximum(y, 0) if has_relu else y

            def straight(dy):
                dy = dy * (y > 0) if has_relu else dy
                self.gradients[name] = {"weights": dy.T @ x, "bias": dy.sum(axis=0)}
                return dy @ own["weights"]

            return y, straight
        rules["weight_step"].observe(own["weights"])
        # The step follows the images, before their neighbourhoods are laid out.
        rules["activation_step"].observe(x)
        w_step, x_step = (float(rules[key].value) for key in ("weight_step", "activation_step"))
        w = quantize(wide(own["weights"]), Scale.from_float(1 / w_step), INT4)
        a = quantize(wide(x), Scale.from_float(1 / x_step), UINT4)
        unit = scale(w_step * x_step)
        sums = a.codes.astype(np.int64) @ w.codes.T.astype(np.int64)
        sums = sums + (0 if bias is None else np.rint(bias / unit))
        y = wide((np.maximum(sums, 0) if has_relu else sums) * unit)

        def backward(dy):
            dy = dy * (y > 0) if has_relu else dy
            if self.method == "int4":
                dx, dw, totals = straight_through(dy.astype(np.float32), w, a, w_step, x_step)
            else:
                dx, dw, totals = self._fp4(name, dy, w, a, w_step, x_step)
            factors = [1 / np.sqrt(w.codes.size * 7), 1 / np.sqrt(features * 15)]
            self.gradients[name] = {
                "weights": dw,
                "bias": dy.sum(axis=0, dtype=np.float64),
                "weight_step": totals[0] * factors[0],
                "activation_step": totals[1] * factors[1],
            }
            return dx

        return y, backward

    def _fp4(self, name, dy, w, a, w_step, x_step):
        radix = Fp4Format(1 if self.method == "luq" else 2)
        is_split = self.method == "two_phase" and name == self.last
        mode = Fp4Mode.STOCHASTIC if self.method == "luq" else Fp4Mode.NEAREST
        how = GradientRecipe(radix, mode, terms=2 if is_split else 1)
        exponent = needed_exponent(dy, how)
        phase = self.done & 1 if self.method == "two_phase" and not is_split else 0
        dy = gradient_parts(dy, how, exponent, self.words[name])
        noise = None
        if self.method == "luq":
            rows, columns = dy.shape
            padded = -(-columns // LOAD_LANES) * LOAD_LANES
            noise = self.noise.elements(rows * padded, 8, LOAD_LANES)
            noise = noise.reshape(rows, padded)[:, :columns]
        codes = quantize_fp4(dy, radix, exponent, mode, phase=phase, noise=noise).codes
        assert len(codes) <= section_rows(radix)
        d, copies = radix.decode(codes).astype(np.int64), 1 + is_split
        unit = 2.0 ** (exponent + phase)
        below = {key: np.tile(getattr(w, key), (copies, 1)) for key in ("codes", "derivative")}
        to_inputs = d @ below["codes"].astype(np.int64)
        to_weights = d.T @ a.codes.astype(np.int64)
        dx = wide(to_inputs * a.in_range * (scale(w_step) * unit))
        inside = np.tile(w.in_range, (copies, 1))
        parts = wide(to_weights * inside * (scale(x_step) * unit))
        dw = parts.reshape(copies, *w.codes.shape).sum(axis=0)
        x_total = int((to_inputs * a.derivative.astype(np.int64)).sum())
        w_total = int((to_weights * below["derivative"].astype(np.int64)).sum())
        totals = (
            w_total * (scale(x_step) * unit) * 2.0**-8,
            x_total * (scale(w_step) * unit) * 2.0**-8,
        )
        return dx, dw, totals

    def _normalization(self, name, x):
        own, averages = self.parameters[name], self.statistics[name]
        rounded = wide if self.method != "float32" else np.asarray
        axes, count = (0, 1, 2), x[..., 0].size
        mean = x.mean(axis=axes, dtype=np.float64)
        variance = np.square(x - mean).mean(axis=axes)
        averages["mean"] += 0.1 * (mean - averages["mean"])
        averages["variance"] += 0.1 * (variance * (count / (count - 1)) - averages["variance"])
        deviation = np.sqrt(variance + 1e-5)
        normal = (x - mean.astype(np.float32)) * (1 / deviation).astype(np.float32)
        y = rounded(normal * own["scale"] + own["shift"])

        def backward(dy):
            self.gradients[name] = {
                "scale": (dy * normal).sum(axis=axes, dtype=np.float64),
                "shift": dy.sum(axis=axes, dtype=np.float64),
            }
            along = {
                key: (value / count).astype(dy.dtype) for key, value in self.gradients[name].items()
            }
            factor = (own["scale"] / deviation).astype(dy.dtype)
            return rounded((dy - along["shift"] - normal * along["scale"]) * factor)

        return y, backward

    def _update(self):
        settings = self.settings
        rate = cosine_schedule(settings.learning_rate, self.done, self.steps, settings.warm_up)
        learned = [
            (name, key)
            for name, own in self.parameters.items()
            for key in own
            if not key.endswith("step")
        ]
        factor = clip_factor(
            (self.gradients[name][key] for name, key in learned), settings.norm_bound
        )
        for name, key in learned:
            value = self.parameters[name][key]
            gradient = self.gradients[name][key].astype(np.float32)
            if factor != 1:
                gradient = gradient * np.float32(factor)
            velocity = self.velocities.get((name, key), np.zeros_like(value))
            velocity = np.float32(settings.momentum) * velocity + gradient
            self.velocities[name, key] = velocity
            value -= np.float32(rate) * velocity
        for name, rules in self.rules.items():
            for key, rule in rules.items():
                rule.update(float(self.gradients[name][key]), rate)


def straight_through(dy, w, a, w_step, x_step):
    """Gradients of the dequantised operands, in float32."""
    dx = dy @ (w.codes * np.float32(w_step))
    dw = dy.T @ (a.codes * np.float32(x_step))
    totals = [
        float(np.sum(upstream * operand.derivative, dtype=np.float64)) * 2.0**-8
        for upstream, operand in ((dw, w), (dx, a))
    ]
    return dx * a.in_range, dw * w.in_range, totals


def pool(x):
    """The greatest of 2 x 2 pixels, the first of equals; height and width are even."""
    batch, height, width, channels = x.shape
    windows = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
    windows = windows.transpose(0, 1, 3, 5, 2, 4).reshape(-1, 4)
    choice = windows.argmax(axis=1)

    def backward(dy):
        spread = np.zeros_like(windows)
        spread[np.arange(len(choice)), choice] = dy.reshape(-1)
        spread = spread.reshape(batch, height // 2, width // 2, channels, 2, 2)
        return spread.transpose(0, 1, 4, 2, 5, 3).reshape(x.shape)

    y = windows.max(axis=1).reshape(batch, height // 2, width // 2, channels)
    return y, backward
