"""Programs for a training core, of commands of every kind that depend on each other."""

import dataclasses

import numpy as np

from nibblegrad.golden.cores.stochastic_rounder import round_float
from nibblegrad.golden.engine.command import Command, Destination, ErrorCode, Operation, Store
from nibblegrad.golden.engine.command_checks import check_command, following_chain
from nibblegrad.golden.engine.device import pack_biases, pack_matrix
from nibblegrad.golden.numbers.formats import Scale
from nibblegrad.golden.numbers.rounding import RoundMode
from verif.engine.core_refusals import DESTINATIONS, random_malformed

__all__ = ["random_malformed", "random_program", "wide_numbers"]

_LOADS = {
    Store.ACTIVATIONS: Operation.LOAD_ACTIVATIONS,
    Store.WEIGHTS: Operation.LOAD_WEIGHTS,
    Store.GRADIENTS: Operation.LOAD_GRADIENTS,
    Store.BIASES: Operation.LOAD_BIASES,
}
_BASES = {
    Store.ACTIVATIONS: "activation_base",
    Store.WEIGHTS: "weight_base",
    Store.GRADIENTS: "gradient_base",
    Store.BIASES: "bias_base",
}
_MODES = (RoundMode.NEAREST_EVEN, RoundMode.STOCHASTIC, RoundMode.TRUNCATE)
_FLAGS = "codes signed_result relu bias masked accumulate step_gradient clear_step_gradient".split()


def wide_numbers(rng, fmt, shape, unit):
    """Choose codes of a wide format: chance near a unit, ties, corners, rarely no numbers.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance.
    fmt : FloatFormat
        The format.
    shape : tuple of int
        Shape of the array.
    unit : float
        Step, or unit of FP4 codes, of the quantiser that the numbers are for.

    Returns
    -------
    array of uint32, shape ``shape``
    """
    normal = rng.normal(size=shape) * 4
    ties = rng.integers(-20, 40, shape) / 2
    powers = np.ldexp(rng.choice([-1.5, -1.25, -1, 0.75, 1, 1.25, 1.5], shape), ties.astype(int))
    x = np.choose(rng.choice(4, shape, p=[0.55, 0.2, 0.2, 0.05]), [normal, ties, powers, 0.0])
    codes = fmt.encode(round_float(x * unit, fmt).values)
    sign = rng.integers(2, size=shape) << (fmt.width - 1)
    subnormal = rng.integers(1 << fmt.fraction_bits, size=shape) | sign
    # The codes above the largest number are infinity and NaN.
    greatest = int(fmt.encode(fmt.greatest))
    no_number = rng.integers(greatest + 1, 1 << (fmt.width - 1), shape) | sign
    huge = (greatest - rng.integers(4, size=shape)) | sign
    kind = rng.choice(4, shape, p=[0.94, 0.02, 0.02, 0.02])
    if rng.random() < 0.7:
        kind[kind == 3] = 0
    return np.choose(kind, [codes, subnormal, huge, no_number]).astype(np.uint32)


def random_program(rng, size, commands):
    """Choose commands that a core after reset accepts, one after the other.

    Every operand is loaded or computed before it is read, with the shape with which it is read.
    Operands are used more than once, results become operands, and chains of partial sums go on
    over other commands. Flags and fields without a meaning are set by chance, and so are the lanes
    that are to be ignored. Commands wait for the others where they must, and otherwise by chance.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance.
    size : CoreSize
        Parameters of the core; a block row of each operand must fit.
    commands : int
        Least count of commands.

    Returns
    -------
    list of (Command, array of uint32 or None)
        Commands, and for loads their beats.
    """
    program = _Program(rng, size)
    while len(program.entries) < commands:
        if rng.random() < 0.3:
            program.load(Store(int(rng.integers(4))), program.draw_sizes())
        else:
            program.product()
    return program.entries


