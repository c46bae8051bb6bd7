"""The multiplier-free lane: decoding of the shift operand, and the shifter."""

# Ref: US12443841B2, claim 1 (binary shifters; exponent bits for shift input)

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from nibblegrad.golden.cores.shift_multiply_array import ShiftOperand
from nibblegrad.hdl.base.pipeline import delay

__all__ = ["ShiftControl", "ShiftDecoder", "ShiftLane", "ShiftLanes"]


class ShiftLanes:
    """The lanes of formats whose magnitudes are powers of a radix: each product is a shift.

    See :mod:`nibblegrad.hdl.array.lanes` for what the array asks of lanes.

    Parameters
    ----------
    fmt : Fp4Format
        The format. Magnitudes are 0 and ``2**(log2_radix * k)``, and a code is a sign and, in its
        lower bits, 0 or ``k + 1``.
    """

    def __init__(self, fmt):
        self.log2_radix = fmt.log2_radix

    @property
    def amount_bits(self):
        """Width of a shift: the exponent bits, and in radix 4 a bit for odd digits of INT4."""
        return 2 + self.log2_radix

    def product_bits(self, integer_bits):
        """Find the width of a product."""
        return integer_bits + 6 * self.log2_radix

    def control(self):
        """Lay out what drives a shifter.

        The product is ``(-1)**negate * (integer << amount >> log2_radix)``, or zero. For an FP4
        code ``amount`` is its exponent bits, times two in radix 4; what is shifted out is zero.
        """
        return data.StructLayout({"enable": 1, "negate": 1, "amount": self.amount_bits})

    def stages(self, digits=True):
        """List the bits of the amount that need a stage; the lowest of radix 4 is for digits."""
        return range(0 if digits else self.log2_radix - 1, self.amount_bits)

    def stage_control(self, structure, digits=True):
        """Lay out a shift control whose parts come when the stages of a lane want them.

        ``pending`` comes with the product: whether a one is still to be added to it. ``fold`` is
        the last bit of ``amount`` once more, with the product.
        """
        stages = len(self.stages(digits)) if structure.staged else 1
        return data.StructLayout(
            {
                "enable": 1,
                "negate": stages,
                "amount": self.amount_bits,
                "pending": 1,
                "fold": 1,
            }
        )

    def latency(self, structure, digits=True):
        """Count the register stages of a lane."""
        if not structure.registered:
            return 0
        return len(self.stages(digits)) if structure.staged else 1

    def decoder(self):
        """Make what decodes a shift operand."""
        return ShiftDecoder(self)

    def controller(self, structure, digits=True):
        """Make what brings the parts of a control to the stages of a lane."""
        return ShiftControl(self, structure, digits)

    def lane(self, structure, integer_bits, digits=True, folded=False):
        """Make a lane."""
        return ShiftLane(self, structure, integer_bits, digits, folded)


