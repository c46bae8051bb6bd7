# amaranth: UnusedElaboratable=no
"""What holds for every core that is registered; with ``--cores DIR``, for those of a folder.

In Verilator, from memories that hold chance at power-up: :mod:`verif.cores.bench_stream_contract`
and :mod:`verif.cores.bench_program_contract`. Here: streams answer from registers, keys are
explained and have the ranges that their explanations say.
"""

import dataclasses
import random
import re

from amaranth import Value
from amaranth.lib.wiring import In

from nibblegrad.gen.emission.axi import is_stream
from nibblegrad.golden.errors import InputError
from verif.support.benches import bench_of, small
from verif.support.simulation import simulate


def test_rtl_keeps_the_contract(sim, every_module):
    """Runs at any pace, throughput, latency, reset in mid-stream, rules of streams."""
    module = small(every_module)
    bench, params = bench_of(module, f"contract of {module.core}", own=False)
    sim(module.component, bench, params)


def test_streams_answer_from_registers(request, every_module):
    """Whatever comes in a cycle, `ready` of the inputs and all of the outputs stay as they are."""
    rng = random.Random(request.config.getoption("seed"))
    core = small(every_module).component
    streams = {name: member for name, member in core.signature.members.items() if is_stream(member)}
    inputs = [getattr(core, name) for name, member in streams.items() if member.flow is In]
    outputs = [getattr(core, name) for name, member in streams.items() if member.flow is not In]
    answers = [stream.ready for stream in inputs]
    answers += [part for stream in outputs for part in (stream.valid, Value.cast(stream.payload))]
    seen = set()

    def disturb(ctx):
        for stream in inputs:
            payload = Value.cast(stream.payload)
            ctx.set(payload, rng.getrandbits(len(payload)))
            # What comes by the side comes between tensors only.
            ctx.set(stream.valid, stream is core.i and rng.random() < 0.8)
        ctx.set(core.i.p.last, rng.random() < 0.3)
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
    # The training core takes beats of loads only, and what gives no beats is always ready.
    can_wait = bool(outputs) and every_module.registration.program is None
    assert (len(seen) > 1) == can_wait


def test_runs_try_something(every_module):
    """Each run of a core with streams sends a tensor, and expects something of it."""
    if every_module.registration.program is not None:
        assert any(step is None for step in every_module.registration.program(every_module))
        return
    runs = every_module.runs()
    assert runs and len({run.title for run in runs}) == len(runs)
    for run in runs:
        assert run.beats["s_axis"] and run.beats["s_axis"][-1]["tlast"]
        assert run.beats.get("m_axis") or run.results, f"{run.title} expects nothing"


def ends_of(key, parameters):
    """Compute the ends of the range of a key; None where they are no matter of other keys."""
    least, greatest = key.range
    left, minus, right = greatest.partition(" - ")
    values = {name: value for name, value in parameters.items() if isinstance(value, int)}
    try:
        terms = [values[word] if word in values else int(word) for word in (left, right) if word]
    except ValueError:
        return None
    return int(least), terms[0] - (terms[1] if minus else 0)


def refusal(module):
    """Build a module; give the sentence by which it is refused, or nothing."""
    try:
        module.build()
    except InputError as error:
        return str(error)
    return ""


def test_ranges_are_those_of_the_docstring(every_core):
    """The ends of a range are taken, and what is beyond them is refused."""
    default = every_core.config()
    checked = 0
    for key in every_core.keys:
        if key.range is None or (ends := ends_of(key, vars(default))) is None:
            continue
        for value, is_right in ((ends[0], 1), (ends[1], 1), (ends[0] - 1, 0), (ends[1] + 1, 0)):
            said = refusal(dataclasses.replace(default, **{key.name: value}))
            # An end may be too much for the default of another key, which is refused then.
            refused = re.fullmatch(rf".* must be .*, not {value}", said)
            assert bool(refused) != is_right, f"{key.name} = {value}: {said or 'taken'}"
            checked += 1
    assert checked >= 4


def test_every_key_is_explained(every_core):
    keys = every_core.keys
    assert [key.name for key in keys] == [
        field.name for field in dataclasses.fields(every_core.config)
    ]
    assert all(key.note and key.note.isprintable() for key in keys)
