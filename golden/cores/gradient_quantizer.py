"""Quantisers of gradients, by format."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nibblegrad.golden.cores.fp4_quantizer import (
    Fp4Mode,
    Fp4Quantized,
    quantize_fp4,
    scale_exponent,
)
from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.formats import Fp4Format
from nibblegrad.golden.numbers.gradient_format import GradientFormat

__all__ = ["QUANTIZERS", "GradientQuantizer", "choose_exponent", "quantize_gradient"]


@dataclass(frozen=True)
class GradientQuantizer:
    """How gradients come to the codes of formats of a type.

    Attributes
    ----------
    quantize : function
        As :func:`nibblegrad.golden.cores.fp4_quantizer.quantize_fp4`.
    choose_exponent : function
        As :func:`nibblegrad.golden.cores.fp4_quantizer.scale_exponent`.
    """

    quantize: Callable[..., Fp4Quantized]
    choose_exponent: Callable[..., int]


#: Quantisers, by the type of the format.
QUANTIZERS: dict[type[GradientFormat], GradientQuantizer] = {
    Fp4Format: GradientQuantizer(quantize_fp4, scale_exponent)
}


def _quantizer_of(fmt: GradientFormat) -> GradientQuantizer:
    for kind in type(fmt).__mro__:
        if kind in QUANTIZERS:
            return QUANTIZERS[kind]
    raise InputError(f"Format {fmt.name} has no quantiser; add that of its type to QUANTIZERS")


def quantize_gradient(
    x: npt.NDArray[np.floating],
    fmt: GradientFormat,
    exponent: int,
    mode: Fp4Mode | str,
    **options: Any,
) -> Fp4Quantized:
    """Quantise in units of ``2**exponent``, by the quantiser of the format.

    Parameters are those of :func:`nibblegrad.golden.cores.fp4_quantizer.quantize_fp4`.

    Raises
    ------
    InputError
        If its type, and those that it is derived from, have none.
    """
    return _quantizer_of(fmt).quantize(x, fmt, exponent, mode, **options)


def choose_exponent(greatest: float, fmt: GradientFormat, odd_shift: int = 1) -> int:
    """Choose the scale of a tensor by its largest magnitude, as its format wants it.

    Parameters and result are those of
    :func:`nibblegrad.golden.cores.fp4_quantizer.scale_exponent`.

    Raises
    ------
    InputError
        If its type, and those that it is derived from, have no quantiser.
    """
    return _quantizer_of(fmt).choose_exponent(greatest, fmt, odd_shift)
