"""``make train BACKEND=rtl``: train in the Verilog, and compare every bit with the golden model.

The host here is Python: it brings mini-batches, the loss and its gradient, batch normalisation,
pooling and the optimiser. Everything between is done by the simulated core.
"""

import argparse
import dataclasses
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from nibblegrad.gen.config import load
from nibblegrad.gen.cycles.report import comma_separated, table
from nibblegrad.gen.door import run_guarded
from nibblegrad.gen.outputs import OutputFolder
from nibblegrad.gen.ranges import parse_names
from nibblegrad.gen.recipe_options import chosen_recipes
from nibblegrad.gen.training import command as train
from nibblegrad.golden.driver.device_backend import DeviceBackend
from nibblegrad.golden.errors import InputError
from nibblegrad.golden.training.backend import NumpyBackend
from nibblegrad.golden.training.gradient_recipe import check_core
from nibblegrad.golden.training.methods import core_method
from nibblegrad.golden.training.networks import NETWORKS
from nibblegrad.golden.training.trainer import Trainer
from verif.driver.roofline import layer_report
from verif.harness.device import RtlDevice
from verif.paths import ROOT

__all__ = ["compare", "core_recipe", "main", "numpy_backend", "train_in_rtl"]

CONFIG = ROOT / "gen" / "configs" / "training_8x8x16.toml"


def main(argv=None):
    """Train each network; return 0 if every bit is equal, 1 if not, or what the door says."""
    args = _arguments(argv)
    return run_guarded("make train BACKEND=rtl", lambda: run(args), args.debug)


def _arguments(argv):
    parser = argparse.ArgumentParser(
        prog="make train BACKEND=rtl", description=__doc__.partition("\n")[0]
    )
    train.add_arguments(parser)
    parser.set_defaults(network=",".join(NETWORKS), recipes="float32,luq")
    parser.add_argument(
        "--config",
        type=Path,
        default=CONFIG,
        metavar="FILE",
        help="TOML file with the core (default: gen/configs/training_8x8x16.toml)",
    )
    parser.add_argument(
        "--module",
        default="training_core",
        metavar="NAME",
        help="module of that file to train on (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the run in the Verilog (default: 0)"
    )
    parser.add_argument(
        "--debug", action="store_true", help="show where in the program a mistake of it happens"
    )
    return parser.parse_args(argv)


def run(args):
    """Train by NumPy for the table, then in the Verilog; write tables and curves."""
    modules = load(args.config)
    config = modules.get(args.module)
    if config is None or config.core != "training_core":
        raise InputError(f"{args.config} has no training core {args.module}; choose with --module")
    if args.load or args.save:
        raise InputError("Networks are loaded and saved by NumPy; leave out --load and --save")
    size = config.size()
    recipe = core_recipe(chosen_recipes(args), size)
    if args.output.is_dir():
        folder = OutputFolder(args.output, force=args.force)
        folder.check(_report_name(network) for network in NETWORKS)
    status = train.run(args)
    if status:
        return status
    dataset = train.load_data(args)
    settings = train.make_settings(args)
    print(f"\nbuilding the simulation of {size.rows} x {size.columns} x {size.lanes} lanes")
    device = RtlDevice(size)
    equal = True
    with threadpool_limits(1):
        for network in parse_names("Network", args.network, NETWORKS):
            own = dataclasses.replace(settings, network=network)
            equal &= _train_network(device, recipe, dataset, own, args)
    return 0 if equal else 1


def _train_network(device, recipe, dataset, settings, args):
    name = f"{settings.network} {recipe.name}, seed {args.seed}"
    trainer, figures = train_in_rtl(device, recipe, dataset, settings, args.seed)
    reference = Trainer(recipe, dataset, settings, args.seed, numpy_backend(device.size, args.seed))
    reference.run()
    different = compare(trainer, reference)
    print(f"\n{name}: trained in the Verilog to {100 * trainer.history.accuracies[-1]:.2f} %")
    for what, value in figures.items():
        print(f"  {what:<34}{value}")
    count = sum(value.size for value in reference.parameters().values())
    if different:
        print(f"  DIFFERENT from NumPy: {', '.join(different)}")
    else:
        print(f"  all {count:,} weights, biases and steps are bit-identical to NumPy's")
    report = layer_report(device, recipe, dataset, settings, args.seed)
    print(textwrap.indent(table(report), "  "))
    name = _report_name(settings.network)
    folder = OutputFolder(args.output, force=args.force)
    folder.install({name: comma_separated(report)})
    print(f"wrote {folder.path / name}")
    return not different


def core_recipe(recipes, size):
    """Find what to train by: the first recipe that a core can multiply by, or its default."""
    for recipe in recipes:
        try:
            for gradient in (recipe.gradient, recipe.last):
                if gradient is None:
                    raise InputError(f"Recipe {recipe.name} has gradients in float32")
                check_core(gradient, size)
        except InputError:
            continue
        return recipe
    return core_method(size.fmt).recipe


def _report_name(network):
    return f"rtl_{network}.csv"


def numpy_backend(size, seed):
    """Make the golden backend that computes what a core of this size does."""
    return NumpyBackend(
        size.wide_format,
        size.load_lanes,
        seed,
        residual_bits=size.residual_bits,
        in_range=size.in_range_rule,
    )


def train_in_rtl(device, recipe, dataset, settings, seed):
    """Train on a device.

    Returns
    -------
    Trainer
        The trained network.
    dict of str to str
        What the core did, and how fast it was simulated.
    """
    device.reset()
    size = device.size
    begin, first_cycle = time.perf_counter(), device.cycles
    trainer = Trainer(recipe, dataset, settings, seed, DeviceBackend(device, seed))
    steps = -(-len(dataset.train_x) // settings.batch)
    with tqdm(total=settings.epochs * steps, unit="step", disable=None) as bar:
        bar.set_description(f"{settings.network} {recipe.name} in Verilog")
        trainer.run(lambda: bar.update(steps))
    counters = device.counters()
    seconds, cycles = time.perf_counter() - begin, device.cycles - first_cycle
    lanes = size.rows * size.columns * size.lanes
    return trainer, {
        "multiply-accumulates": f"{counters['MACS']:,}",
        "cycles": f"{counters['CYCLES']:,}",
        "lane operations": f"{counters['PASSES'] * lanes:,}",
        "utilisation": f"{100 * counters['PASSES'] / counters['CYCLES']:.1f} %",
        "simulated cycles per second": f"{cycles / seconds:,.0f}",
        "lane operations per second": f"{counters['PASSES'] * lanes / seconds:,.0f}",
        "seconds": f"{seconds:.1f}",
    }


def compare(one, other):
    """List the parameters, and the curve, in which two trained networks differ by any bit."""
    mine, theirs = one.parameters(), other.parameters()
    assert mine.keys() == theirs.keys()
    different = [
        name
        for name in mine
        if mine[name].dtype != theirs[name].dtype or mine[name].tobytes() != theirs[name].tobytes()
    ]
    if one.history.accuracies != other.history.accuracies:
        different.append("accuracies")
    if not all(np.isfinite(value).all() for value in mine.values()):
        different.append("finite numbers")
    return different


if __name__ == "__main__":
    sys.exit(main())
