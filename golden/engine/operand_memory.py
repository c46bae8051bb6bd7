"""Operand memories: matrices of four-bit codes in words that are squares of codes."""

import numpy as np
import numpy.typing as npt

from nibblegrad.golden.cores.quantizer import Quantized

__all__ = ["CodeMemory", "OperandMemory"]

#: Two's complement of four bits.
_SIGNED = np.array([*range(8), *range(-8, 0)], np.int8)


class CodeMemory:
    """Four-bit codes.

    Parameters
    ----------
    words : int
        Depth in words.
    block : int
        Side of the square of codes that is a word.

    Attributes
    ----------
    codes : array of uint8, shape (words, block, block)
        Codes 0 to 15. A matrix lies block row by block row.
    """

    def __init__(self, words: int, block: int) -> None:
        self.codes = np.zeros((words, block, block), np.uint8)

    def write_codes(self, base: int, codes: npt.NDArray[np.integer]) -> None:
        """Write a matrix of codes from a word on; only the low four bits count."""
        _write(self.codes, base, codes & 15)

    def read_codes(self, base: int, shape: tuple[int, int]) -> npt.NDArray[np.uint8]:
        """Read a matrix of codes from a word on."""
        return _read(self.codes, base, shape)

    def read_integers(
        self, base: int, shape: tuple[int, int], signed: bool
    ) -> npt.NDArray[np.int8]:
        """Read a matrix of the integers, INT4 or UINT4, that codes stand for."""
        codes = _read(self.codes, base, shape)
        return _SIGNED.take(codes) if signed else codes.view(np.int8)


class OperandMemory(CodeMemory):
    """Codes of activations or weights, with what their step gradient needs.

    Parameters
    ----------
    words, block : int
        See :class:`CodeMemory`.
    residual_bits : int
        Fraction bits of the residual.

    Attributes
    ----------
    in_range : array of bool, shape (words, block, block)
        Whether the gradient passes.
    derivatives : array of int16, shape (words, block, block)
        Where in range the residual, in units of ``2**-residual_bits``; elsewhere the integer that
        was written.
    """

    def __init__(self, words: int, block: int, residual_bits: int) -> None:
        super().__init__(words, block)
        self.in_range = np.zeros(self.codes.shape, np.bool_)
        self.derivatives = np.zeros(self.codes.shape, np.int16)
        self._residual_bits = residual_bits

    def write_codes(self, base: int, codes: npt.NDArray[np.integer]) -> None:
        """Write a matrix of ready codes, in range and with residual 0."""
        super().write_codes(base, codes)
        _write(self.in_range, base, np.ones(codes.shape, np.bool_))
        _write(self.derivatives, base, np.zeros(codes.shape, np.int16))

    def write(self, base: int, quantized: Quantized) -> None:
        """Write a quantised matrix from a word on."""
        super().write_codes(base, quantized.codes)
        _write(self.in_range, base, quantized.in_range)
        _write(
            self.derivatives,
            base,
            np.where(quantized.in_range, quantized.derivative, quantized.codes),
        )

    def read_in_range(self, base: int, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
        """Read whether the gradient passes."""
        return _read(self.in_range, base, shape)

    def read_derivative(self, base: int, shape: tuple[int, int]) -> npt.NDArray[np.int64]:
        """Read the derivative by the step, in units of ``2**-residual_bits``."""
        kept = _read(self.derivatives, base, shape).astype(np.int64)
        return np.where(_read(self.in_range, base, shape), kept, kept << self._residual_bits)


def _read(memory, base, shape):
    """Read a matrix; it may share the memory."""
    block = memory.shape[1]
    down, across = (-(-count // block) for count in shape)
    words = memory[base : base + down * across].reshape(down, across, block, block)
    matrix = words.transpose(0, 2, 1, 3).reshape(down * block, across * block)
    return matrix[: shape[0], : shape[1]]


def _write(memory, base, matrix):
    """Write a matrix; what lies beyond its edge in its last blocks stays."""
    block = memory.shape[1]
    rows, columns = matrix.shape
    down, across = -(-rows // block), -(-columns // block)
    whole = _read(memory, base, (down * block, across * block))
    whole[:rows, :columns] = matrix
    words = whole.reshape(down, block, across, block).transpose(0, 2, 1, 3)
    memory[base : base + down * across] = words.reshape(-1, block, block)
