"""What holds for every core with registers: its program, at any pace, and after a reset in it.

The bench of such a core imports these tests, as those of cores with streams do. Latencies depend on
what is asked for, and are the business of the core's own bench.
"""

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, with_timeout
from cocotbext.axi import AxiStreamFrame

from nibblegrad.gen.program import Access
from verif.engine.core_driver import PATIENCE, CoreDriver
from verif.support.benches import benched_module
from verif.support.coverage import Coverage
from verif.support.sim import bench_params

__all__ = ["matches_program", "recovers_from_reset_in_mid_program"]

MODULE = benched_module()
STEPS = MODULE.registration.program(MODULE)


async def begin(dut):
    """Start the clock, and reset."""
    Clock(dut.aclk, 10, unit="ns").start()
    driver = CoreDriver(dut, MODULE.size())
    await driver.reset()
    return driver


def frame_of(dut, bus, beats):
    """Lay beats out as the bytes of a stream."""
    width = len(getattr(dut, f"{bus}_tdata")) // 8
    return b"".join(beat["tdata"].to_bytes(width, "little") for beat in beats)


async def play(driver, steps):
    """Do the steps of a program; returns how many words were compared."""
    dut, expected, compared = driver.dut, [], 0
    for step in steps:
        match step:
            case Access(register, word, writes=True):
                await driver.write(register, word)
            case Access(register, word):
                got = await driver.read(register) & 0xFFFF_FFFF
                assert got == word, f"{register} is {got:#x}, not {word:#x}"
                compared += 1
            case ("s_axis", beats):
                driver.source.send_nowait(AxiStreamFrame(frame_of(dut, "s_axis", beats)))
            case (bus, beats):
                expected.append(frame_of(dut, bus, beats))
            case dict():
                # A write is answered in the cycle in which it takes effect.
                await ClockCycles(dut.aclk, 1)
                for name, value in step.items():
                    got = int(getattr(dut, name).value)
                    assert got == value, f"{name} is {got}, not {value}"
            case None:
                while expected:
                    frame = await with_timeout(driver.sink.recv(), PATIENCE, "ns")
                    wanted = expected.pop(0)
                    assert bytes(frame.tdata) == wanted, f"{frame.tdata.hex()}, not {wanted.hex()}"
                    compared += len(wanted)
                await driver.finish()
    return compared


@cocotb.test()
async def matches_program(dut):
    """Every word that the golden model says, however often any of the channels pauses."""
    driver = await begin(dut)
    coverage = Coverage(bench_params()["core"], ["programs"])
    for pause in (0, 0.5, 0.9):
        await driver.reset()
        driver.stall(pause)
        coverage.vectors(await play(driver, STEPS))
        coverage.cover(programs=1)
    coverage.close()


@cocotb.test()
async def recovers_from_reset_in_mid_program(dut):
    """A reset gives everything up, wherever in the program it comes."""
    driver = await begin(dut)
    waits = [number for number, step in enumerate(STEPS) if step is None]
    for number in waits:
        # Up to a command, for whose end nobody waits.
        await play(driver, [step for step in STEPS[:number] if not isinstance(step, dict)])
        await ClockCycles(dut.aclk, number % 7)
        await driver.reset()
        driver.sink.clear()
    assert await play(driver, STEPS)
