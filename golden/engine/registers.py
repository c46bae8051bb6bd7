"""Registers of the training core: the one table that hardware, drivers and documents come from."""

# Ref: Accellera SystemRDL 2.0 for the words of `software` and `hardware` access

from dataclasses import dataclass, field

from nibblegrad.golden.engine.command import Command, Operation

__all__ = [
    "BY_NAME",
    "IDENTIFIER",
    "REGISTERS",
    "VERSION",
    "Field",
    "Register",
    "command_writes",
    "used_settings",
]

#: What the register ID holds: "NBLG" in ASCII.
IDENTIFIER = 0x4E424C47
VERSION = 0x0001_0000


@dataclass(frozen=True)
class Field:
    """Part of a register.

    Parameters
    ----------
    name : str
        Name in lower case; ``value`` where the register has one field only.
    low, bits : int
        Position of the lowest bit, and width.
    description : str
        One sentence.
    signed : bool
        Whether it holds two's complement.
    """

    name: str
    low: int
    bits: int
    description: str
    signed: bool = False

    @property
    def mask(self) -> int:
        """Ones in as many bits as the field has."""
        return (1 << self.bits) - 1

    def take(self, word: int) -> int:
        """Take the field out of the word of its register."""
        value = word >> self.low & self.mask
        return value - (1 << self.bits) if self.signed and value >> self.bits - 1 else value


@dataclass(frozen=True)
class Register:
    """One 32-bit register.

    Parameters
    ----------
    name : str
        Name in upper case.
    offset : int
        Byte address.
    access : str
        ``rw``: setting, kept until written again. ``ro``: read only. ``wo``: every write is an
        event for the hardware, reads as 0. ``w1c``: bits that are set by hardware and cleared by
        writing 1.
    description : str
        One or two sentences.
    fields : tuple of Field
        Lowest first.
    """

    name: str
    offset: int
    access: str
    description: str
    fields: tuple[Field, ...] = field(default=())

    def pack(self, **values: int) -> int:
        """Put fields in a word, each cut to its width; fields that are not named are 0."""
        return sum((values.get(part.name, 0) & part.mask) << part.low for part in self.fields)

    def unpack(self, word: int) -> dict[str, int]:
        """Take the fields out of a word."""
        return {part.name: part.take(word) for part in self.fields}


def _value(name, offset, access, description, bits=32, signed=False):
    return Register(
        name, offset, access, description, (Field("value", 0, bits, description, signed),)
    )


def _wide(name, offset, description, signed=False):
    """A 64-bit number in two registers, to be read while the core is idle."""
    low = f"{description} Low half."
    high = f"{description} High half."
    return (
        _value(f"{name}_LOW", offset, "ro", low),
        _value(f"{name}_HIGH", offset + 4, "ro", high, signed=signed),
    )


