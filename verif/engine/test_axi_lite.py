# amaranth: UnusedElaboratable=no
"""The register block, with the table of the training core and with one that is all corner cases."""

import dataclasses
import re

import pytest
from amaranth.sim import Simulator

from nibblegrad.golden.engine.registers import REGISTERS, Field, Register
from nibblegrad.golden.errors import InputError
from nibblegrad.hdl.engine.axi_lite import AxiLiteRegisters
from verif.paths import ROOT


def value(name, offset, access, bits=32, signed=False):
    return Register(name, offset, access, "", (Field("value", 0, bits, "", signed),))


# Fields with gaps, across bytes and up to the last bit; addresses with gaps.
CORNERS = (
    value("NARROW", 0x00, "rw", 3, signed=True),
    Register("STATE", 0x04, "ro", "", (
        Field("low", 1, 2, ""),
        Field("middle", 6, 11, "", signed=True),
        Field("high", 31, 1, ""),
    )),
    Register("SETTING", 0x08, "rw", "", (
        Field("low", 0, 5, "", signed=True),
        Field("middle", 9, 10, ""),
        Field("high", 31, 1, ""),
    )),
    value("KIND", 0x0C, "ro"),
    value("FULL", 0x20, "rw"),
    Register("ACTION", 0x24, "wo", "", (Field("one", 0, 1, ""), Field("many", 12, 9, ""))),
    value("WORD", 0x2C, "wo"),
    Register("EVENTS", 0x30, "w1c", "", (Field("low", 0, 1, ""), Field("high", 17, 3, ""))),
    value("COUNT", 0x44, "ro", 7),
)  # fmt: skip

# Verilator gives its own meaning to a port of this name; inside the core it is no port.
CORE = tuple(
    dataclasses.replace(register, name="EVENTS") if register.name == "INTERRUPT" else register
    for register in REGISTERS
)
CORE_CONSTANTS = {"ID": 0x4E424C47, "VERSION": 0xFFFF_FFFF, "SIZE": 0x8000_0001}


@pytest.mark.parametrize(
    "registers, constants, operations",
    [(CORNERS, {"KIND": 0xA5000001}, 600), (CORE, CORE_CONSTANTS, 1200)],
    ids=["corners", "core"],
)
def test_rtl_keeps_the_rules_of_axi(sim, registers, constants, operations):
    component = AxiLiteRegisters(registers, constants)
    params = {
        "registers": [dataclasses.asdict(register) for register in registers],
        "constants": constants,
        "operations": operations,
        "address_bits": len(component.s_axi.awaddr),
    }
    sim(component, "axi_lite", params)


def test_members_follow_the_table():
    component = AxiLiteRegisters(constants={"ID": 1})
    members = component.signature.members
    assert len(component.s_axi.awaddr) == len(component.s_axi.araddr) == 9
    assert "id" not in members and "version" in members
    assert component.fp4_exponent.shape().signed and len(component.fp4_exponent) == 8
    assert component.scale.exponent.shape().signed and len(component.scale.significand) == 16
    assert component.command.shape().size == 21 and len(component.command_written) == 1
    assert component.interrupt_set.shape() == component.interrupt.shape()
    assert component.interrupt.shape().size == 2


@pytest.mark.parametrize(
    "constants, message",
    [
        ({"BATCH": 1}, "Constant BATCH has no ro register of that name; remove it"),
        ({"NOTHING": 1}, "Constant NOTHING has no ro register of that name; remove it"),
        ({"ID": 1 << 32}, "Constant ID must be 0 to 2**32 - 1, not 4294967296"),
    ],
)
def test_constants_are_checked(constants, message):
    with pytest.raises(InputError) as error:
        AxiLiteRegisters(constants=constants)
    assert str(error.value) == message


BY_OFFSET = {register.offset: register for register in REGISTERS}
PAGE = ROOT / "docs" / "registers.md"
ACCESS = {
    "read and write": "rw",
    "read only": "ro",
    "write only": "wo",
    "write 1 to clear": "w1c",
    "addresses without a register": None,
}


def test_page_says_how_the_bus_answers():
    """Every address of the map, and those beyond, read and written with ones."""
    rows = re.findall(
        r"^\| ([^|]+) \| ((?:OKAY|SLVERR)[^|]*) \| ([^|]+) \|$", PAGE.read_text(), re.M
    )
    said = {ACCESS[access]: (read, write) for access, read, write in rows}
    assert said.keys() == set(ACCESS.values())
    access = {register.offset: register.access for register in REGISTERS}
    dut, codes = AxiLiteRegisters(), {"OKAY": 0, "SLVERR": 2}

    async def ask(ctx):
        ctx.set(dut.s_axi.rready, 1)
        ctx.set(dut.s_axi.bready, 1)
        ctx.set(dut.s_axi.wstrb, 0b1111)
        ctx.set(dut.s_axi.wdata, 0xFFFF_FFFF)
        await ctx.tick().repeat(2)
        for address in range(0, 512, 4):
            read, write = said[access.get(address)]
            ctx.set(dut.s_axi.awaddr, address)
            ctx.set(dut.s_axi.awvalid, 1)
            ctx.set(dut.s_axi.wvalid, 1)
            await ctx.tick()
            ctx.set(dut.s_axi.awvalid, 0)
            ctx.set(dut.s_axi.wvalid, 0)
            (response,) = await ctx.tick().sample(dut.s_axi.bresp).until(dut.s_axi.bvalid)
            assert response == codes[re.match(r"\w+", write)[0]], hex(address)
            ctx.set(dut.s_axi.araddr, address)
            ctx.set(dut.s_axi.arvalid, 1)
            await ctx.tick()
            ctx.set(dut.s_axi.arvalid, 0)
            word, response = (
                await ctx.tick().sample(dut.s_axi.rdata, dut.s_axi.rresp).until(dut.s_axi.rvalid)
            )
            assert response == codes[re.match(r"\w+", read)[0]], hex(address)
            if "and 0" in read:
                assert word == 0, hex(address)
            if "written last" in read:
                fields = sum(part.mask << part.low for part in BY_OFFSET[address].fields)
                assert word == fields, hex(address)

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(ask)
    simulator.run()
