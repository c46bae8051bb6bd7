"""How fast a simulated core is."""

import time

import numpy as np

from nibblegrad.gen.config import load
from nibblegrad.golden.engine.command import Command, Destination, Operation
from verif.harness.device import RtlDevice
from verif.paths import ROOT

__all__ = ["measure"]


def measure(device, side=None, seconds=2.0, seed=1):
    """Measure the speed of a simulated core on products of square matrices that it holds.

    Parameters
    ----------
    device : RtlDevice
        The core; its memories are overwritten.
    side : int, optional
        Rows and columns of all matrices; by default what fits, up to 512.
    seconds : float
        How long to run each product.
    seed : int
        Seed of the codes.

    Returns
    -------
    dict of str to dict of str to float
        By operation: ``cycles_per_second``, ``lane_operations_per_second`` (passes times lanes of
        the whole array) and ``utilization`` (share of cycles with a pass).
    """
    size = device.size
    words = min(size.activation_words, size.weight_words, size.gradient_words)
    side = side or min(512, size.max_terms, size.block * int(words**0.5))
    rng = np.random.default_rng(seed)
    shape = {"batch": side, "inputs": side, "outputs": side}
    for operation in (
        Operation.LOAD_ACTIVATIONS,
        Operation.LOAD_WEIGHTS,
        Operation.LOAD_GRADIENTS,
    ):
        beats = rng.integers(16, size=(side * -(-side // size.load_lanes), size.load_lanes))
        device.issue(Command(operation, codes=True, **shape), beats)
    device.finish()
    report = {}
    for operation, destination in (
        (Operation.FORWARD, Destination.STREAM),
        (Operation.INPUT_GRADIENT, Destination.NOTHING),
        (Operation.WEIGHT_GRADIENT, Destination.NOTHING),
    ):
        command = Command(operation, destination=destination, **shape)
        device.clear_counters()
        cycles, begin = device.cycles, time.perf_counter()
        while time.perf_counter() - begin < seconds:
            number = device.issue(command)
            if destination == Destination.STREAM:
                device.result(number)
            else:
                device.finish()
        spent, cycles = time.perf_counter() - begin, device.cycles - cycles
        passes = device.counters()["PASSES"]
        report[operation.name] = {
            "cycles_per_second": cycles / spent,
            "lane_operations_per_second": passes * (size.rows * size.columns * size.lanes) / spent,
            "utilization": passes / cycles,
        }
    return report


def main():
    """Measure the core that trains, and print what comes out."""
    path = ROOT / "gen" / "configs" / "training_8x8x16.toml"
    size = load(path)["training_core"].size()
    for operation, figures in measure(RtlDevice(size), side=128).items():
        print(
            f"{operation:<16}{figures['cycles_per_second']:>12,.0f} cycles/s"
            f"{figures['lane_operations_per_second'] / 1e6:>8.1f} million lane operations/s"
            f"{100 * figures['utilization']:>8.1f} % of the cycles"
        )


if __name__ == "__main__":
    main()
