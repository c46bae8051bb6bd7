"""Driver of the dot-product units, which never stall, for use in benches."""

from cocotb.triggers import ClockCycles, RisingEdge

from verif.packing import pack
from verif.stream import start

__all__ = ["run_sums"]


async def run_sums(dut, sums, width, latency, rng=None, **settings):
    """Send sums vector by vector, and collect the totals and when they come.

    Parameters
    ----------
    dut : handle
        A unit with ``valid``, ``first``, ``last``, ``a``, ``b``, ``done`` and ``total``.
    sums : list of (a, b) or (a, b, settings)
        Codes, arrays of (vectors, lanes); inputs that go with them, by name.
    width : int
        Width of a code.
    latency : int
        Cycles from the last vector of a sum to its total, which is checked.
    rng : numpy Generator, optional
        Makes gaps between vectors, with other operands in them; none by default.
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
        for k, (left, right) in enumerate(zip(pack(a, width), pack(b, width), strict=True)):
            while rng is not None and rng.random() < 0.3:
                # What a gap carries must not matter, flags included.
                beats.append((0, *rng.integers(2, size=2).tolist(), right, left, {}))
            beats.append((1, int(k == 0), int(k == len(a) - 1), left, right, *(more or [{}])))
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
