"""The training core once more, in plain arithmetic that knows no words, blocks or tables.

Matrices are kept by their names, beats and strips are taken one by one, random numbers are cut out
of big integers. It shares only the functions on numbers with the golden model, and they have tests
of their own.
"""

from types import SimpleNamespace

import numpy as np

from nibblegrad.golden.cores.fp4_quantizer import Fp4Mode, quantize_fp4
from nibblegrad.golden.cores.quantizer import quantize
from nibblegrad.golden.cores.scale_multiplier import scale_to_float, scale_to_fp4, scale_to_integer
from nibblegrad.golden.cores.step_gradient import step_gradient
from nibblegrad.golden.engine.command import Destination, Operation, Store
from nibblegrad.golden.numbers.formats import Fp4Format, IntFormat, Scale
from nibblegrad.golden.numbers.random_bits import RandomBits, seed_state

__all__ = ["PlainCore"]

RADIX2, RADIX4 = Fp4Format(1), Fp4Format(2)
# What every code stands for, written down once more.
SIGNED = np.array([0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1])
FP4 = {
    RADIX2: np.array([0, 1, 2, 4, 8, 16, 32, 64, 0, -1, -2, -4, -8, -16, -32, -64]),
    RADIX4: np.array([0, 1, 4, 16, 64, 256, 1024, 4096, 0, -1, -4, -16, -64, -256, -1024, -4096]),
}


def _lane_bits(words, lanes, bits):
    """Cut the words of one beat into the numbers of its lanes."""
    whole = sum(int(word) << (32 * k) for k, word in enumerate(words))
    return [whole >> (lane * bits) & ((1 << bits) - 1) for lane in range(lanes)]


