"""``nibblegrad cycles``: how many cycles a training step takes on a core, without simulation."""

import argparse
import contextlib
import re
from pathlib import Path

from nibblegrad.gen.config import DEFAULT, STRUCTURES
from nibblegrad.gen.cycles import chart as cycles_chart
from nibblegrad.gen.cycles.report import FORMATS
from nibblegrad.gen.door import require
from nibblegrad.gen.flow.fit import training_core
from nibblegrad.gen.outputs import OutputFolder
from nibblegrad.gen.ranges import check_range, parse_sizes
from nibblegrad.gen.recipe_options import add_methods_argument
from nibblegrad.golden.driver.cuts import LayerShape
from nibblegrad.golden.driver.cycles import (
    convolution_layers,
    dense_layers,
    least_cycles,
    step_cycles,
)
from nibblegrad.golden.engine.command import CoreSize
from nibblegrad.golden.errors import InputError
from nibblegrad.golden.training.gradient_recipe import check_core
from nibblegrad.golden.training.methods import RECIPES, core_method
from nibblegrad.golden.training.networks import MOST_BATCH, MOST_LAYERS, NETWORKS
from nibblegrad.golden.training.recipes import Recipe
from nibblegrad.hdl.engine.timing import core_timing

__all__ = ["CONFIG", "MODULE", "add_arguments", "run"]

#: The configuration that is used when none is named, and its module.
CONFIG = DEFAULT.with_name("training_8x8x16.toml")
MODULE = "training_core"

# Sizes of the networks that `nibblegrad train` trains by default.
_DIGITS = {"layers": "64,128,128,10", "image": "8x8x1"}

#: Most features, channels, classes, or pixels in a line.
_GREATEST = 1 << 16
#: A step of more cycles has so many commands that they are not followed one by one.
_MOST_CYCLES = 1_000_000_000