class ShiftDecoder(wiring.Component):
    """Decode a shift operand: an FP4 code, or one signed digit of an INT4 number.

    Shared by the rows of the array. Combinational: the latency is 0 cycles. Digit 0 of INT4 is
    -2 to 1 from bits 0 and 1; digit 1 is -2 to 2 from bits 1 to 3, with weight 4. A digit is a
    power of two with a sign, and so an FP4 code: the hardware only makes one of it.

    Parameters
    ----------
    lanes : ShiftLanes
        Of which format.

    Members
    -------
    code : ``In(4)``
        FP4 code or INT4 number.
    operand : ``In(1)``
        A :class:`nibblegrad.golden.cores.shift_multiply_array.ShiftOperand`.
    digit : ``In(1)``
        Which digit of INT4.
    control : ``Out(lanes.control())``
        What drives the shifter.
    """

    latency = 0

    def __init__(self, lanes):
        self._log2_radix = lanes.log2_radix
        super().__init__(
            {
                "code": In(4),
                "operand": In(1),
                "digit": In(1),
                "control": Out(lanes.control()),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # Booth: the digit of bits (high, low) with the bit below is -2 * high + low + below.
        high = Mux(self.digit, self.code[3], self.code[1])
        low = Mux(self.digit, self.code[2], self.code[0])
        below = self.digit & self.code[1]
        single = low ^ below
        exponent = self.code[:3]
        with m.If(self.operand == ShiftOperand.INT4):
            # Twice the digit's number, and one more where the magnitude is 2.
            twos = Cat(~single, self.digit)
            m.d.comb += [
                self.control.negate.eq(high & ~(low & below)),
                self.control.enable.eq(single | (high ^ below)),
                self.control.amount.eq(twos + self._log2_radix),
            ]
        with m.Else():
            m.d.comb += [
                self.control.enable.eq(exponent.any()),
                self.control.negate.eq(self.code[3] & exponent.any()),
                self.control.amount.eq(exponent << (self._log2_radix - 1)),
            ]
        return m


class ShiftControl(wiring.Component):
    """Delay the parts of a shift control until the stages of a lane want them.

    Shared by the rows of the array. The latency of each part is that of the stage it belongs to.

    Parameters
    ----------
    lanes : ShiftLanes
        Of which format.
    structure : Structure
        Structure of the lane.
    digits : bool
        Whether digits of INT4 come as well.

    Members
    -------
    control : ``In(lanes.control())``
        Decoded shift operand.
    o : ``Out(lanes.stage_control(structure, digits))``
        Its parts in time.
    """

    def __init__(self, lanes, structure, digits=True):
        self._structure = structure
        self._stages = lanes.stages(digits)
        self.latency = lanes.latency(structure, digits)
        super().__init__(
            {
                "control": In(lanes.control()),
                "o": Out(lanes.stage_control(structure, digits)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        control, o = self.control, self.o

        if self._structure.staged:
            for k, bit in enumerate(self._stages):
                cycles = min(k, self.latency)
                m.d.comb += [
                    o.amount[bit].eq(delay(m, f"amount_{bit}", control.amount[bit], cycles)),
                    o.negate[k].eq(delay(m, f"negate_{k}", control.negate, cycles)),
                ]
            m.d.comb += [
                o.enable.eq(delay(m, "enable", control.enable, min(1, self.latency))),
                o.fold.eq(delay(m, "fold", control.amount[-1], self.latency)),
            ]
        else:
            m.d.comb += [
                o.amount.eq(control.amount),
                o.negate.eq(control.negate),
                o.enable.eq(control.enable),
            ]
        m.d.comb += o.pending.eq(delay(m, "pending", control.negate, self.latency))
        return m


class ShiftLane(wiring.Component):
    """Shift an integer, and invert it for a negative product.

    Where the shift is cut into stages, the first one inverts, and later ones fill with the sign, as
    if what was shifted in had been inverted too: each bit is a function of four. The exponent bits
    drive the stages as they are, so that the product has ``log2_radix`` bits too many, which are
    left out.

    The latency is that of :class:`ShiftLanes`.

    Parameters
    ----------
    lanes : ShiftLanes
        Of which format.
    structure : Structure
        Structure of the lane.
    integer_bits : int
        Width of the signed integer.
    digits : bool
        Whether digits of INT4 come as well.
    folded : bool
        Whether the last stage of a shift cut into stages is left to the adder behind.

    Members
    -------
    operand : ``In(signed(integer_bits))``
        Integer operand.
    control : ``In(lanes.stage_control(structure, digits))``
        Shift control, each part in time.
    product : ``Out(signed(lanes.product_bits(integer_bits)))``
        Product; a negative one still lacks the addition of 1. Where ``folded``: the product if
        ``control.fold`` is 0.
    shifted : ``Out(signed(lanes.product_bits(integer_bits)))``
        Where ``folded``: the product if ``control.fold`` is 1.
    """

    def __init__(self, lanes, structure, integer_bits, digits=True, folded=False):
        self._structure = structure
        self._log2_radix = lanes.log2_radix
        self._stages = list(lanes.stages(digits))
        self._folded = folded
        self.latency = lanes.latency(structure, digits)
        product = signed(lanes.product_bits(integer_bits))
        super().__init__(
            {
                "operand": In(signed(integer_bits)),
                "control": In(lanes.stage_control(structure, digits)),
                "product": Out(product),
                "shifted": Out(product),
            }
        )

    def elaborate(self, platform):
        m = Module()
        if self._structure.staged:
            self._shift_in_stages(m)
        else:
            self._shift_at_once(m)
        return m

    def _shift_at_once(self, m):
        width = len(self.product)
        kept = Signal.like(self.operand, name="kept")
        shifted = Signal(signed(width + self._log2_radix), name="left")
        product = Signal(signed(width), name="product_register", reset_less=True)
        m.d.comb += [
            kept.eq(self.operand & self.control.enable.replicate(len(kept))),
            shifted.eq(kept << self.control.amount),
            self.product.eq(product),
        ]
        inverted = shifted[self._log2_radix :] ^ self.control.negate.replicate(width)
        m.d.sync += product.eq(inverted.as_signed())

    def _shift_in_stages(self, m):
        value = self.operand
        domain = m.d.sync if self._structure.registered else m.d.comb
        for k, bit in enumerate(self._stages):
            distance, negate = 1 << bit, self.control.negate[k]
            # Before the first stage nothing is inverted, so zeros come in.
            fill = negate.replicate(distance) if k else Const(0, distance)
            near = Cat(value, value[-1].replicate(distance))
            far = Cat(fill, value)
            if self._folded and k == len(self._stages) - 1:
                self._leave_last(m, value, distance)
                return
            chosen = Mux(self.control.amount[bit], far, near)
            if k == 0:
                chosen ^= negate.replicate(len(chosen))
            elif k == 1:
                chosen &= self.control.enable.replicate(len(chosen))
            value = Signal(signed(len(chosen)), name=f"stage_{k}", reset_less=True)
            domain += value.eq(chosen.as_signed())
        m.d.comb += self.product.eq(value[self._log2_radix :].as_signed())

    def _leave_last(self, m, value, distance):
        waiting = Signal(value.shape(), name="waiting", reset_less=True)
        m.d.sync += waiting.eq(value)
        low, width = self._log2_radix, len(self.product)
        far = Cat(self.control.pending.replicate(distance), waiting)
        near = Cat(waiting, waiting[-1].replicate(distance))
        m.d.comb += [
            self.shifted.eq(far[low : low + width].as_signed()),
            self.product.eq(near[low : low + width].as_signed()),
        ]
