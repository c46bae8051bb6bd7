"""Command line: ``python -m gen COMMAND``, or ``nibblegrad COMMAND`` where it is installed."""

import argparse
import importlib
import sys

from golden.errors import InputError

__all__ = ["main"]

#: Commands: module with ``add_arguments`` and ``run``, and what the command does.
COMMANDS = {
    "verilog": ("gen.emit", "write the Verilog of a configuration, with file list and summary"),
    "train": ("gen.train", "train the golden network in float32 and in 4 bits, and compare"),
    "bench": ("gen.bench", "measure the speed of the golden model against its bounds"),
    "robust": ("gen.robust.command", "train every recipe on many data sets, against bars"),
    "cost": ("gen.cost.command", "measure what a multiply-accumulate costs in every format"),
    "fit": ("gen.flow.fit", "propose the largest training core for an FPGA, or judge one"),
    "fpga": ("gen.flow.fpga", "place and route a training core, and make a bitstream"),
}


def main(argv: list[str] | None = None) -> int:
    """Run a command. Return its exit status: 0, or 2 for a mistake of the user."""
    arguments = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(
        prog="nibblegrad",
        description="Generator of 4-bit neural-network training cores.",
        epilog="`nibblegrad COMMAND --help` explains the options of a command.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (module, purpose) in COMMANDS.items():
        command = commands.add_parser(name, help=purpose, description=f"{purpose.capitalize()}.")
        # The modules of other commands may need packages that are not installed.
        if name in arguments:
            implementation = importlib.import_module(module)
            implementation.add_arguments(command)
            command.set_defaults(run=implementation.run)
    args = parser.parse_args(arguments)
    try:
        return args.run(args)
    except InputError as error:
        print(f"nibblegrad {args.command}: error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
