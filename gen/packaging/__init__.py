"""What makes the emitted modules drop into the flows of others."""

import importlib.metadata

from ..core import CoreConfig
from .constraints import to_sdc, to_xdc
from .fusesoc import to_core
from .interface import describe
from .ipxact import to_component
from .template import to_template
from .testbench import to_testbench
from .vivado import to_packaging

__all__ = ["ENDINGS", "describe", "files"]

#: What is written for each module, by how the name of the file ends.
ENDINGS = {
    ".core": "FuseSoC core: targets lint, sim, sim_icarus, ecp5, vivado",
    "_component.xml": "IP-XACT 1685-2014 component",
    "_vivado.tcl": "makes an IP of it in Vivado",
    ".xdc": "clock constraint, for Vivado",
    ".sdc": "clock constraint, for other tools",
    "_template.v": "instantiation template",
    "_testbench.v": "self-checking testbench with vectors of the golden model",
}


def files(modules: dict[str, CoreConfig]) -> dict[str, str]:
    """Make the text of every file of every module, by its name.

    Parameters
    ----------
    modules : dict of str to CoreConfig
        Modules by name.
    """
    version = importlib.metadata.version("nibblegrad")
    texts: dict[str, str] = {}
    for name, module in modules.items():
        interface = describe(name, module)
        made = (
            to_core(interface, version),
            to_component(interface, version),
            to_packaging(interface, version),
            to_xdc(interface),
            to_sdc(interface),
            to_template(interface),
            to_testbench(interface, module),
        )
        texts |= {f"{name}{end}": text for end, text in zip(ENDINGS, made, strict=True)}
    return texts
