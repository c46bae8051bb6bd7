# amaranth: UnusedElaboratable=no
"""Pipelines that count their stages: values that meet belong together, whatever their ways."""

import random

import pytest
from amaranth import Module, Signal, signed

from nibblegrad.hdl.base.pipeline import Flow, StableFlow
from verif.support.simulation import registers, simulate


def build(latency):
    """Compute ``(a + b) * a - c``, and whether ``a`` is valid, with ways of different lengths."""
    m = Module()
    ports = {"a": Signal(8), "b": Signal(8), "c": Signal(8), "valid": Signal()}
    flow = Flow(m)
    a, b = flow.input("a", ports["a"]), flow.input("b", ports["b"])
    # It comes two cycles later than the others.
    c = flow.input("c", ports["c"], cycle=2)
    valid = flow.input("valid", ports["valid"], reset=True)
    total = flow.stage("total", lambda x, y: x + y, a, b)
    high, low = flow.stage("high low", lambda x: (x[4:], x[:4]), total)
    high, low = flow.keep("high_kept low_kept", high, low)
    product = flow.stage("product", lambda top, rest, x: ((top << 4) + rest) * x, high, low, a)
    result = flow.stage("result", lambda p, x: p - x, product, c)
    values = flow.close(latency, result=result, valid=valid)
    ports["result"], ports["done"] = Signal(signed(20)), Signal()
    m.d.comb += [ports["result"].eq(values[0]), ports["done"].eq(values[1])]
    return m, ports


def test_values_that_meet_belong_together(request):
    rng = random.Random(request.config.getoption("seed"))
    m, ports = build(5)
    beats = [(*(rng.randrange(256) for _ in "abc"), rng.randrange(2)) for _ in range(300)]

    async def bench(ctx):
        for cycle in range(len(beats)):
            a, b, _, valid = beats[cycle]
            for name, value in (("a", a), ("b", b), ("valid", valid)):
                ctx.set(ports[name], value)
            if cycle >= 2:
                ctx.set(ports["c"], beats[cycle - 2][2])
            if cycle >= 5:
                a, b, c, valid = beats[cycle - 5]
                assert ctx.get(ports["result"]) == (a + b) * a - c
                assert ctx.get(ports["done"]) == valid
            await ctx.tick()

    simulate(m, bench)


@pytest.mark.parametrize("latency", [4, 6])
def test_a_wrong_constant_is_refused(latency):
    message = f"result is there after 5 cycles, where a latency of {latency} is stated"
    with pytest.raises(AssertionError, match=f"^{message}$"):
        build(latency)


def test_nothing_is_there_before_its_time():
    m = Module()
    flow = Flow(m)
    value = flow.stage("sum", lambda x: x + 1, flow.input("x", Signal(4)))
    with pytest.raises(AssertionError, match=r"^sum is there in cycle 1, not 0$"):
        flow.at(value, 0)


def test_those_that_wait_share_their_registers():
    m = Module()
    flow = Flow(m)
    x = flow.input("x", Signal(4))
    y = flow.input("y", Signal(4), cycle=3)
    assert flow.at(x, 2) is flow.at(x, 2)
    flow.stage("one", lambda a, b: a ^ b, x, y)
    flow.stage("two", lambda a, b: a & b, x, y)
    out = Signal(8)
    m.d.comb += out.eq(flow.at(x, 3))
    names = sorted(name for name, _ in registers(m, out))
    assert names == ["one", "two", "x_after_1", "x_after_2", "x_after_3"]


def test_what_has_no_bits_needs_no_register():
    m = Module()
    flow = Flow(m)
    nothing = flow.stage("nothing", lambda x: x[4:], flow.input("x", Signal(4)))
    assert len(flow.at(nothing, 4)) == 0


def test_valid_bits_are_reset_and_data_are_not():
    m, ports = build(5)
    out = Signal(32)
    m.d.comb += out.eq(ports["result"] ^ ports["done"])
    found = dict(registers(m, out))
    assert {name for name, is_reset in found.items() if is_reset} == {
        f"valid_after_{k}" for k in range(1, 6)
    }
    assert {"total", "product", "result"} <= found.keys()


def test_a_setting_is_there_in_every_cycle(request):
    rng = random.Random(request.config.getoption("seed"))
    m = Module()
    x, unit, result = Signal(8), Signal(8), Signal(9)
    flow = Flow(m)
    one = flow.setting("unit", unit)
    value = flow.keep("kept", flow.input("x", x))
    total = flow.stage("total", lambda a, b: a + b, one, value)
    waiting = flow.wait(total, 4)
    assert (value.cycle, total.cycle, waiting.cycle) == (1, 2, 4)
    m.d.comb += result.eq(flow.close(5, result=flow.keep("result", waiting))[0])
    given = [rng.randrange(256) for _ in range(50)]

    async def bench(ctx):
        ctx.set(unit, 77)
        await ctx.tick()
        for cycle, number in enumerate(given):
            ctx.set(x, number)
            if cycle >= 5:
                assert ctx.get(result) == given[cycle - 5] + 77
            await ctx.tick()

    simulate(m, bench)
    # Nothing but the register of the setting holds it.
    assert [name for name, _ in registers(m, result) if name.startswith("unit")] == ["unit"]


@pytest.mark.parametrize("cycle", [1, 3])
def test_what_joins_at_another_time_than_its_users_are_told_is_refused(cycle):
    m = Module()
    flow = Flow(m)
    value = flow.wait(flow.input("x", Signal(4)), 2)
    assert flow.join("noise", Signal(4), 2, value).cycle == 2
    message = f"noise meets x_after_2 after 2 cycles, where {cycle} are stated"
    with pytest.raises(AssertionError, match=f"^{message}$"):
        flow.join("noise", Signal(4), cycle, value)


def test_outputs_are_the_members_of_a_component():
    class Ports:
        sum = Signal(5)
        x = Signal(4)

    m = Module()
    flow = Flow(m)
    x = flow.input("x", Signal(4, init=3))
    flow.deliver(Ports, 1, sum=flow.stage("sum", lambda a: a + 1, x), x=x)

    async def bench(ctx):
        await ctx.tick()
        assert (ctx.get(Ports.sum), ctx.get(Ports.x)) == (4, 3)

    simulate(m, bench)


def test_stable_values_wait_without_registers():
    """They are counted all the same: none is used before it is there, and any later on."""
    m = Module()
    flow = StableFlow(m)
    a = flow.input("a", Signal(4), cycle=1)
    total = flow.stage("total", lambda x: x + 1, flow.stage("kept", lambda x: x, a))
    both = flow.wire(lambda x, y: x ^ y, a, total)
    assert (total.cycle, both.cycle) == (3, 3)
    assert flow.at(a, 9) is a.value and flow.at(total, 9) is total.value
    product = flow.stage("product", lambda x, y: x * y, both, a)
    assert product.cycle == 4
    with pytest.raises(AssertionError, match=r"^total is there in cycle 3, not 2$"):
        flow.at(total, 2)
    out = Signal(16)
    m.d.comb += out.eq(flow.close(4, product=product)[0])
    assert sorted(name for name, _ in registers(m, out)) == ["kept", "product", "total"]
    with pytest.raises(AssertionError, match="product is there after 4 cycles"):
        flow.close(5, product=product)