REGISTERS: tuple[Register, ...] = (
    # What the core is.
    _value("ID", 0x000, "ro", "Always 0x4E424C47, NBLG in ASCII."),
    _value("VERSION", 0x004, "ro", "Version of this register map, major in the upper half."),
    Register("SIZE", 0x008, "ro", "Size of the array and of the formats.", (
        Field("log2_rows", 0, 4, "Logarithm of the count of rows."),
        Field("log2_columns", 4, 4, "Logarithm of the count of columns."),
        Field("log2_lanes", 8, 4, "Logarithm of the count of lanes."),
        Field("log2_radix", 12, 4, "1 for FP4 radix 2, 2 for radix 4."),
        Field("wide_bits", 16, 8, "Width of a wide float."),
        Field("residual_bits", 24, 4, "Fraction bits of the residual."),
        Field("queue_depth", 28, 4, "Count of commands that can wait, minus 1."),
    )),
    _value("ACTIVATION_WORDS", 0x00C, "ro", "Depth of the memory of activations."),
    _value("WEIGHT_WORDS", 0x010, "ro", "Depth of the memory of weights."),
    _value("GRADIENT_WORDS", 0x014, "ro", "Depth of the memory of gradients."),
    _value("BIAS_WORDS", 0x018, "ro", "Depth of the memory of biases."),
    _value("PARTIAL_SUM_STRIPS", 0x01C, "ro", "Depth of the memory of partial sums."),
    _value("MAX_TERMS", 0x020, "ro", "Most terms of the sums of one command."),
    # Control and status.
    Register("CONTROL", 0x040, "wo", "Actions; they happen when a 1 is written.", (
        Field("soft_reset", 0, 1, "Gives up everything under way; memories keep their contents."),
        Field("clear_error", 1, 1, "Clears ERROR, so that commands are taken again."),
        Field("clear_counters", 2, 1, "Sets every counter to zero, but no step gradient."),
    )),
    Register("STATUS", 0x044, "ro", "What the core is doing.", (
        Field("busy", 0, 1, "A command is waiting or under way."),
        Field("loading", 1, 1, "A load is under way."),
        Field("computing", 2, 1, "A product is under way."),
        Field("error", 3, 1, "ERROR is not NONE: commands are ignored."),
        Field("queue_free", 8, 5, "Count of commands that there is room for."),
    )),
    _value("ERROR", 0x048, "ro", "Code of the first error since it was cleared.", bits=8),
    Register("INTERRUPT_ENABLE", 0x04C, "rw", "Which events raise the interrupt.", (
        Field("done", 0, 1, "The core became idle."),
        Field("error", 1, 1, "An error happened."),
    )),
    Register("INTERRUPT", 0x050, "w1c", "Events that happened.", (
        Field("done", 0, 1, "The core became idle."),
        Field("error", 1, 1, "An error happened."),
    )),
    _value("COMMANDS_DONE", 0x054, "ro", "Count of commands that ended, modulo 2^32."),
    _value("LOAD_SEED", 0x058, "wo",
           "Four writes while idle, oldest word first, set the random state of loads."),
    _value("RESULT_SEED", 0x05C, "wo",
           "Four writes while idle, oldest word first, set the random state of results."),
    # Settings of the next command. They are kept.
    _value("BATCH", 0x080, "rw", "Rows of activations and gradients.", bits=16),
    _value("INPUTS", 0x084, "rw", "Columns of activations and weights.", bits=16),
    _value("OUTPUTS", 0x088, "rw", "Rows of weights, columns of gradients.", bits=16),
    _value("ACTIVATION_BASE", 0x08C, "rw", "First word of the activations.", bits=16),
    _value("WEIGHT_BASE", 0x090, "rw", "First word of the weights.", bits=16),
    _value("GRADIENT_BASE", 0x094, "rw", "First word of the gradients.", bits=16),
    _value("BIAS_BASE", 0x098, "rw", "First word of the biases.", bits=16),
    _value("RESULT_BASE", 0x09C, "rw", "First word of a result that is an operand.", bits=16),
    Register("SCALE", 0x0A0, "rw",
             "Scale of a product, or reciprocal step of a load: significand * 2^exponent.", (
        Field("significand", 0, 16, "An integer, its top bit set: 32768 to 65535."),
        Field("exponent", 16, 8, "Exponent.", signed=True),
    )),
    _value("FP4_EXPONENT", 0x0A4, "rw", "FP4 codes are in units of 2^FP4_EXPONENT.",
           bits=8, signed=True),
    Register("COMMAND", 0x0A8, "wo", "Writing it issues a command with the settings above.", (
        Field("operation", 0, 4, "What to do."),
        Field("destination", 4, 2, "Where the result goes."),
        Field("mode", 6, 2, "Rounding to wide floats; no product takes SELF_STOCHASTIC."),
        Field("codes", 8, 1, "The load brings ready codes."),
        Field("signed_activations", 9, 1, "Activations are INT4, not UINT4."),
        Field("signed_result", 10, 1, "The result is INT4, not UINT4."),
        Field("relu", 11, 1, "Negative sums become zero."),
        Field("bias", 12, 1, "Add the biases."),
        Field("masked", 13, 1, "Zero where the operand was out of range."),
        Field("accumulate", 14, 1, "Go on with the partial sums."),
        Field("step_gradient", 15, 1, "Add to the step gradient."),
        Field("clear_step_gradient", 16, 1, "Set the step gradient to zero before."),
        Field("stochastic", 17, 1, "Round to FP4 stochastically (radix 2)."),
        Field("phase", 18, 1, "Round to the odd grid of FP4 (radix 4)."),
        Field("wait_for_loads", 19, 1, "Start when all earlier loads have ended."),
        Field("wait_for_products", 20, 1, "Start when all earlier products have ended."),
    )),
    # Results and counters.
    *_wide("ACTIVATION_STEP_GRADIENT", 0x0C0, "Step gradient of the activations.", signed=True),
    *_wide("WEIGHT_STEP_GRADIENT", 0x0C8, "Step gradient of the weights.", signed=True),
    *_wide("CYCLES", 0x100, "Cycles in which the core was busy."),
    *_wide("PASSES", 0x108, "Cycles in which the lanes worked."),
    *_wide("MACS", 0x110, "Multiply-accumulates, those of padding not counted."),
    *_wide("LOAD_BEATS", 0x118, "Beats that were loaded."),
    *_wide("STRIPS", 0x120, "Strips of results that left the array."),
    _value("LOAD_SATURATIONS", 0x128, "ro", "Numbers that loads clipped."),
    _value("LOAD_UNDERFLOWS", 0x12C, "ro", "Numbers other than 0 that became 0 in loads."),
    _value("LOAD_NONFINITES", 0x130, "ro", "NaN and infinities that were loaded."),
    _value("RESULT_SATURATIONS", 0x134, "ro", "Results that were clipped or became infinite."),
    _value("RESULT_UNDERFLOWS", 0x138, "ro", "Results other than 0 that became 0."),
)  # fmt: skip