class _Program:
    def __init__(self, rng, size):
        self.rng = rng
        self.size = size
        self.entries = []
        self.chain = None
        # What can be read: base and shape of every matrix that is whole.
        self.matrices = {memory: [] for memory in Store}
        # What may still be under way: words that are read and written.
        self.loads, self.products = [], []
        self.depths = {
            Store.ACTIVATIONS: size.activation_words,
            Store.WEIGHTS: size.weight_words,
            Store.GRADIENTS: size.gradient_words,
            Store.BIASES: size.bias_words,
        }
        # Few sides, so that shapes meet.
        block = size.block
        sides = [1, 2, 3, block - 1, block, block + 1, int(rng.integers(1, 3 * block))]
        self.sides = [min(int(side), size.max_terms) for side in rng.choice(sides, 3)]

    def chance(self, probability=0.5):
        return bool(self.rng.random() < probability)

    def shape(self, memory, sizes):
        return Command(_LOADS[memory], **sizes).load_shape()

    def words(self, memory, shape):
        if memory is Store.BIASES:
            return -(-shape[1] // self.size.columns)
        return self.size.blocks(*shape)

    def fits(self, sizes):
        return all(self.words(m, self.shape(m, sizes)) <= self.depths[m] for m in Store)

    def draw_sizes(self):
        while True:
            names = ("batch", "inputs", "outputs")
            sizes = dict(zip(names, map(int, self.rng.choice(self.sides, 3)), strict=True))
            if self.fits(sizes):
                return sizes
            self.sides.append(1)  # it must fit some day

    def place(self, memory, shape, avoid=None):
        """Choose a base, not over the words ``avoid``; None if there is none."""
        words = self.words(memory, shape)
        bases = np.arange(self.depths[memory] - words + 1)
        if avoid is not None:
            bases = bases[(bases + words <= avoid[1]) | (bases >= avoid[2])]
        return int(self.rng.choice(bases)) if len(bases) else None

    def region(self, memory, base, shape):
        return memory, base, base + self.words(memory, shape)

    def emit(self, command, beats, reads, writes):
        """Append a command, made to wait for what it depends on."""
        waits = {}
        for kind, under_way in (
            ("wait_for_loads", self.loads),
            ("wait_for_products", self.products),
        ):
            must = any(
                _overlap(mine, other)
                for other_reads, other_writes in under_way
                for mine, others in ((reads, other_writes), (writes, other_reads + other_writes))
                for mine, other in ((a, b) for a in mine for b in others)
            )
            waits[kind] = must or self.chance()
            if waits[kind]:
                under_way.clear()
        (self.products if beats is None else self.loads).append((reads, writes))
        command = dataclasses.replace(command, **waits)
        assert check_command(command, self.size, self.chain) is ErrorCode.NONE
        if beats is None:
            self.chain = following_chain(command, self.size, self.chain)
        self.entries.append((command, beats))

    def made(self, memory, base, shape):
        """Note a new matrix; those that it lies over are gone."""
        new = self.region(memory, base, shape)
        self.matrices[memory] = [
            old for old in self.matrices[memory] if not _overlap(self.region(memory, *old), new)
        ] + [(base, shape)]

    def any_scale(self, exponent):
        significand = 1 << 15 if self.chance(0.4) else int(self.rng.integers(1 << 15, 1 << 16))
        return {"significand": significand, "exponent": int(np.clip(exponent, -128, 127))}

    def load(self, memory, sizes):
        """Load a matrix; returns its base."""
        rng = self.rng
        shape = self.shape(memory, sizes)
        base = self.place(memory, shape)
        log2_unit = int(rng.integers(-10, 8) if self.chance(0.9) else rng.integers(-110, 110))
        options = {name: self.chance() for name in (*_FLAGS, "signed_activations")}
        options |= {"codes": self.chance(0.3), "destination": int(rng.integers(4))}
        options |= {"mode": int(rng.integers(4)), "fp4_exponent": log2_unit}
        options |= self.any_scale(-15 - log2_unit)
        options |= self.fp4_options(memory is Store.GRADIENTS and not options["codes"])
        # Scale and sizes that a load does not use may be anything.
        if memory in (Store.GRADIENTS, Store.BIASES) and self.chance():
            options["significand"] = 0
        if memory is Store.BIASES:
            sizes = sizes | {"batch": 0, "inputs": 0}
        command = Command(_LOADS[memory], **sizes, **{_BASES[memory]: base}, **options)
        beats = self.beats(command, shape, log2_unit)
        self.emit(command, beats, [], [self.region(memory, base, shape)])
        self.made(memory, base, shape)
        return base

    def beats(self, command, shape, log2_unit):
        rng, size = self.rng, self.size
        lanes, width = size.load_lanes, size.wide_format.width
        if command.operation == Operation.LOAD_BIASES:
            reach = 1 << int(rng.integers(1, 32))
            whole_beats = -(-shape[1] // size.biases_per_beat) * size.biases_per_beat
            return pack_biases(rng.integers(-reach, reach, whole_beats), size)
        padded = shape[0], -(-shape[1] // lanes) * lanes
        if command.codes:
            matrix = rng.integers(1 << width, size=padded)
        else:
            unit = 2.0**log2_unit
            if command.operation != Operation.LOAD_GRADIENTS:
                unit = 1 / Scale(command.significand, command.exponent).value
            matrix = wide_numbers(rng, size.wide_format, padded, unit)
        return pack_matrix(matrix, lanes)

    def fp4_options(self, makes_fp4):
        stochastic = self.size.fmt.is_stochastic
        return {
            "stochastic": self.chance() and (stochastic or not makes_fp4),
            "phase": self.chance() and not (stochastic and makes_fp4),
        }

    def product(self):
        rng, size = self.rng, self.size
        operation = Operation(int(rng.integers(5, 8)))
        sizes = self.draw_sizes()
        accumulate = False
        if self.chain and self.chance(0.7):
            going_on = self.sizes_of_chain()
            total = size.terms(Command(self.chain.operation, **going_on)) + self.chain.terms
            if self.fits(going_on) and total <= size.chain_terms:
                operation, sizes, accumulate = self.chain.operation, going_on, True
        options = self.product_options(Command(operation, **sizes, accumulate=accumulate))
        command = Command(operation, **sizes, **options)
        memories = {
            Operation.FORWARD: [Store.ACTIVATIONS, Store.WEIGHTS],
            Operation.INPUT_GRADIENT: [Store.GRADIENTS, Store.WEIGHTS],
            Operation.WEIGHT_GRADIENT: [Store.GRADIENTS, Store.ACTIVATIONS],
        }[operation]
        step = Store.ACTIVATIONS
        if command.bias:
            memories.append(Store.BIASES)
        if operation == Operation.WEIGHT_GRADIENT:
            step = Store.WEIGHTS
        if command.masked or command.step_gradient:
            memories.append(step)
        bases = {memory: self.find(memory, sizes) for memory in memories}
        command = dataclasses.replace(command, **{_BASES[m]: base for m, base in bases.items()})
        reads = [self.region(m, base, self.shape(m, sizes)) for m, base in bases.items()]
        # A product that does not wait may begin while the one before it is still drained.
        writes = []
        if command.step_gradient or command.clear_step_gradient:
            writes.append(("step gradient", step, step + 1))
        partial_sums = ("partial sums", 0, size.strips(command))
        if command.accumulate:
            reads.append(partial_sums)
        if command.destination == Destination.PARTIAL_SUMS:
            writes.append(partial_sums)
        if command.destination == Destination.OPERAND:
            forward = operation == Operation.FORWARD
            memory = Store.ACTIVATIONS if forward else Store.GRADIENTS
            shape = size.result_shape(command)
            base = None
            if self.words(memory, shape) <= self.depths[memory]:
                base = self.place(memory, shape, avoid=reads[0])
            if base is None:
                command = dataclasses.replace(command, destination=Destination.STREAM)
            else:
                command = dataclasses.replace(command, result_base=base)
                writes.append(self.region(memory, base, shape))
        self.emit(command, None, reads, writes)
        if command.destination == Destination.OPERAND:
            self.made(memory, base, shape)

    def sizes_of_chain(self):
        """Sizes of a product that goes on with the chain, with any count of terms."""
        rows, columns = self.chain.shape
        terms = int(self.rng.choice(self.sides))
        names = {
            Operation.FORWARD: ("batch", "outputs", "inputs"),
            Operation.INPUT_GRADIENT: ("batch", "inputs", "outputs"),
            Operation.WEIGHT_GRADIENT: ("outputs", "inputs", "batch"),
        }[self.chain.operation]
        return dict(zip(names, (rows, columns, terms), strict=True))

    def product_options(self, command):
        rng, size = self.rng, self.size
        forward = command.operation == Operation.FORWARD
        destinations = list(DESTINATIONS[command.operation])
        if size.strips(command) > size.partial_sum_strips:
            destinations.remove(Destination.PARTIAL_SUMS)
        destination = destinations[int(rng.integers(len(destinations)))]
        options = {name: self.chance() for name in (*_FLAGS, "signed_activations")}
        options |= {"accumulate": command.accumulate, "destination": destination}
        options["signed_result"] &= forward
        for name in ("relu", "bias"):
            options[name] &= forward and destination != Destination.PARTIAL_SUMS
        for name in ("masked", "step_gradient", "clear_step_gradient"):
            options[name] &= not forward and destination != Destination.PARTIAL_SUMS
        makes_fp4 = not forward and destination == Destination.OPERAND
        options |= self.fp4_options(makes_fp4)
        options["mode"] = _MODES[int(rng.integers(3))]
        options["fp4_exponent"] = int(rng.integers(-128, 128))
        # About the magnitude of a sum, so that the result is in the middle of its format.
        largest = 8.0 if forward else float(size.fmt.greatest)
        log2_sum = int(np.log2(4 * largest * np.sqrt(size.terms(command))))
        exponent = -13 - log2_sum + int(rng.integers(-3, 4))
        if makes_fp4:
            exponent += options["fp4_exponent"]
        elif destination == Destination.STREAM:
            exponent = int(rng.integers(-40, 10) if self.chance(0.8) else rng.integers(-128, 128))
        options |= self.any_scale(exponent)
        if destination in (Destination.NOTHING, Destination.PARTIAL_SUMS) and self.chance():
            options["significand"] = 0
        return options

    def find(self, memory, sizes):
        """Find a matrix to read, or load one; returns its base."""
        shape = self.shape(memory, sizes)
        bases = [base for base, known in self.matrices[memory] if known == shape]
        if bases and self.chance(0.9):
            return bases[int(self.rng.integers(len(bases)))]
        return self.load(memory, sizes)


def _overlap(one, other):
    """Tell whether two regions (memory, first word, end) have words in common."""
    return one[0] == other[0] and one[1] < other[2] and other[1] < one[2]
