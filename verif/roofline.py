"""How close a core comes to its bounds in a training step, layer by layer.

A layer's products follow each other on one array, and each takes as many cycles as it has passes,
or strips, whichever are more. Meanwhile its operands are loaded. So the bound of a pass of a layer,
forward or backward, is the larger of its load beats and of that sum; what bounds it has a name:
load, compute or drain.

The cycles of a pass go from the last strip of the pass before to its own last strip, so they hold
everything that the core waited for.
"""

import numpy as np

from golden.command import Memory, Operation
from golden.device_backend import DeviceBackend
from golden.trainer import Trainer

__all__ = ["layer_report", "report_table"]


def layer_report(device, recipe, dataset, settings, seed):
    """Run one training step, and report on each pass of each layer.

    Parameters
    ----------
    device : RtlDevice
        The core.
    recipe, dataset, settings, seed :
        As in :class:`golden.trainer.Trainer`.

    Returns
    -------
    list of dict
        For each pass its layer, name, multiply-accumulates, cycles, load beats, passes and strips,
        the bound in cycles and what it is, and the part of the bound in the cycles, in percent.
    """
    device.reset()
    backend = DeviceBackend(device, seed)
    trainer = Trainer(recipe, dataset, settings, seed, backend)
    rows = np.arange(settings.batch)
    trainer.step(rows)
    device.finish()
    backend.log, device.ended = [], {}
    begin = device.cycles
    trainer.step(rows)
    device.finish()
    passes = _passes(backend.log)
    backend.log, ended = None, device.ended
    device.ended = None

    report = []
    for (layer, name), commands in passes.items():
        # Results that go nowhere are followed by others of the same pass.
        end = max(ended[number] for number, _ in commands if number in ended)
        report.append(_row(device.size, layer, name, [c for _, c in commands], end - begin))
        begin = end
    return report


def _passes(log):
    """Gather the products of each pass."""
    passes = {}
    for entry in log:
        name = "forward" if entry.command.operation == Operation.FORWARD else "backward"
        passes.setdefault((entry.layer, name), []).append((entry.number, entry.command))
    return passes


def _row(size, layer, name, commands, cycles):
    passes = sum(size.passes(command) for command in commands)
    strips = sum(size.strips(command) for command in commands)
    by_operation = {}
    for command in commands:
        work = by_operation.setdefault(command.operation, [0, 0])
        work[0] += size.passes(command)
        work[1] += size.strips(command)
    array = sum(max(work) for work in by_operation.values())
    drained = sum(max(work) for work in by_operation.values() if work[1] > work[0])
    beats = _beats(size, name, commands)
    bound = max(array, beats)
    what = "load" if beats >= array else "drain" if 2 * drained > array else "compute"
    return {
        "layer": layer,
        "pass": name,
        "macs": sum(c.batch * c.inputs * c.outputs for c in commands),
        "load_beats": beats,
        "passes": passes,
        "strips": strips,
        "cycles": cycles,
        "bound": bound,
        "bound_by": what,
        "of_bound_percent": round(100 * bound / cycles, 1),
    }


def _beats(size, name, commands):
    """Count the beats of the operands of a pass, each loaded once."""
    loaded = {}
    for command in commands:
        batch, inputs, outputs = command.batch, command.inputs, command.outputs
        if name == "forward":
            loaded[Memory.WEIGHTS, command.weight_base] = outputs * -(-inputs // size.load_lanes)
            loaded[Memory.ACTIVATIONS, command.activation_base] = batch * -(
                -inputs // size.load_lanes
            )
            if command.bias:
                loaded[Memory.BIASES, command.bias_base] = -(-outputs // size.biases_per_beat)
        elif command.operation == Operation.INPUT_GRADIENT:
            loaded[Memory.GRADIENTS, command.gradient_base] = batch * -(-outputs // size.load_lanes)
    return sum(loaded.values())


def report_table(report):
    """Lay out a report as text."""
    lines = [
        f"  {'layer':<8} {'pass':<9} {'load beats':>10} {'passes':>8} {'strips':>8} {'cycles':>8} "
        f"{'bound':>8}  {'by':<8} {'of bound':>8}"
    ]
    lines += [
        f"  {row['layer']:<8} {row['pass']:<9} {row['load_beats']:>10,} {row['passes']:>8,} "
        f"{row['strips']:>8,} {row['cycles']:>8,} {row['bound']:>8,}  {row['bound_by']:<8} "
        f"{row['of_bound_percent']:>6.1f} %"
        for row in report
    ]
    layers = dict.fromkeys(row["layer"] for row in report)
    parts = [(name, [row for row in report if row["layer"] == name]) for name in layers]
    for what, rows in (*parts, ("one training step", report)):
        cycles, bound = (sum(row[key] for row in rows) for key in ("cycles", "bound"))
        lines.append(f"  {what}: {cycles:,} cycles, {100 * bound / cycles:.1f} % of the bound")
    return "\n".join(lines)
