"""Training cores to test, and layers to test them with."""

import numpy as np

from nibblegrad.gen.config import DEFAULT, load
from nibblegrad.golden.engine.command import Command, Destination, Operation, Store
from nibblegrad.golden.engine.device import pack_biases, pack_matrix
from nibblegrad.golden.engine.registers import BY_NAME
from nibblegrad.golden.numbers.rounding import RoundMode
from verif.engine.core_refusals import DESTINATIONS, random_malformed
from verif.engine.core_stimulus import wide_numbers
from verif.harness.device import HarnessError, Status
from verif.support.coverage import assert_equal

__all__ = [
    "CORES",
    "Layer",
    "config",
    "directed_program",
    "is_stream",
    "matches",
    "misuse",
    "seeds",
    "situations",
]

#: Files and modules of gen/configs; all of them pass the same tests.
CORES = {
    "4x4x8": ("training_4x4x8", "training_core"),
    "4x4x8 float32 radix 4": ("training_4x4x8", "training_core_float32"),
    "8x2x4 radix 4": ("training_odd", "training_core"),
    "2x4x8 float32": ("training_odd", "training_core_float32"),
    "8x8x16": ("training_8x8x16", "training_core"),
    "8x8x16 float32 radix 4": ("training_8x8x16", "training_core_float32"),
}

MODES = (RoundMode.NEAREST_EVEN, RoundMode.STOCHASTIC, RoundMode.TRUNCATE)


def config(name):
    """Read the parameters of one of CORES."""
    file, module = CORES[name]
    return load(DEFAULT.with_name(f"{file}.toml"))[module]


def is_stream(command):
    """Tell whether a command makes strips on the output stream."""
    return command.operation >= Operation.FORWARD and command.destination == Destination.STREAM


def seeds(rng):
    """Choose a state of a generator."""
    return rng.integers(1, 1 << 32, 4, dtype=np.uint32)


