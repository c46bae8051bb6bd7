"""What follows from a command while it stands still, and when it is known."""

from amaranth import *

from nibblegrad.golden.engine.command import Operation
from nibblegrad.hdl.base.pipeline import StableFlow

__all__ = ["CommandFacts"]


class CommandFacts(StableFlow):
    """What is found of a command, and from which cycle on.

    The command is there before all that is made of it, so that any stage may use its fields.

    Parameters
    ----------
    m : Module
        Where the registers go.
    size : CoreSize
        Parameters of the core.
    command : View of command_layout()
        The command, from a register that is written in cycle 0.

    Attributes
    ----------
    is_forward, is_input, is_weight : Timed
        Which of the products it is, if any.
    is_gradient, is_product : Timed
        Whether it is one of the last two, and one of the three.
    rows, columns, terms : Timed
        Of a product: the shape of its result, and the count of terms of each sum.
    """

    def __init__(self, m, size, command):
        super().__init__(m)
        self.size = size
        self.command = command
        self._given = self.input("command", command, cycle=1)
        self.is_forward = self._is("is_forward", Operation.FORWARD)
        self.is_input = self._is("is_input", Operation.INPUT_GRADIENT)
        self.is_weight = self._is("is_weight", Operation.WEIGHT_GRADIENT)
        self.is_gradient = self.wire(lambda x, w: x | w, self.is_input, self.is_weight)
        self.is_product = self.wire(lambda f, g: f | g, self.is_forward, self.is_gradient)
        self.rows, self.columns, self.terms = self._result()

    def stage(self, names, make, *values):
        """Register what is made of values when all of them are there, and the command."""
        return super().stage(names, lambda _, *others: make(*others), self._given, *values)

    def wire(self, make, *values):
        """Make a value of others, and of the command, without a register."""
        return super().wire(lambda _, *others: make(*others), self._given, *values)

    def field(self, name):
        """Give a field of the command."""
        return self.wire(lambda: self.command[name])

    def _is(self, name, operation):
        return self.stage(name, lambda: self.command.operation == operation)

    def _result(self):
        """Find rows, columns and terms of a product."""
        command = self.command
        return self.stage(
            "rows columns terms",
            lambda is_forward, is_weight: (
                Mux(is_weight, command.outputs, command.batch),
                Mux(is_forward, command.outputs, command.inputs),
                Mux(is_forward, command.inputs, Mux(is_weight, command.batch, command.outputs)),
            ),
            self.is_forward,
            self.is_weight,
        )
