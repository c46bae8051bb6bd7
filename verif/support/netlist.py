# amaranth: UnusedElaboratable=no
"""Netlists of a synthesis tool, made ready for the benches of the module that they implement."""

import re
from dataclasses import dataclass
from pathlib import Path

from amaranth import Shape

from nibblegrad.gen.config import CoreConfig
from nibblegrad.gen.emission.axi import AxiWrapper
from nibblegrad.gen.emission.keywords import KEYWORDS
from nibblegrad.golden.errors import InputError
from verif.paths import ROOT

__all__ = ["CELLS", "Netlist", "read_netlist", "with_cells"]

#: Models of cells: a folder per family, a file per cell.
CELLS = ROOT / "verif" / "cells"

_NAME = r"(?:\\\S+|[A-Za-z_]\w*)"
_MODULE = re.compile(rf"^ *module ({_NAME})", re.MULTILINE)
_INSTANCE = re.compile(rf"^ *([A-Za-z_]\w*) +(?:#\(|{_NAME} *\()", re.MULTILINE)
_PORT = re.compile(r"^ *(input|output) (?:wire |reg )?(?:\[(\d+):0\] )?(\w+) ?;", re.MULTILINE)


@dataclass(frozen=True)
class Netlist:
    """A netlist, and the module of a configuration that it implements.

    Attributes
    ----------
    name : str
        Name of the module.
    module : CoreConfig
        Its parameters.
    verilog : str
        A module ``dut`` with nothing inside but the netlist, so that a simulator need keep no more
        than the ports; the netlist; the models of its cells.
    """

    name: str
    module: CoreConfig
    verilog: str


def read_netlist(path, modules, configuration):
    """Read a netlist.

    Parameters
    ----------
    path : Path
        Verilog as Yosys writes it, with the module and its cells.
    modules : dict of str to CoreConfig
        The modules it may be.
    configuration : Path
        Where they are described, for messages.

    Returns
    -------
    Netlist

    Raises
    ------
    InputError
        If the file cannot be read, is no netlist of one of the modules, or a cell has no model.
    """
    try:
        text = Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise InputError(f"Cannot read netlist {path}: {reason}") from error
    defined = set(_MODULE.findall(text))
    instantiated = set(_INSTANCE.findall(text)) - KEYWORDS
    name = _top(path, defined - instantiated, modules, configuration)
    _check_ports(path, text, name, modules[name], configuration)
    cells = _models(path, instantiated - defined)
    wrapper = _wrapper(name, _ports(modules[name]))
    verilog = "\n".join([wrapper, text, *(cell.read_text() for cell in cells)])
    return Netlist(name, modules[name], verilog)


def _top(path, tops, modules, configuration):
    found = " and ".join(sorted(tops)) or "no module"
    known = sorted(tops & set(modules))
    if len(known) != 1 or len(tops) != 1:
        raise InputError(
            f"Netlist {path} holds {found}, and not one of the modules of {configuration}: "
            f"{', '.join(modules)}; name its configuration with CONFIG="
        )
    return known[0]


def _ports(module):
    """List direction and width of the ports, by name."""
    wrapper = AxiWrapper(module.build())
    return {
        "__".join(map(str, path)): (
            "input" if member.flow.name == "In" else "output",
            Shape.cast(member.shape).width,
        )
        for path, member, _ in wrapper.signature.flatten(wrapper)
    }


def _check_ports(path, text, name, module, configuration):
    body = text[re.search(rf"^ *module {name}\b", text, re.MULTILINE).start() :]
    body = body[: body.index("endmodule")]
    found = {port: (way, int(high or 0) + 1) for way, high, port in _PORT.findall(body)}
    expected = _ports(module)
    for port in sorted(found.keys() | expected.keys()):
        if found.get(port) != expected.get(port):
            raise InputError(
                f"Netlist {path}: port {port} of {name} is {_say(found.get(port))}, but "
                f"{_say(expected.get(port))} in {configuration}; "
                "name the configuration it was made of with CONFIG="
            )


def _say(port):
    return "absent" if port is None else f"an {port[0]} of {port[1]} bits"


def _models(path, cells):
    """Find the models of cells, in the folder of the family that knows most of them."""
    families = _families()
    family = max(families, key=lambda name: len(cells & families[name].keys()))
    missing = sorted(cells - families[family].keys())
    if missing:
        raise InputError(
            f"Netlist {path} has cells without a model: {', '.join(missing)}; there are models of "
            f"{', '.join(families)} in verif/cells, a file for each cell"
        )
    return [families[family][cell] for cell in sorted(cells)]


def _families():
    """List the models that there are: files by cell, by family."""
    return {
        folder.name: {file.stem: file for file in sorted(folder.glob("*.v"))}
        for folder in sorted(CELLS.iterdir())
        if folder.is_dir()
    }


def _wrapper(name, ports):
    declared = ",\n".join(f"  {way} [{width - 1}:0] {port}" for port, (way, width) in ports.items())
    connected = ",\n".join(f"    .{port}({port})" for port in ports)
    return f"module dut (\n{declared}\n);\n  {name} netlist (\n{connected}\n  );\nendmodule\n"


def with_cells(verilog):
    """Add the models of the cells of a family that the Verilog instantiates, as structures do."""
    found = [
        [path for cell, path in models.items() if f" {cell} " in verilog]
        for models in _families().values()
    ]
    models = max(found, key=len)
    # Their parameters are strings, of different lengths.
    silence = ["// verilator lint_off WIDTH\n"] if models else []
    return "\n".join([verilog, *silence, *(path.read_text() for path in models)])