class Layer:
    """Operands of a layer, some words into each memory, and commands that use all of them.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance.
    size : CoreSize
        Parameters of the core.
    word : int
        First word of each operand.
    batch, inputs, outputs : int, optional
        Sizes; by default no multiples of anything, and two words each way at most.
    """

    def __init__(self, rng, size, word=0, batch=None, inputs=None, outputs=None):
        self.rng = rng
        self.size = size
        self.shape = {
            "batch": batch or size.block + 1,
            "inputs": inputs or size.block + 3,
            "outputs": outputs or size.block - 1,
        }
        memories = ("activation", "weight", "gradient", "bias")
        self.places = {f"{name}_base": word for name in memories}

    def command(self, operation, **options):
        """Make a command on this layer."""
        return Command(operation, **self.shape, **(self.places | options))

    def load(self, operation, **options):
        """Make a load of random numbers; returns command and beats."""
        rng, size = self.rng, self.size
        exponent = int(rng.integers(-20, 3))
        command = self.command(
            operation,
            significand=int(rng.integers(1 << 15, 1 << 16)),
            exponent=-15 - exponent,
            fp4_exponent=exponent,
            **options,
        )
        rows, columns = command.load_shape()
        if operation == Operation.LOAD_BIASES:
            return command, pack_biases(rng.integers(-1000, 1000, columns), size)
        if command.codes:
            return command, pack_matrix(rng.integers(16, size=(rows, columns)), size.load_lanes)
        numbers = wide_numbers(rng, size.wide_format, (rows, columns), 2.0**exponent)
        return command, pack_matrix(numbers, size.load_lanes)

    def loads(self, **options):
        """Load everything, as commands with their beats."""
        stochastic = self.size.fmt.is_stochastic
        return [
            self.load(Operation.LOAD_ACTIVATIONS, **options),
            self.load(Operation.LOAD_WEIGHTS, **options),
            self.load(Operation.LOAD_GRADIENTS, stochastic=stochastic, **options),
            self.load(Operation.LOAD_BIASES, **options),
        ]

    def product(self, operation, **options):
        """Make a product that depends on all that was loaded for it; returns it and None."""
        more = {"mode": RoundMode.STOCHASTIC, "exponent": -18}
        if operation == Operation.FORWARD:
            more |= {"bias": True}
        else:
            more |= {"masked": True, "step_gradient": True}
        return self.command(operation, **(more | options)), None

    def products(self, **options):
        """Make the three products to the stream."""
        operations = (Operation.FORWARD, Operation.INPUT_GRADIENT, Operation.WEIGHT_GRADIENT)
        return [self.product(operation, **options) for operation in operations]

    def large_loads(self):
        """Load numbers that are all too large, but for one that is too small and one that is none.

        All sums of their products are positive, and so are all step gradients.
        """
        fmt, program = self.size.wide_format, []
        for operation in (
            Operation.LOAD_ACTIVATIONS,
            Operation.LOAD_WEIGHTS,
            Operation.LOAD_GRADIENTS,
        ):
            command, _ = self.load(operation)
            tiny = 2.0 ** (command.fp4_exponent - 3)
            numbers = np.full(command.load_shape(), fmt.encode(fmt.greatest), np.uint32)
            places = self.rng.permutation(numbers.size)[:2]
            numbers.flat[places] = fmt.encode([tiny, np.nan])
            program.append((command, pack_matrix(numbers, self.size.load_lanes)))
        return program

    def events(self):
        """Make commands that leave a positive step gradient, and count every kind of event."""
        to_operand = {"destination": Destination.OPERAND, "bias": False}
        to_operand["result_base"] = self.places["activation_base"] + 4
        gradients = (Operation.INPUT_GRADIENT, Operation.WEIGHT_GRADIENT)
        return [
            *self.large_loads(),
            *(self.product(op, clear_step_gradient=True, masked=False) for op in gradients),
            *(self.product(Operation.FORWARD, exponent=e, **to_operand) for e in (-128, 127)),
        ]

    def disturb(self):
        """Make commands that keep everything busy, and write to no words but eight of each memory.

        The first four hold the operands, and the others results that become operands.
        """
        sums = {"destination": Destination.PARTIAL_SUMS, "bias": False}
        operand = {"destination": Destination.OPERAND, "bias": False}
        operand["result_base"] = self.places["weight_base"] + 4
        return [
            *self.loads(wait_for_products=False),
            self.product(Operation.FORWARD, **sums),
            self.product(Operation.FORWARD, accumulate=True, wait_for_products=False),
            *self.products(wait_for_products=False),
            self.load(Operation.LOAD_BIASES, codes=True),
            self.product(Operation.INPUT_GRADIENT, **operand),
            self.product(Operation.FORWARD, **operand),
            *self.products(),
        ]


def directed_program(rng, size):
    """Make commands for all that random programs may miss: every event, and every side of one.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance.
    size : CoreSize
        Parameters of the core.

    Returns
    -------
    list of (Command, array or None)
        Commands with their beats, which depend on nothing that was there before.
    """
    program = Layer(rng, size).events()
    for side in ("batch", "inputs", "outputs"):
        layer = Layer(rng, size, **{side: 1})
        program += layer.loads() + layer.products()
    return program


def matches(device, twin, program):
    """Run a program on two devices, and compare strips, step gradients and counters.

    Parameters
    ----------
    device, twin : nibblegrad.golden.engine.device.Device
        Device under test, and golden model.
    program : list of (Command, array or None)
        Commands and their beats, none of which is refused.
    """
    numbers = [(device.issue(*entry), twin.issue(*entry), entry[0]) for entry in program]
    for position, (mine, theirs, command) in enumerate(numbers):
        if is_stream(command):
            assert_equal(
                f"strips of {position}, {command}", device.result(mine), twin.result(theirs)
            )
    twin.finish()
    device.finish()
    for memory in (Store.ACTIVATIONS, Store.WEIGHTS):
        assert device.step_gradient(memory) == twin.step_gradient(memory), memory.name
    counters = device.counters()
    for name, value in twin.counters().items():
        assert counters[name] == value, f"{name}: {counters[name]}, not {value}"


