"""What the code asks of a format of gradients, and which formats there are.

A format answers questions; nobody asks which one it is. What belongs to a format, by its type, is
registered beside each other: its quantiser in :mod:`nibblegrad.golden.cores.gradient_quantizer`,
its lanes in :mod:`nibblegrad.hdl.array.lanes`, its encoder in
:mod:`nibblegrad.hdl.encoders.gradient_encoder`.
"""

import abc

import numpy as np
import numpy.typing as npt

from nibblegrad.golden.errors import InputError

__all__ = ["GRADIENT_FORMATS", "GradientFormat", "register_format"]


class GradientFormat(abc.ABC):
    """A format of four-bit codes that share a scale, a power of two.

    Numbers of codes are integers in units of the scale, so that sums of products with integers are
    exact. A format is hashable, and equal to another one that answers alike.

    Attributes
    ----------
    code_bits : int
        Width of a code; that of an integer code, as both go through the same memories.
    block : int or None
        How many elements share a scale; None for all of a tensor.
    """

    code_bits = 4
    block: int | None = None

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """What configurations call it, such as ``fp4_radix2``."""

    @property
    @abc.abstractmethod
    def identifier(self) -> int:
        """What tells a host which format a core has: 1 to 15, in the register SIZE."""

    @property
    @abc.abstractmethod
    def is_stochastic(self) -> bool:
        """Whether gradients may be rounded by random bits, and whether a core draws them."""

    @property
    @abc.abstractmethod
    def phases(self) -> int:
        """How many codes a gradient gets: 1, or 2 of two grids that are averaged."""

    @property
    @abc.abstractmethod
    def numbers(self) -> npt.NDArray[np.float32]:
        """The numbers that all codes stand for, in the order of the codes."""

    @property
    def greatest(self) -> int:
        """Largest magnitude, a power of two."""
        return int(np.abs(self.numbers).max())

    def decode(self, codes: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Look up the numbers that codes stand for.

        Parameters
        ----------
        codes : array of integers 0 to 15, any shape

        Returns
        -------
        array of int64, same shape
        """
        return self.numbers[np.asarray(codes)].astype(np.int64)


#: Every format of gradients, by its name.
GRADIENT_FORMATS: dict[str, GradientFormat] = {}


def register_format(fmt: GradientFormat) -> GradientFormat:
    """Add a format to those that configurations and recipes may name, and return it.

    Raises
    ------
    InputError
        If another one has its name or its identifier.
    """
    for other in GRADIENT_FORMATS.values():
        if other != fmt and (other.name == fmt.name or other.identifier == fmt.identifier):
            raise InputError(
                f"Format {fmt.name} must have a name and an identifier of its own, "
                f"and {other.name} has {other.identifier}, too"
            )
    if not 1 <= fmt.identifier <= 15:
        raise InputError(
            f"Format {fmt.name} must have an identifier of 1 to 15, not {fmt.identifier}"
        )
    return GRADIENT_FORMATS.setdefault(fmt.name, fmt)
