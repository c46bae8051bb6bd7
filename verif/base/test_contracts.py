# amaranth: UnusedElaboratable=no
"""Promises: named by every simulation that breaks one, and absent from what is emitted."""

import pytest
from amaranth import ClockDomain, Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from nibblegrad.gen import config
from nibblegrad.gen.emission.verilog import to_verilog
from nibblegrad.hdl.base.contracts import checked, promise, promise_steady
from nibblegrad.hdl.base.event_counters import EventCounters
from verif.support.marks import slow
from verif.support.simulation import simulate

#: Modules with promises in them: all but one, which relies on nothing.
PROMISING = tuple(name for name in config.load(config.DEFAULT) if name != "step_gradient")


class Narrow(EventCounters):
    """Counters that promise what does not hold."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        promise(m, "all lanes hit at once never", ~self.hit.all())
        return m


class Guarded(wiring.Component):
    """Promises that its input is not set; it is, where a test says so."""

    value: In(1)
    seen: Out(1)

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.seen.eq(self.value)
        promise(m, "the input is never set", ~self.value)
        return m


def test_cocotb_bench_names_a_broken_promise(sim):
    with pytest.raises(AssertionError, match="all lanes hit at once never"):
        sim(Narrow(["hit"], 3, 2), "event_counters", {"lanes": 3, "bits": 2})


@pytest.mark.parametrize("in_reset", [False, True])
def test_nothing_is_promised_in_reset(in_reset):
    module = Module()
    module.domains.sync = domain = ClockDomain()
    module.d.comb += domain.rst.eq(in_reset)
    module.submodules.part = part = Guarded()

    async def bench(ctx):
        ctx.set(part.value, 1)
        for _ in range(3):
            await ctx.tick()

    if in_reset:
        simulate(module, bench)
    else:
        with pytest.raises(AssertionError, match="the input is never set"):
            simulate(module, bench)


@pytest.mark.parametrize("shape", [4, signed(4)], ids=["unsigned", "signed"])
def test_a_setting_that_stands_still_is_seen_to(shape):
    """Whatever its value: every one is held while something is inside, and each change is seen."""
    module, setting, inside = Module(), Signal(shape), Signal()

    async def bench(ctx):
        ctx.set(setting, -1 if setting.shape().signed else 15)
        await ctx.tick()
        ctx.set(inside, 1)
        for _ in range(3):
            await ctx.tick()
        changes.append(ctx.get(setting))
        ctx.set(setting, 7)
        for _ in range(2):
            await ctx.tick()

    changes: list[int] = []
    with checked():
        promise_steady(module, inside, "a tensor", scale=setting)
    with pytest.raises(AssertionError, match="scale stands still while a tensor is inside"):
        simulate(module, bench)
    assert changes == [-1 if setting.shape().signed else 15]


@pytest.mark.parametrize(
    "name", [slow(name) if name == "training_core" else name for name in PROMISING]
)
def test_emitted_verilog_has_none(name):
    """Nothing of it: with its assertions taken out, it would be another text."""
    component = config.load(config.DEFAULT)[name].build
    emitted = to_verilog(component(), name)
    assert "assert" not in emitted and "$write" not in emitted
    with checked():
        simulated = to_verilog(component(), name)
    assert simulated.count("      assert (") >= 1
