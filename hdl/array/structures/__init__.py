"""The structures of the array: a module each, which is found by being in this folder."""

import importlib
import pkgutil

__all__ = ["PIPELINED", "PLAIN", "STRUCTURES"]

#: Structures, by the name that a configuration calls them: first those that suit any family.
STRUCTURES = {
    structure.name: structure
    for structure in sorted(
        (
            importlib.import_module(f"{__name__}.{module.name}").STRUCTURE
            for module in pkgutil.iter_modules(__path__)
        ),
        key=lambda structure: (structure.family != "", structure.name),
    )
}

#: What simulates fastest, and is taken where nothing is known of the cells.
PLAIN = STRUCTURES["plain"]
#: What suits any FPGA.
PIPELINED = STRUCTURES["pipelined"]