def _core_recipes() -> dict[str, Recipe]:
    """Recipes whose gradients are FP4 in all layers, by name."""
    return {name: recipe for name, recipe in RECIPES.items() if recipe.gradient and recipe.last}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command to a parser."""
    parser.add_argument(
        "--network",
        default=NETWORKS[0],
        metavar="NAME",
        help="mlp (dense layers) or cnn (convolutions with pooling, then a dense layer) "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--layers",
        metavar="SIZES",
        help="mlp: features of the input, of the hidden layers and of the output, separated by "
        "commas, such as 784,512,512,10 (default: those of the digits, 64,128,128,10)",
    )
    parser.add_argument(
        "--image",
        metavar="HEIGHTxWIDTHxCHANNELS",
        help="cnn: its images, such as 28x28x1 (default: those of the digits, 8x8x1)",
    )
    parser.add_argument(
        "--channels",
        default="16,32",
        metavar="COUNTS",
        help="cnn: channels of its convolutions, separated by commas (default: %(default)s)",
    )
    parser.add_argument(
        "--classes",
        type=int,
        default=10,
        metavar="N",
        help="cnn: outputs of its dense layer (default: %(default)s)",
    )
    parser.add_argument(
        "--batch",
        type=int,
        default=64,
        metavar="ROWS",
        help="rows of a mini-batch (default: %(default)s)",
    )

    def explain() -> str:
        return (
            f"training method: {' or '.join(_core_recipes())} (default: that of the core's radix)"
        )

    recipe = parser.add_argument("--recipe", metavar="NAME", help=explain())
    add_methods_argument(parser, lambda: setattr(recipe, "help", explain()))
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="TOML file with the core (default: gen/configs/training_8x8x16.toml)",
    )
    parser.add_argument(
        "--module",
        metavar="NAME",
        help="which training core of --config, where it has several",
    )
    parser.add_argument(
        "--format",
        default="text",
        metavar="NAME",
        help=f"what is printed: {', '.join(FORMATS)} (default: %(default)s)",
    )
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="FILE",
        help="draw what waits for what, loads, array and results over time, to an .svg or .png",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="overwrite a picture that was not made here or has been changed since, and take cores "
        "of any size",
    )


def run(args: argparse.Namespace) -> int:
    """Print what a step takes, and draw it.

    Raises
    ------
    InputError
        If an option or the picture's place cannot be used, or the step is too long.
    """
    if args.format not in FORMATS:
        raise InputError(f"Format must be one of {', '.join(FORMATS)}, not {args.format!r}")
    layers = _layers(args)
    module = MODULE if args.config is None and args.module is None else args.module
    core = training_core(args.config or CONFIG, module, force=args.force)
    size = core.size()
    recipe = _recipe(args.recipe, size)
    least = least_cycles(size, layers, recipe)
    if least > _MOST_CYCLES:
        raise InputError(
            f"A step would take {least:,} cycles or more, and {_MOST_CYCLES:,} are the most that "
            "are followed; make layers or batch smaller"
        )
    with contextlib.ExitStack() as stack:
        if args.plot is not None:
            folder = stack.enter_context(_folder(args.plot, force=args.force))
        timing = core_timing(size, STRUCTURES[core.structure])
        without_bias = [name for name in layers if name.startswith("convolution")]
        report = step_cycles(size, timing, layers, recipe, without_bias)
        print(FORMATS[args.format](report), end="")
        if args.plot is not None:
            folder.install({args.plot.name: lambda path: cycles_chart.save(report, path)})
            # Behind CSV or JSON nothing else may come.
            if args.format == "text":
                print(f"\nwrote {args.plot}")
    return 0


def _layers(args: argparse.Namespace) -> dict[str, LayerShape]:
    """Make the layers that the options ask for."""
    if args.network not in NETWORKS:
        raise InputError(f"Network must be {' or '.join(NETWORKS)}, not {args.network!r}")
    check_range("--batch", args.batch, 1, MOST_BATCH)
    check_range("--classes", args.classes, 1, _GREATEST)
    needed, other = ("image", "layers") if args.network == "cnn" else ("layers", "image")
    if getattr(args, other) is not None:
        raise InputError(
            f"--{other} {getattr(args, other)} does not go with network {args.network}; leave it "
            "out, or choose the other one with --network"
        )
    if getattr(args, needed) is None:
        setattr(args, needed, _DIGITS[needed])
    if args.network == "mlp":
        features = parse_sizes("--layers", args.layers)
        if not 2 <= len(features) <= MOST_LAYERS + 1:
            raise InputError(
                f"--layers must be 2 to {MOST_LAYERS + 1} sizes, those of input and output among "
                f"them, not {len(features)}: {args.layers}"
            )
        for count in features:
            check_range("Sizes in --layers", count, 1, _GREATEST)
        return dense_layers(features, args.batch)
    if not re.fullmatch("[0-9]{1,9}(x[0-9]{1,9}){2}", args.image):
        raise InputError(
            f"--image must be HEIGHTxWIDTHxCHANNELS, such as 28x28x1, not {args.image!r}"
        )
    image = [int(count) for count in args.image.split("x")]
    channels = parse_sizes("--channels", args.channels)
    check_range("Count of convolutions", len(channels), 1, MOST_LAYERS)
    for option, counts in (("--image", image), ("--channels", channels)):
        for count in counts:
            check_range(f"Sizes in {option}", count, 1, _GREATEST)
    return convolution_layers(image, channels, args.classes, args.batch)


def _recipe(name: str | None, size: CoreSize) -> Recipe:
    """Find a recipe that the core can multiply by; by default that of its radix."""
    known = _core_recipes()
    if name is None:
        name = core_method(size.fmt).name
    if name not in known:
        raise InputError(f"Recipe must be {' or '.join(known)}, not {name!r}")
    recipe = known[name]
    for gradient in (recipe.gradient, recipe.last):
        assert gradient is not None
        check_core(gradient, size)
    return recipe


def _folder(path: Path, force: bool) -> OutputFolder:
    """See whether a picture can be drawn there, before the work that leads to one."""
    if path.suffix not in cycles_chart.SUFFIXES:
        raise InputError(f"Picture {path} must end with {' or '.join(cycles_chart.SUFFIXES)}")
    require("matplotlib")
    folder = OutputFolder(path.parent, force=force, option="--plot")
    folder.check([path.name])
    return folder