#: The registers by name.
BY_NAME = {register.name: register for register in REGISTERS}


def used_settings(operation: int) -> set[str]:
    """List the registers that an operation reads, beside COMMAND; all if there is no such one."""
    everything = {r.name for r in REGISTERS if r.access == "rw" and r.name != "INTERRUPT_ENABLE"}
    settings: dict[int, set[str]] = {
        Operation.LOAD_ACTIVATIONS: {"BATCH", "INPUTS", "ACTIVATION_BASE", "SCALE"},
        Operation.LOAD_WEIGHTS: {"OUTPUTS", "INPUTS", "WEIGHT_BASE", "SCALE"},
        Operation.LOAD_GRADIENTS: {"BATCH", "OUTPUTS", "GRADIENT_BASE", "FP4_EXPONENT"},
        Operation.LOAD_BIASES: {"OUTPUTS", "BIAS_BASE"},
        Operation.FORWARD: everything - {"GRADIENT_BASE", "FP4_EXPONENT"},
        Operation.INPUT_GRADIENT: everything - {"BIAS_BASE"},
        Operation.WEIGHT_GRADIENT: everything - {"BIAS_BASE", "FP4_EXPONENT", "RESULT_BASE"},
    }
    return settings.get(operation, everything)


def command_writes(command: Command) -> dict[str, int]:
    """List the register values of a command, by register; COMMAND comes last.

    Parameters
    ----------
    command : Command
        The command; values are cut to the width of their fields.
    """
    writes = {
        register.name: register.pack(value=getattr(command, register.name.lower()))
        for register in REGISTERS
        if BY_NAME["BATCH"].offset <= register.offset <= BY_NAME["RESULT_BASE"].offset
    }
    writes["FP4_EXPONENT"] = BY_NAME["FP4_EXPONENT"].pack(value=command.fp4_exponent)
    for name in ("SCALE", "COMMAND"):
        register = BY_NAME[name]
        values = {part.name: int(getattr(command, part.name)) for part in register.fields}
        writes[name] = register.pack(**values)
    return writes
