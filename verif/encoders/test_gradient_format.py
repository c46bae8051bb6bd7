# amaranth: UnusedElaboratable=no
"""Formats of gradients: what is registered for a type is found for those derived from it."""

from dataclasses import dataclass

import numpy as np
import pytest

from nibblegrad.golden.cores import gradient_quantizer
from nibblegrad.golden.cores.fp4_quantizer import Fp4Mode, quantize_fp4, scale_exponent
from nibblegrad.golden.cores.gradient_quantizer import choose_exponent, quantize_gradient
from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers import gradient_format
from nibblegrad.golden.numbers.formats import Fp4Format
from nibblegrad.golden.numbers.gradient_format import GradientFormat, register_format
from nibblegrad.hdl.array.lanes import lanes_of
from nibblegrad.hdl.array.shift_lane import ShiftLanes
from nibblegrad.hdl.array.structures import PLAIN
from nibblegrad.hdl.encoders import gradient_encoder
from nibblegrad.hdl.encoders.fp4_encoder import Fp4Encoder
from nibblegrad.hdl.encoders.gradient_encoder import encoder_of

X = np.linspace(-3.0, 4.0, 64)


@dataclass(frozen=True)
class Alike(Fp4Format):
    """FP4 by another name."""

    identifier = 7

    @property
    def name(self):
        return f"alike_radix{1 << self.log2_radix}"


@dataclass(frozen=True)
class Lone(GradientFormat):
    """A format of which nothing is registered."""

    name = "lone"
    identifier = 9
    is_stochastic = False
    phases = 1
    numbers = np.array([0, 1, 2, 4, 0, -1, -2, -4], np.float32)


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """A registry that forgets what a test adds."""
    formats = dict(gradient_format.GRADIENT_FORMATS)
    monkeypatch.setattr(gradient_format, "GRADIENT_FORMATS", formats)
    return formats


def test_the_two_are_registered(registry):
    assert registry == {"fp4_radix2": Fp4Format(1), "fp4_radix4": Fp4Format(2)}
    assert [fmt.identifier for fmt in registry.values()] == [1, 2]
    assert register_format(Fp4Format(2)) is registry["fp4_radix4"]


def test_questions_have_an_answer_of_their_own():
    assert Lone().greatest == 4 and Lone().code_bits == 4 and Lone().block is None
    assert Lone().decode([[3, 7]]).tolist() == [[4, -4]]


def test_a_derived_type_has_what_the_other_has(registry):
    fmt = register_format(Alike(1))
    assert registry["alike_radix2"] is fmt
    exponent = choose_exponent(4.0, fmt)
    assert exponent == scale_exponent(4.0, Fp4Format(1))
    found = quantize_gradient(X, fmt, exponent, Fp4Mode.NEAREST)
    wanted = quantize_fp4(X, Fp4Format(1), exponent, Fp4Mode.NEAREST)
    assert found.codes.tolist() == wanted.codes.tolist() and found.codes.any()
    assert encoder_of(fmt) is Fp4Encoder
    lanes = lanes_of(fmt)
    assert isinstance(lanes, ShiftLanes) and lanes.product_bits(5) == 11
    assert lanes.control() == ShiftLanes(Fp4Format(1)).control() and lanes.latency(PLAIN) == 1


def test_what_is_registered_for_a_type_is_taken_first(monkeypatch):
    quantizer = gradient_quantizer.GradientQuantizer(lambda *_, **__: "codes", lambda *_: 5)
    monkeypatch.setitem(gradient_quantizer.QUANTIZERS, Alike, quantizer)
    assert quantize_gradient(X, Alike(1), 0, Fp4Mode.NEAREST) == "codes"
    assert choose_exponent(1.0, Alike(1)) == 5 != choose_exponent(1.0, Fp4Format(1))


@pytest.mark.parametrize(
    "ask, sentence",
    [
        (lanes_of, "Format lone has no lanes; add those of its type to LANES"),
        (encoder_of, "Format lone has no encoder; add that of its type to ENCODERS"),
        (
            lambda fmt: choose_exponent(1.0, fmt),
            "Format lone has no quantiser; add that of its type to QUANTIZERS",
        ),
    ],
)
def test_what_is_missing_is_named(ask, sentence):
    with pytest.raises(InputError) as error:
        ask(Lone())
    assert str(error.value) == sentence


def test_an_encoder_keeps_step_with_the_others(monkeypatch):
    class Slow(Fp4Encoder):
        latency = 7

    monkeypatch.setitem(gradient_encoder.ENCODERS, Lone, Slow)
    message = r"^Slow\.latency must be 6 cycles, as that of the other encoders, not 7$"
    with pytest.raises(InputError, match=message):
        encoder_of(Lone())


@pytest.mark.parametrize(
    "identifier, sentence",
    [
        (2, "Format lone must have a name and an identifier of its own, and fp4_radix4 has 2, too"),
        (0, "Format lone must have an identifier of 1 to 15, not 0"),
        (16, "Format lone must have an identifier of 1 to 15, not 16"),
    ],
)
def test_a_host_can_tell_formats_apart(registry, monkeypatch, identifier, sentence):
    monkeypatch.setattr(Lone, "identifier", identifier)
    with pytest.raises(InputError) as error:
        register_format(Lone())
    assert str(error.value) == sentence and "lone" not in registry
