"""A lane alone in Amaranth's simulator: numbers in, with gaps; what comes out, to the cycle."""

from amaranth import Module

from verif.support.simulation import simulate

__all__ = ["run_lane"]


def run_lane(rng, lane, numbers, outputs, settings=None, delays=None, gaps=0.2):
    """Give a lane numbers, one in a cycle or after a gap, and note what comes out for each.

    In a gap anything comes, and what belongs to nobody is not looked at.

    Parameters
    ----------
    rng : random.Random
        Where gaps and what comes in them are drawn.
    lane : wiring.Component
        A pipeline that never stalls, with an attribute ``latency``.
    numbers : sequence of dict of str to int
        Values of the inputs.
    outputs : sequence of str
        Members to note, ``latency`` cycles after the number.
    settings : dict of str to int, optional
        Values of inputs that stand still.
    delays : dict of str to int, optional
        How many cycles after the others some of the inputs come.
    gaps : float
        How probable a gap is.

    Returns
    -------
    list of tuple of int
        The outputs for each number.
    """
    delays = delays or {}
    at = {}
    end = 0
    for number in numbers:
        while rng.random() < gaps:
            end += 1
        at[end] = number
        end += 1
    results = []
    module = Module()
    module.submodules.lane = lane

    async def bench(ctx):
        for name, value in (settings or {}).items():
            ctx.set(getattr(lane, name), value)
        # Settings have registers of their own.
        await ctx.tick().repeat(lane.latency)
        for cycle in range(end + lane.latency):
            for name in numbers[0]:
                port = getattr(lane, name)
                given = at.get(cycle - delays.get(name, 0))
                value = rng.getrandbits(len(port)) if given is None else given[name]
                signed = port.shape().signed and value >= 1 << (len(port) - 1)
                ctx.set(port, value - (1 << len(port)) if signed else value)
            if cycle - lane.latency in at:
                results.append(tuple(int(ctx.get(getattr(lane, name))) for name in outputs))
            await ctx.tick()

    simulate(module, bench)
    assert len(results) == len(numbers)
    return results