class PlainCore:
    """The contract, slowly; for programs without mistakes.

    Parameters
    ----------
    size : CoreSize
        Parameters of the core.

    Attributes
    ----------
    counters : dict of int
        Counters by name.
    steps : list of int
        Step gradients of the activations and of the weights.
    """

    def __init__(self, size):
        self.size = size
        self.matrices = {}
        self.random = [RandomBits(seed_state(size.seed, stream)) for stream in (0, 1)]
        self.counters = dict.fromkeys(
            "PASSES MACS LOAD_BEATS STRIPS LOAD_SATURATIONS LOAD_UNDERFLOWS LOAD_NONFINITES "
            "RESULT_SATURATIONS RESULT_UNDERFLOWS".split(),
            0,
        )
        self.steps = [0, 0]
        self.sums = None

    def noise(self, stream, lanes):
        bits = self.size.random_bits
        return _lane_bits(self.random[stream].words(-(-lanes * bits // 32)), lanes, bits)

    def events(self, where, result):
        self.counters[f"{where}_SATURATIONS"] += result.saturations
        self.counters[f"{where}_UNDERFLOWS"] += result.underflows
        if where == "LOAD":
            self.counters["LOAD_NONFINITES"] += result.nonfinite

    def fp4(self, command):
        return {
            "exponent": command.fp4_exponent,
            "mode": Fp4Mode.STOCHASTIC if command.stochastic else Fp4Mode.NEAREST,
            "phase": 1 if command.phase else 0,
            "odd_shift": self.size.odd_shift,
            "underflow": self.size.underflow,
            "random_bits": self.size.random_bits,
        }

    def integers(self):
        return {"in_range": self.size.in_range_rule, "residual_bits": self.size.residual_bits}

    def load(self, command, beats):
        """Keep the matrix that a load brings."""
        size = self.size
        self.counters["LOAD_BEATS"] += len(beats)
        rows, columns = command.load_shape()
        if command.operation == Operation.LOAD_BIASES:
            width = size.wide_format.width
            words = [sum(int(w) << (width * k) for k, w in enumerate(beat)) for beat in beats]
            numbers = [
                word >> (32 * k) & 0xFFFF_FFFF
                for word in words
                for k in range(size.load_lanes * width // 32)
            ]
            numbers = np.array(numbers[:columns], np.uint32).view(np.int32).astype(np.int64)
            self.matrices[Store.BIASES, command.bias_base] = numbers
            return
        across = len(beats) // rows
        lanes = np.array([np.concatenate(beats[r * across :][:across]) for r in range(rows)])
        codes = lanes[:, :columns]
        memory, base = {
            Operation.LOAD_ACTIVATIONS: (Store.ACTIVATIONS, command.activation_base),
            Operation.LOAD_WEIGHTS: (Store.WEIGHTS, command.weight_base),
            Operation.LOAD_GRADIENTS: (Store.GRADIENTS, command.gradient_base),
        }[command.operation]
        if command.codes:
            # As if they had been quantised from numbers that they hold exactly.
            codes = codes.astype(np.int64) % 16
            made = SimpleNamespace(
                codes=codes, in_range=np.full(codes.shape, True), derivative=codes * 0.0
            )
        elif memory == Store.GRADIENTS:
            noise = np.zeros(lanes.shape, np.int64)
            if size.fmt == RADIX2:
                noise = [self.noise(0, size.load_lanes) for _ in beats]
            noise = np.reshape(noise, lanes.shape)[:, :columns]
            numbers = size.wide_format.decode(codes)
            made = quantize_fp4(
                numbers, size.fmt, noise=noise, check_finite=False, **self.fp4(command)
            )
            self.events("LOAD", made)
        else:
            signed = memory == Store.WEIGHTS or command.signed_activations
            made = quantize(
                size.wide_format.decode(codes),
                Scale(command.significand, command.exponent),
                IntFormat(4, signed),
                check_finite=False,
                **self.integers(),
            )
            self.events("LOAD", made)
        self.matrices[memory, base] = made

    def product(self, command):
        """Compute a product; returns its strips, or None if it is not to STREAM."""
        size = self.size
        x = self.matrices.get((Store.ACTIVATIONS, command.activation_base))
        w = self.matrices.get((Store.WEIGHTS, command.weight_base))
        dy = self.matrices.get((Store.GRADIENTS, command.gradient_base))
        uint4 = np.arange(16)
        numbers_of_x = SIGNED if command.signed_activations else uint4
        if command.operation == Operation.FORWARD:
            rows, columns, terms = command.batch, command.outputs, command.inputs
            tile = size.rows, size.columns
            z = np.einsum("bi,oi->bo", numbers_of_x[x.codes % 16], SIGNED[w.codes % 16])
        elif command.operation == Operation.INPUT_GRADIENT:
            rows, columns, terms = command.batch, command.inputs, command.outputs
            tile = size.columns, size.rows
            z = np.einsum("bo,oi->bi", FP4[size.fmt][dy.codes], SIGNED[w.codes % 16])
        else:
            rows, columns, terms = command.outputs, command.inputs, command.batch
            tile = size.columns, size.rows
            z = np.einsum("bo,bi->oi", FP4[size.fmt][dy.codes], numbers_of_x[x.codes % 16])
        assert z.shape == (rows, columns)
        if command.accumulate:
            z = z + self.sums
        if command.destination == Destination.PARTIAL_SUMS:
            self.sums = z
        down, across = -(-rows // tile[0]), -(-columns // tile[1])
        passes = 2 if command.operation == Operation.FORWARD else 1
        self.counters["PASSES"] += down * across * -(-terms // size.lanes) * passes
        self.counters["MACS"] += rows * columns * terms
        self.counters["STRIPS"] += rows * across

        element, step = (w, 1) if command.operation == Operation.WEIGHT_GRADIENT else (x, 0)
        if command.clear_step_gradient:
            self.steps[step] = 0
        if command.step_gradient:
            self.steps[step] += step_gradient(z, element)
        if command.masked:
            z = z * element.in_range
        # Row of tiles, tile, row of the result: the order in which strips leave.
        places = [
            (row, first)
            for top in range(0, rows, tile[0])
            for first in range(0, columns, tile[1])
            for row in range(top, min(top + tile[0], rows))
        ]
        noise = np.zeros((rows, across * tile[1]), np.int64)
        streams = command.destination == Destination.STREAM
        fp4 = command.operation == Operation.INPUT_GRADIENT
        if streams or (fp4 and command.destination == Destination.OPERAND):
            for row, first in places:
                lanes = self.noise(1, max(size.rows, size.columns))
                noise[row, first : first + tile[1]] = lanes[: tile[1]]
        noise = noise[:, :columns]
        bias = self.matrices[Store.BIASES, command.bias_base] if command.bias else 0
        options = {"bias": bias, "relu": command.relu}
        factor = Scale(command.significand, command.exponent) if command.significand else None
        if streams:
            made = scale_to_float(
                z,
                factor,
                size.wide_format,
                mode=command.mode,
                noise=noise,
                random_bits=size.random_bits,
                **options,
            )
        elif command.destination == Destination.OPERAND and fp4:
            made = scale_to_fp4(z, factor, size.fmt, noise=noise, **self.fp4(command))
            self.matrices[Store.GRADIENTS, command.result_base] = made
        elif command.destination == Destination.OPERAND:
            fmt = IntFormat(4, command.signed_result)
            made = scale_to_integer(z, factor, fmt, **options, **self.integers())
            self.matrices[Store.ACTIVATIONS, command.result_base] = made
        else:
            return None
        self.events("RESULT", made)
        if not streams:
            return None
        codes = size.wide_format.encode(made.values)
        strips = np.zeros((len(places), max(size.rows, size.columns)), np.int64)
        for strip, (row, first) in zip(strips, places, strict=True):
            numbers = codes[row, first : first + tile[1]]
            strip[: len(numbers)] = numbers
        return strips
