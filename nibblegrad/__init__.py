"""Nibblegrad: an open generator of 4-bit neural-network training cores.

What researchers take most often stands here, under one name; the whole lies in three packages:
:mod:`nibblegrad.golden` says what is true, in NumPy; :mod:`nibblegrad.hdl` builds it, in Amaranth;
:mod:`nibblegrad.gen` emits it, as Verilog and all that belongs to that. The command line is
``nibblegrad``, or ``python -m nibblegrad``.

>>> import numpy as np, nibblegrad as ng
>>> weights = np.array([0.3, -0.12, 0.05])
>>> ng.quantize(weights, ng.Scale.from_float(1 / 0.1), "int4").codes
array([ 3, -1,  0], dtype=int8)
>>> ng.quantize_fp4(weights, "fp4_radix2", -8, "nearest").scaled
array([ 76.8 , -30.72,  12.8 ])
"""

from nibblegrad.golden.cores.fp4_quantizer import (
    Fp4Mode,
    Fp4Quantized,
    Underflow,
    quantize_fp4,
    scale_exponent,
)
from nibblegrad.golden.cores.quantizer import (
    InRange,
    Quantized,
    dequantize,
    gradient_factor,
    initial_step,
    quantize,
)
from nibblegrad.golden.cores.scale_multiplier import scale_to_float, scale_to_fp4, scale_to_integer
from nibblegrad.golden.cores.shift_multiply_array import ShiftOperand, matmul, signed_digits
from nibblegrad.golden.cores.step_gradient import step_gradient
from nibblegrad.golden.cores.stochastic_rounder import (
    Rounded,
    round_fixed,
    round_float,
    round_float_codes,
)
from nibblegrad.golden.driver.cycles import step_cycles
from nibblegrad.golden.driver.device_backend import DeviceBackend
from nibblegrad.golden.engine.command import CoreSize
from nibblegrad.golden.engine.training_core import TrainingCore
from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.formats import (
    BFLOAT16,
    DLFLOAT16,
    FLOAT16,
    FLOAT32,
    FloatFormat,
    Fp4Format,
    IntFormat,
    Scale,
)
from nibblegrad.golden.numbers.random_bits import RandomBits, seed_state
from nibblegrad.golden.numbers.rounding import RoundMode
from nibblegrad.golden.training.backend import NumpyBackend
from nibblegrad.golden.training.data import Dataset, digits
from nibblegrad.golden.training.data import load as load_dataset
from nibblegrad.golden.training.methods import RECIPES
from nibblegrad.golden.training.networks import Settings
from nibblegrad.golden.training.recipes import Method, Recipe
from nibblegrad.golden.training.trainer import History, Trainer

__all__ = [
    "BFLOAT16",
    "DLFLOAT16",
    "FLOAT16",
    "FLOAT32",
    "RECIPES",
    "CoreSize",
    "Dataset",
    "DeviceBackend",
    "FloatFormat",
    "Fp4Format",
    "Fp4Mode",
    "Fp4Quantized",
    "History",
    "InRange",
    "InputError",
    "IntFormat",
    "Method",
    "NumpyBackend",
    "Quantized",
    "RandomBits",
    "Recipe",
    "RoundMode",
    "Rounded",
    "Scale",
    "Settings",
    "ShiftOperand",
    "Trainer",
    "TrainingCore",
    "Underflow",
    "dequantize",
    "digits",
    "gradient_factor",
    "initial_step",
    "load_dataset",
    "matmul",
    "quantize",
    "quantize_fp4",
    "round_fixed",
    "round_float",
    "round_float_codes",
    "scale_exponent",
    "scale_to_float",
    "scale_to_fp4",
    "scale_to_integer",
    "seed_state",
    "signed_digits",
    "step_cycles",
    "step_gradient",
]
