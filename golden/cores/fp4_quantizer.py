"""Quantisers to FP4 [1,3,0]: LUQ (radix 2) and two-phase (radix 4)."""

# Ref: Chmiel et al., "Accurate Neural Training with 4-bit Matrix Multiplications at Standard
#      Formats", ICLR 2023, arXiv 2112.10769
# Section: 4.1 (stochastic underflow, logarithmic stochastic rounding), 4.2 (round to nearest
#      power); A.7 (power-of-two scale)
# Ref: Sun et al., "Ultra-Low Precision 4-bit Training of Deep Neural Networks", NeurIPS 2020
# Ref: US12443841B2

import enum
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nibblegrad.golden.cores.quantizer import check_tensor
from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.arguments import take_format, take_member
from nibblegrad.golden.numbers.formats import Fp4Format
from nibblegrad.golden.numbers.rounding import check_noise

__all__ = ["Fp4Mode", "Fp4Quantized", "Underflow", "quantize_fp4", "scale_exponent"]


class Fp4Mode(enum.IntEnum):
    """How a number between two powers of the radix is decided."""

    #: To the nearest power of the radix; a tie goes up.
    NEAREST = 0
    #: Stochastic underflow and logarithmic stochastic rounding (LUQ); radix 2 only.
    STOCHASTIC = 1


class Underflow(enum.IntEnum):
    """Below which part of the smallest magnitude NEAREST gives zero."""

    #: Half: the middle between zero and the smallest magnitude.
    MIDPOINT = 0
    #: The published formulas, ``2**floor(log2(4/3 x))`` and ``4**floor(log4(1.6 x))``, taken
    #: literally: 3/4 for radix 2 and 5/8 for radix 4.
    FORMULA = 1


@dataclass
class Fp4Quantized:
    """FP4 codes.

    Attributes
    ----------
    codes : array of uint8
        Codes 0 to 15; 0 for NaN and infinity, never 8.
    scaled : array of float64 or float32
        Exact numbers before rounding, in units of the scale.
    field : array of int
        Exponent fields of numbers that are not 0, before clipping to 1 to 7.
    nonfinite : int
        Count of NaN and infinities.
    """

    codes: npt.NDArray[np.uint8]
    scaled: npt.NDArray[np.floating]
    field: npt.NDArray[np.integer]
    nonfinite: int

    @property
    def saturations(self) -> int:
        """Count of numbers that rounded past the largest magnitude."""
        return int(np.count_nonzero(self.field > 7))

    @property
    def underflows(self) -> int:
        """Count of non-zero numbers with code 0."""
        return int(np.count_nonzero((self.codes == 0) & (self.scaled != 0)))


def scale_exponent(greatest: float, fmt: Fp4Format, odd_shift: int = 1) -> int:
    """Choose the scale so that the largest magnitude does not saturate, in either phase.

    Parameters
    ----------
    greatest : float
        Largest magnitude of the tensor; 0 gives 0.
    fmt : Fp4Format
        Format of the codes.
    odd_shift : int
        See :func:`quantize_fp4`; with -1 the odd grid reaches half as far.

    Returns
    -------
    int
        Exponent, clipped to -128 to 127.

    Raises
    ------
    InputError
        If ``greatest`` is negative or not finite.
    """
    if not (math.isfinite(greatest) and greatest >= 0):
        raise InputError(f"Largest magnitude must be finite and not negative, not {greatest}")
    if greatest == 0:
        return 0
    fraction, exponent = math.frexp(greatest)
    ceiling = exponent - (fraction == 0.5)
    reach = 6 * fmt.log2_radix - (fmt.phases == 2 and odd_shift < 0)
    return max(-128, min(ceiling - reach, 127))


