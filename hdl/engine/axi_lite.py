"""Registers behind an AXI4-Lite port, made from a table."""

# Ref: Arm IHI 0022H.c, AMBA AXI and ACE Protocol Specification, chapter B1

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from nibblegrad.golden.engine.registers import REGISTERS
from nibblegrad.golden.errors import InputError
from nibblegrad.hdl.base.select import equals

__all__ = ["GROUP", "OKAY", "SLVERR", "WORD", "AxiLiteRegisters", "axi_lite_signature"]

OKAY = 0
SLVERR = 2
WORD = 32
#: Registers that are chosen among in one stage of a read.
GROUP = 4


def axi_lite_signature(address_bits, data_bits=WORD):
    """Describe an AXI4-Lite, from the side of the manager.

    Parameters
    ----------
    address_bits : int
        Width of an address.
    data_bits : int
        Width of a word, 32 or 64.

    Returns
    -------
    wiring.Signature
        The members are the signals of the specification, in lower case.
    """
    return wiring.Signature(
        {
            "awaddr": Out(address_bits),
            "awprot": Out(3),
            "awvalid": Out(1),
            "awready": In(1),
            "wdata": Out(data_bits),
            "wstrb": Out(data_bits // 8),
            "wvalid": Out(1),
            "wready": In(1),
            "bresp": In(2),
            "bvalid": In(1),
            "bready": Out(1),
            "araddr": Out(address_bits),
            "arprot": Out(3),
            "arvalid": Out(1),
            "arready": In(1),
            "rdata": In(data_bits),
            "rresp": In(2),
            "rvalid": In(1),
            "rready": Out(1),
        }
    )


def _shape(field):
    return signed(field.bits) if field.signed else unsigned(field.bits)


def _layout(register):
    """Shape of a register's members: a plain number where ``value`` is its only field."""
    if [field.name for field in register.fields] == ["value"]:
        return _shape(register.fields[0])
    return data.StructLayout({field.name: _shape(field) for field in register.fields})


def _pick(register, word):
    """Pick the bits of a member out of a 32-bit word."""
    return Cat(word[field.low : field.low + field.bits] for field in register.fields)


def _place(register, packed):
    """Place the bits of a member in a 32-bit word; the inverse of :func:`_pick`."""
    parts, end, taken = [], 0, 0
    for field in register.fields:
        if field.low > end:
            parts.append(Const(0, field.low - end))
        parts.append(packed[taken : taken + field.bits])
        taken += field.bits
        end = field.low + field.bits
    return Cat(*parts)


class AxiLiteRegisters(wiring.Component):
    """The registers of a table, read and written over AXI4-Lite.

    Unless held, a write takes effect 4 cycles after its address and its data have been accepted,
    whichever came last, and its response comes in the same cycle; a read brings what its register
    held 2 cycles after the address was accepted, and has a latency of 4 cycles. A write can be
    done every third cycle, a read every fourth. There is no path through gates from an input to an
    output.

    Reads of ``wo`` registers give 0. Reads and writes of addresses without a register, and writes
    to ``ro`` registers, change nothing and are answered with SLVERR. The lowest two bits of an
    address are ignored. Bytes without strobe keep their value in ``rw`` registers; in ``wo`` and
    ``w1c`` registers they count as zeros, and a write without any strobe is none.

    Parameters
    ----------
    registers : sequence of nibblegrad.golden.engine.registers.Register
        The table.
    constants : dict of str to int
        What the ``ro`` registers hold that never change, by name; they have no member.

    Members
    -------
    s_axi : ``In(axi_lite_signature(...))``
        AXI4-Lite, with 32 bits of data and an address as wide as the table needs. ``awprot`` and
        ``arprot`` are ignored.
    hold : ``In(1)``
        Makes writes wait, while what was written last is still being looked at.
    {x}
        For each register X, in lower case, a number if its only field is ``value`` and a structure
        of its fields if not. ``rw``: ``Out``, what was written last, 0 after reset. ``ro``:
        ``In``, what is read. ``wo``: ``Out``, what was written last, valid from the cycle of
        ``{x}_written`` on. ``w1c``: ``Out``, the bits that are set.
    {x}_written : ``Out(1)``
        For each ``wo`` register: pulse of one cycle, it was written.
    {x}_set : ``In``
        For each ``w1c`` register, same shape as ``{x}``: pulses that set bits. Setting wins over
        clearing.

    Raises
    ------
    InputError
        If a constant has no ``ro`` register, or does not fit 32 bits.
    """

    latency = 4
    #: Cycles from a write to the next one, and from a read to the next one.
    write_interval = 3
    read_interval = 4

    def __init__(self, registers=REGISTERS, constants=None):
        self._registers = tuple(registers)
        self._constants = dict(constants or {})
        read_only = {register.name for register in self._registers if register.access == "ro"}
        for name, value in self._constants.items():
            if name not in read_only:
                raise InputError(f"Constant {name} has no ro register of that name; remove it")
            if not 0 <= value < 1 << WORD:
                raise InputError(f"Constant {name} must be 0 to 2**32 - 1, not {value}")
        address_bits = max(register.offset + 3 for register in self._registers).bit_length()
        members = {
            "s_axi": In(axi_lite_signature(address_bits)),
            "hold": In(1),
        }
        for register in self._registers:
            name, shape = register.name.lower(), _layout(register)
            if register.access != "ro":
                members[name] = Out(shape)
            elif register.name not in self._constants:
                members[name] = In(shape)
            if register.access == "wo":
                members[f"{name}_written"] = Out(1)
            if register.access == "w1c":
                members[f"{name}_set"] = In(shape)
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        self._write(m)
        self._read(m)
        return m

    def _bits(self, name):
        """Bits of a member, whatever its shape."""
        return Value.cast(getattr(self, name)).as_unsigned()

    def _write(self, m):
        """Wait for address and data, write, and respond."""
        write = Signal()
        awaddr, has_address = self._accept(m, "aw", {"addr": self.s_axi.awaddr}, write)
        word, has_data = self._accept(
            m, "w", {"data": self.s_axi.wdata, "strb": self.s_axi.wstrb}, write
        )
        # What is asked for is decoded a cycle before it is decided upon, and done in the next one,
        # each register by a bit of its own.
        is_writable = Signal()
        decoded = Signal()
        writing = Signal()
        m.d.comb += write.eq(decoded & ~self.s_axi.bvalid & ~self.hold)
        m.d.sync += [decoded.eq(has_address & has_data & ~write), writing.eq(write)]
        with m.If(writing):
            m.d.sync += self.s_axi.bvalid.eq(1)
            m.d.sync += self.s_axi.bresp.eq(Mux(is_writable, OKAY, SLVERR))
        with m.Elif(self.s_axi.bready):
            m.d.sync += self.s_axi.bvalid.eq(0)

        mask = Signal(WORD)
        written = Signal(WORD)
        m.d.comb += mask.eq(Cat(strobe.replicate(8) for strobe in word["strb"]))
        m.d.comb += written.eq(word["data"] & mask)
        writable = [register for register in self._registers if register.access != "ro"]
        found = Signal(len(writable))
        hit = Signal(len(writable))
        change = Signal(len(writable))
        m.d.sync += [
            is_writable.eq(found.any()),
            hit.eq(found & word["strb"].any().replicate(len(hit))),
            change.eq(hit & write.replicate(len(hit))),
        ]
        for k, register in enumerate(writable):
            number, wanted = awaddr["addr"][2:], register.offset >> 2
            # Compared with 0 it would be emitted as a negation of several bits.
            m.d.comb += found[k].eq(number == wanted if wanted else ~number.any())
            m.d.sync += self._before(register)
            with m.If(change[k]):
                m.d.sync += self._change(register, written, mask)

    def _before(self, register):
        """Statements for a register that nobody writes."""
        name = register.name.lower()
        if register.access == "wo":
            return [getattr(self, f"{name}_written").eq(0)]
        if register.access == "w1c":
            return [self._bits(name).eq(self._bits(name) | self._bits(f"{name}_set"))]
        return []

    def _change(self, register, written, mask):
        """Statements that write a register."""
        name = register.name.lower()
        member = self._bits(name)
        new = _pick(register, written)
        if register.access == "rw":
            return [member.eq((member & ~_pick(register, mask)) | new)]
        if register.access == "wo":
            return [member.eq(new), getattr(self, f"{name}_written").eq(1)]
        return [member.eq((member & ~new) | self._bits(f"{name}_set"))]

    def _read(self, m):
        """Wait for an address, and answer with what its register holds."""
        read = Signal()
        araddr, has_address = self._accept(m, "ar", {"addr": self.s_axi.araddr}, read)
        number = araddr["addr"][2:]
        # A stage to decode the address, with a bit for each register, so that each of them has few
        # users; one to choose in each group of registers; one to bring the groups together.
        stages = Signal(2)
        asked = Signal(len(self._registers), reset_less=True)
        m.d.comb += read.eq(stages[1] & ~self.s_axi.rvalid)
        m.d.sync += stages.eq(Mux(read, 0, Cat(has_address, stages[0])))
        found, is_readable = Const(0, WORD), Const(0, 1)
        for group, first in enumerate(range(0, len(self._registers), GROUP)):
            chosen = Signal(WORD, name=f"group_{group}", reset_less=True)
            exists = Signal(name=f"group_{group}_exists", reset_less=True)
            words = Const(0, WORD)
            for k, register in enumerate(self._registers[first : first + GROUP], first):
                m.d.sync += asked[k].eq(equals(number, register.offset >> 2))
                if register.access != "wo":
                    words |= Mux(asked[k], self._word(register), 0)
            m.d.sync += [chosen.eq(words), exists.eq(asked[first : first + GROUP].any())]
            found |= chosen
            is_readable |= exists
        with m.If(read):
            m.d.sync += [
                self.s_axi.rvalid.eq(1),
                self.s_axi.rdata.eq(found),
                self.s_axi.rresp.eq(Mux(is_readable, OKAY, SLVERR)),
            ]
        with m.Elif(self.s_axi.rready):
            m.d.sync += self.s_axi.rvalid.eq(0)

    def _word(self, register):
        """Find what a read of a register brings."""
        if register.name in self._constants:
            return Const(self._constants[register.name], WORD)
        return _place(register, self._bits(register.name.lower()))

    def _accept(self, m, channel, parts, release):
        """Take a transfer of an incoming channel and hold it until ``release``.

        Ready is a register of its own rather than "nothing is held": so it is 0 in reset, and a
        master that comes out of reset earlier loses nothing.
        """
        valid = getattr(self.s_axi, f"{channel}valid")
        ready = getattr(self.s_axi, f"{channel}ready")
        held = Signal(name=f"{channel}_held")
        transfer = {
            part: Signal.like(port, name=f"{channel}_{part}", reset_less=True)
            for part, port in parts.items()
        }
        with m.If(valid & ready):
            m.d.sync += [held.eq(1), ready.eq(0)]
            m.d.sync += [transfer[part].eq(port) for part, port in parts.items()]
        with m.Elif(release | ~held):
            m.d.sync += [held.eq(0), ready.eq(1)]
        return transfer, held
