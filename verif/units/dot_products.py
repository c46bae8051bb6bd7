"""Driver of the dot-product units, which never stall, for use in benches."""

from cocotb.triggers import ClockCycles, RisingEdge

from verif.support.packing import pack
from verif.support.stream import start

__all__ = ["run_sums"]


async def run_sums(
    dut,
    sums,
    width,
    latency,
    rng=None,
    *,
    a_width=None,
    b_width=None,
    digits=False,
    **settings,
):
    """Send sums vector by vector, and collect the totals and when they come.

    Parameters
    ----------
    dut : handle
        A unit with ``valid``, ``first``, ``last``, ``a``, ``b``, ``done`` and ``total``.
    sums : list of (a, b) or (a, b, settings)
        Codes, arrays of (vectors, lanes); inputs that go with them, by name.
    width : int
        Width of a code; or, where they differ, ``a_width`` and ``b_width``.
    latency : int
        Cycles from the last vector of a sum to its total, which is checked.
    rng : numpy Generator, optional
        Makes gaps between vectors, with other operands in them; none by default.
    digits : bool
        Whether INT4 operands take two cycles, one per digit.
    settings : int
        Inputs at the start.

    Returns
    -------
    list of int
        Totals, as unsigned numbers.
    """
    await start(dut, valid=0, first=0, last=0, a=0, b=0, **settings)
    dut.valid.value = 0
    beats = []
    for a, b, *more in sums:
        inputs = more[0] if more else {}
        passes = 2 if digits and inputs.get("operand") else 1
        packed = zip(pack(a, a_width or width), pack(b, b_width or width), strict=True)
        for k, (left, right) in enumerate(packed):
            while rng is not None and rng.random() < 0.3:
                # What a gap carries must not matter, flags included.
                flags = rng.integers(2, size=2).tolist()
                beats.append((0, *flags, left ^ _ones(a, a_width or width), 0, {}))
            for digit in range(passes):
                first = int(k == 0 and digit == 0)
                last = int(k == len(a) - 1 and digit == passes - 1)
                chosen = {**inputs, "digit": digit} if digits else inputs
                beats.append((1, first, last, left, right, chosen))
    totals, due = [], []
    idle = (0, 0, 0, 0, 0, {})
    for cycle, (valid, first, last, a, b, inputs) in enumerate(beats + [idle] * (latency + 2)):
        dut.valid.value, dut.first.value, dut.last.value = valid, first, last
        dut.a.value, dut.b.value = a, b
        for name, value in inputs.items():
            getattr(dut, name).value = value
        if valid and last:
            due.append(cycle + latency)
        await RisingEdge(dut.aclk)
        # At the edge the ports show the values from before it.
        if dut.done.value:
            totals.append((cycle, int(dut.total.value)))
    await ClockCycles(dut.aclk, 1)
    came = [cycle for cycle, _ in totals]
    assert came == due, f"totals came in cycles {came[:8]}, due in {due[:8]}"
    return [total for _, total in totals]


def _ones(codes, width):
    return (1 << (codes.shape[1] * width)) - 1
