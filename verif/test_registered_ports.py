# amaranth: UnusedElaboratable=no
"""No core answers within a cycle: what it says on its streams comes from registers."""

import random

import pytest
from amaranth import Value

from gen import config
from verif.simulation import simulate

MODULES = config.load(config.DEFAULT)


@pytest.mark.parametrize("name", MODULES)
def test_streams_answer_from_registers(request, name):
    """Whatever comes in a cycle, `ready` of the inputs and all of the outputs stay as they are."""
    rng = random.Random(request.config.getoption("seed"))
    core = MODULES[name].build()
    members = core.signature.members
    inputs = [getattr(core, each) for each in ("i", "i_scale") if each in members]
    outputs = [core.o] if "o" in members else []
    answers = [stream.ready for stream in inputs]
    answers += [part for stream in outputs for part in (stream.valid, Value.cast(stream.payload))]
    seen = set()

    def disturb(ctx):
        for stream in inputs:
            payload = Value.cast(stream.payload)
            ctx.set(payload, rng.getrandbits(len(payload)))
            ctx.set(stream.p.last, rng.random() < 0.3)
            # Scales come between tensors only.
            ctx.set(stream.valid, stream is core.i and rng.random() < 0.8)
        for stream in outputs:
            ctx.set(stream.ready, rng.random() < 0.4)

    async def bench(ctx):
        for _ in range(250):
            before = [ctx.get(answer) for answer in answers]
            seen.add(tuple(before[: len(inputs)]))
            for _ in range(4):
                disturb(ctx)
                assert [ctx.get(answer) for answer in answers] == before
            await ctx.tick()

    simulate(core, bench)
    # The training core takes beats of loads only, and gradients of steps are always taken.
    assert (len(seen) > 1) == (name not in ("training_core", "step_gradient"))
