"""The command line: ``python -m nibblegrad COMMAND``, or ``nibblegrad COMMAND``."""

import sys

from nibblegrad.gen.command_line import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