def misuse(device, rng):
    """Do what should not be done, some of it, to a device of the harness.

    Parameters
    ----------
    device : RtlDevice
        Device under test; it may be left busy, or with an error.
    rng : numpy.random.Generator
        Source of chance.
    """
    layer = Layer(rng, device.size)
    for _ in range(int(rng.integers(1, 6))):
        kind = rng.choice(["malformed", "last", "write", "clear", "soft", "hard", "product"])
        if kind == "malformed":
            device.issue(random_malformed(rng, device.size))
        elif kind == "last":
            command, beats = layer.loads()[int(rng.integers(4))]
            last = rng.random(len(beats)) < 0.2
            device.issue(command, beats, last)
        elif kind == "product":
            device.issue(*layer.disturb()[4 + int(rng.integers(3))])
        elif kind == "clear":
            device.write_register("CONTROL", 2)
            device._library.harness_forget(device._core)
        elif kind == "soft":
            device.reset()
        elif kind == "hard" and rng.random() < 0.2:
            device.hard_reset()
        else:
            try:
                address = int(rng.integers(0x140))
                if address >> 2 != BY_NAME["INTERRUPT_ENABLE"].offset >> 2:
                    device.write_address(address, int(rng.integers(1 << 32)))
                device.read_address(int(rng.integers(0x140)))
            except HarnessError as error:
                assert error.status is Status.BAD_RESPONSE
            # There may be no register there, which is no failure here.
            device._library.harness_forget(device._core)
        device.run_cycles(int(rng.integers(60)))


def situations(size, command=None):
    """List what is special about a command.

    Parameters
    ----------
    size : CoreSize
        Parameters of the core.
    command : Command, optional
        The command.

    Returns
    -------
    dict of str to bool
        By name, whether the command is in the situation; without a command, all names.
    """
    if command is None:
        every = [
            Command(operation, destination=destination, codes=codes)
            for operation in Operation
            for destination in DESTINATIONS.get(operation, [Destination.STREAM])
            for codes in (False, True)
        ]
        return {name: False for each in every for name in situations(size, each)}
    operation = Operation(command.operation)
    name = operation.name.lower()
    if operation < Operation.FORWARD:
        found = {name + ("_of_codes" if command.codes else "_of_floats"): True}
        if operation == Operation.LOAD_BIASES:
            found = {name: True}
        elif operation == Operation.LOAD_GRADIENTS and not command.codes:
            found |= _fp4_situations(size, command, name)
        return found
    destination = Destination(command.destination)
    rows, columns = size.result_shape(command)
    height, width = size.tile_shape(operation)
    terms = size.terms(command)
    found = {
        f"{name}_to_{destination.name.lower()}": True,
        f"{name}_of_one_row": rows == 1,
        f"{name}_of_one_column": columns == 1,
        f"{name}_of_one_term": terms == 1,
        f"{name}_with_part_of_a_tile": bool(rows % height or columns % width),
        f"{name}_with_part_of_the_lanes": terms % size.lanes > 0,
        f"{name}_goes_on": command.accumulate,
        "waits_for_nothing": not (command.wait_for_loads or command.wait_for_products),
        "waits_for_loads": command.wait_for_loads and not command.wait_for_products,
        "waits_for_products": command.wait_for_products and not command.wait_for_loads,
        "waits_for_all": command.wait_for_loads and command.wait_for_products,
    }
    if destination == Destination.STREAM:
        found |= {f"rounds_{mode.name.lower()}": command.mode == mode for mode in MODES}
    if operation == Operation.FORWARD:
        if destination != Destination.PARTIAL_SUMS:
            found |= {"relu": command.relu, "bias": command.bias}
        found["signed_activations"] = command.signed_activations
        if destination == Destination.OPERAND:
            found["signed_result"] = command.signed_result
    elif destination != Destination.PARTIAL_SUMS:
        for flag in ("masked", "step_gradient", "clear_step_gradient"):
            found[f"{name}_{flag}"] = getattr(command, flag)
    if operation == Operation.INPUT_GRADIENT and destination == Destination.OPERAND:
        found |= _fp4_situations(size, command, name)
    return found


def _fp4_situations(size, command, name):
    flag = "stochastic" if size.fmt.is_stochastic else "phase"
    chosen = getattr(command, flag)
    return {f"{name}_{flag}": chosen, f"{name}_not_{flag}": not chosen}
