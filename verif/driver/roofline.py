"""How close a core comes to its bound in a training step, and what each pass of a layer takes.

A pass has no bound of its own: what is loaded for it comes while the pass before is multiplied, as
far as there is room. The bound, :func:`nibblegrad.golden.driver.cycles.least_cycles`, is one of the
whole step.

The cycles of a pass go from the last strip of the pass before to its own last strip, so they hold
everything that the core waited for. Those of the step are the core's own count.
"""

import dataclasses
import math

import numpy as np

from nibblegrad.golden.driver.cycles import (
    StepReport,
    convolution_layers,
    dense_layers,
    largest_operands,
    least_cycles,
    pass_reports,
)
from nibblegrad.golden.driver.device_backend import DeviceBackend
from nibblegrad.golden.engine.command import Operation
from nibblegrad.golden.training.trainer import Trainer

__all__ = ["layer_report", "network_layers"]


def network_layers(settings, dataset):
    """Find the layers of a network, and their sizes.

    Parameters
    ----------
    settings : Settings
        Which network.
    dataset : Dataset
        What it is trained on.

    Returns
    -------
    dict of str to LayerShape
    """
    batch = min(settings.batch, len(dataset.train_x))
    if settings.network == "mlp":
        features = math.prod(dataset.train_x.shape[1:])
        return dense_layers((features, *settings.hidden, dataset.classes), batch)
    return convolution_layers(dataset.image_shape, settings.channels, dataset.classes, batch)


def layer_report(device, recipe, dataset, settings, seed):
    """Run one training step, and report on each pass of each layer.

    Parameters
    ----------
    device : RtlDevice
        The core.
    recipe, dataset, settings, seed :
        As in :class:`nibblegrad.golden.training.trainer.Trainer`.

    Returns
    -------
    StepReport
        Cycles as the core counts them; the spans are those that were predicted.
    """
    device.reset()
    backend = DeviceBackend(device, seed)
    trainer = Trainer(recipe, dataset, settings, seed, backend)
    rows = np.arange(settings.batch)
    trainer.step(rows)
    backend.finish()
    counted = device.counters()["CYCLES"]
    backend.log, backend.clock.spans, device.ended = [], [], {}
    begin, predicted_begin = device.cycles, backend.clock.now
    trainer.step(rows)
    backend.finish()
    log, spans, ended = backend.log, backend.clock.spans, device.ended
    backend.log = backend.clock.spans = device.ended = None

    passes = []
    for each in pass_reports(device.size, log, spans, predicted_begin):
        # Results that go nowhere are followed by others of the same pass.
        end = max(
            ended[entry.number]
            for entry in log
            if (entry.layer, _name(entry.command)) == (each.layer, each.name)
            and entry.number in ended
        )
        passes.append(dataclasses.replace(each, cycles=end - begin))
        begin = end
    size, layers = device.size, network_layers(settings, dataset)
    return StepReport(
        size,
        passes,
        device.counters()["CYCLES"] - counted,
        least_cycles(size, layers, recipe),
        [span for each in passes for span in each.spans],
        largest_operands(size, layers, recipe),
    )


def _name(command):
    return "forward" if command.operation == Operation.FORWARD else "backward"