def quantize_fp4(
    x: npt.NDArray[np.floating],
    fmt: Fp4Format | str,
    exponent: int,
    mode: Fp4Mode | str,
    *,
    phase: int = 0,
    odd_shift: int = 1,
    underflow: Underflow | str = Underflow.MIDPOINT,
    noise: npt.NDArray[np.integer] | None = None,
    random_bits: int = 8,
    check_finite: bool = True,
) -> Fp4Quantized:
    """Quantise to FP4 in units of ``2**exponent``.

    STOCHASTIC is ordinary stochastic rounding to a float without fraction bits, with the unit for
    smallest step: below the unit it decides between 0 and 1 unit. NEAREST compares the
    significand with the arithmetic middle: 1.5 for radix 2; for radix 4 the middle between
    ``4**k`` and ``4**(k+1)`` is ``2.5 * 4**k = 2**(2k+1) * 1.25``.

    Parameters
    ----------
    x : array of float, any shape
        Numbers of a wide format (or products of the scale multiplier, 49 bits).
    fmt : Fp4Format or str
        Format of the codes, or its name.
    exponent : int
        Scale exponent of the tensor, -128 to 127.
    mode : Fp4Mode or str
        Rounding mode, or its name.
    phase : int
        Radix 4 only: 0 for the even grid, 1 for the odd one, which is the even one times
        ``2**odd_shift``.
    odd_shift : int
        1 or -1.
    underflow : Underflow or str
        Threshold of zero for NEAREST.
    noise : array of int, same shape
        Random bits for STOCHASTIC, 0 to ``2**random_bits - 1``.
    random_bits : int
        Count of random bits.
    check_finite : bool
        Whether to refuse NaN and infinity. If not, they become code 0 and are counted, as in
        hardware.

    Raises
    ------
    InputError
        If ``x`` is empty, or not finite although it should be; if the exponent, phase or odd
        shift is out of range; if STOCHASTIC is asked of radix 4.
    """
    x = np.asarray(x)
    fmt = take_format("Format of a quantiser of gradients", fmt, Fp4Format)
    mode = take_member("Rounding mode", mode, Fp4Mode)
    underflow = take_member("Threshold of zero", underflow, Underflow)
    if not -128 <= exponent <= 127:
        raise InputError(f"Scale exponent must be -128 to 127, not {exponent}")
    if phase not in range(fmt.phases):
        raise InputError(f"Phase must be 0, or 1 with radix 4, not {phase} with {fmt.name}")
    if odd_shift not in (1, -1):
        raise InputError(f"Shift of the odd grid must be 1 or -1, not {odd_shift}")
    if mode is Fp4Mode.STOCHASTIC and not fmt.is_stochastic:
        raise InputError("Stochastic rounding needs radix 2; radix 4 rounds to the nearest")
    nonfinite = 0
    if check_finite:
        check_tensor("Tensor to quantise", x)
    else:
        finite = np.isfinite(x)
        nonfinite = int(x.size - np.count_nonzero(finite))
        if nonfinite:
            x = np.where(finite, x, 0.0)

    shift = exponent + phase * odd_shift
    # Scaling a float32 number up is exact in float32, too; what becomes infinite saturates.
    narrow = x.dtype == np.float32 and -127 <= shift <= 0 and random_bits <= 23
    with np.errstate(over="ignore"):
        y = np.multiply(x, 2.0**-shift, dtype=np.float32 if narrow else np.float64)
    # A number between two powers of the radix is decided by whether adding to the fraction f of
    # its significand 1 + f carries into the exponent; one below the smallest, by a threshold.
    word, fraction_bits, bias = (np.int32, 23, 127) if narrow else (np.int64, 52, 1023)
    addend: Any
    threshold: Any
    if mode is Fp4Mode.STOCHASTIC:
        # The first random bits of f, plus the noise, carry; below the smallest power, those of the
        # number itself.
        bits = check_noise(mode, x, noise)
        addend = np.left_shift(bits.astype(word), fraction_bits - random_bits)
        threshold = np.multiply(bits, -(2.0**-random_bits), dtype=y.dtype)
        threshold += 1.0
    else:
        # Radix 2: 1/2 carries from the middle of two powers upward. Radix 4: 3/4 carries if
        # f >= 1/4; an odd exponent becomes even, the next power of four; an even one becomes odd,
        # and its lowest bit is dropped.
        addend = (2 if fmt.log2_radix == 1 else 3) << (fraction_bits - 2)
        threshold = 0.5
        if underflow is Underflow.FORMULA:
            threshold = 0.75 if fmt.log2_radix == 1 else 0.625
    # Radix 2: the exponent and 1; radix 4: half the exponent and 1, rounded down.
    addend -= (bias - fmt.log2_radix) << fraction_bits
    magnitude = np.abs(y)
    field = magnitude.view(word) + addend
    field >>= fraction_bits + fmt.log2_radix - 1
    codes = field.clip(1, 7).astype(np.uint8)
    codes += (y < 0).view(np.uint8) * np.uint8(8)
    codes *= (magnitude >= threshold).view(np.uint8)
    return Fp4Quantized(codes, y, field, nonfinite)
