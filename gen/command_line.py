"""The command line: ``nibblegrad COMMAND``, or ``python -m nibblegrad COMMAND``."""

import argparse
import importlib
import importlib.metadata
import sys

from nibblegrad.gen.door import run_guarded

__all__ = ["COMMANDS", "main"]

#: Commands: module with ``add_arguments`` and ``run``, and what the command does.
COMMANDS = {
    "verilog": (
        "nibblegrad.gen.emit",
        "write the Verilog of a configuration, with file list and summary",
    ),
    "train": (
        "nibblegrad.gen.training.command",
        "train the golden network in float32 and in 4 bits, and compare",
    ),
    "bench": ("nibblegrad.gen.bench", "measure the speed of the golden model against its bounds"),
    "robust": (
        "nibblegrad.gen.robust.command",
        "train every recipe on many data sets, against bars",
    ),
    "cost": (
        "nibblegrad.gen.cost.command",
        "measure what a multiply-accumulate costs in every format",
    ),
    "cycles": (
        "nibblegrad.gen.cycles.command",
        "predict the cycles of a training step, layer by layer",
    ),
    "fit": (
        "nibblegrad.gen.flow.fit",
        "propose the fastest training core for an FPGA, or judge one",
    ),
    "fpga": ("nibblegrad.gen.flow.fpga", "place and route a training core, and make a bitstream"),
}

_EPILOG = """\
`nibblegrad COMMAND --help` explains the options of a command.

Exit status: 0 done; 1 a bar is missed or a tool failed; 2 what was asked for cannot be done;
3 a mistake of this program; 130 interrupted.
"""


def main(argv: list[str] | None = None) -> int:
    """Run a command, and return its exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    # The command may come after --debug, and its name may be the value of an option.
    name = next((argument for argument in arguments if not argument.startswith("-")), "")
    return run_guarded(
        f"nibblegrad {name}".rstrip(), lambda: _run(arguments, name), "--debug" in arguments
    )


def _run(arguments: list[str], chosen: str) -> int:
    parser = argparse.ArgumentParser(
        prog="nibblegrad",
        description="Generator of 4-bit neural-network training cores.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # Before the command and behind it.
    debug = argparse.ArgumentParser(add_help=False)
    debug.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS
    )
    parser.add_argument(
        "--debug", action="store_true", help="show where in the program a mistake of it happens"
    )
    parser.add_argument(
        "--version",
        action="version",
        version=f"nibblegrad {importlib.metadata.version('nibblegrad')}",
        help="say which release this is",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (module, purpose) in COMMANDS.items():
        command = commands.add_parser(
            name, help=purpose, description=f"{purpose[0].upper()}{purpose[1:]}.", parents=[debug]
        )
        # The modules of other commands may need packages that are not installed.
        if name == chosen:
            implementation = importlib.import_module(module)
            implementation.add_arguments(command)
            command.set_defaults(run=implementation.run)
    args = parser.parse_args(arguments)
    return args.run(args)
