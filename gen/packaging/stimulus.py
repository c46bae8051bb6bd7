"""Numbers for testbenches: chance from the project's own generator, so the same everywhere."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from golden.formats import FloatFormat
from golden.random_bits import RandomBits, seed_state

__all__ = ["Chance", "pack"]


class Chance:
    """A sequence of chance, always the same."""

    def __init__(self) -> None:
        self._random = RandomBits(seed_state(2005))

    def integers(self, bits: int, *shape: int) -> npt.NDArray[np.int64]:
        """Take unsigned integers of up to 62 bits, an array of this shape."""
        low, high = self._random.words(2 * int(np.prod(shape))).astype(np.int64).reshape(2, *shape)
        return (high << 31 ^ low) & ((1 << bits) - 1)

    def signed(self, bits: int, *shape: int) -> npt.NDArray[np.int64]:
        """Take two's complement integers of up to 62 bits, an array of this shape."""
        return self.integers(bits, *shape) - (1 << (bits - 1))

    def floats(self, fmt: FloatFormat, exponent: int, *shape: int) -> npt.NDArray[np.int64]:
        """Take codes of a wide format, an array of this shape.

        The first ones are the corners of the format, NaN and infinity among them; the magnitudes
        of the others are about ``2**exponent``.
        """
        sign = self.integers(1, *shape) << (fmt.width - 1)
        top = (1 << fmt.exponent_bits) - 1
        field = fmt.bias + exponent + self.integers(3, *shape) - 6
        field = np.clip(field, 1, top - 1) << fmt.fraction_bits
        codes = sign | field | self.integers(fmt.fraction_bits, *shape)
        greatest = int(fmt.encode(fmt.greatest))
        ones = (1 << (fmt.width - 1)) - 1
        corners = np.array([0, 1, greatest, greatest + 1, ones, 1 << fmt.fraction_bits])
        corners = np.concatenate([corners, corners | 1 << (fmt.width - 1)])
        codes.reshape(-1)[: len(corners)] = corners[: codes.size]
        return codes


def pack(numbers: Iterable[int], width: int) -> int:
    """Lay numbers side by side, the first one lowest; negative ones become two's complement."""
    mask = (1 << width) - 1
    return sum((int(number) & mask) << (width * place) for place, number in enumerate(numbers))
