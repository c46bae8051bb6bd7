"""What makes the emitted modules drop into the flows of others."""

import importlib.metadata

from nibblegrad.gen.core import CoreConfig
from nibblegrad.gen.packaging.constraints import to_sdc, to_xdc
from nibblegrad.gen.packaging.fusesoc import to_core
from nibblegrad.gen.packaging.interface import describe
from nibblegrad.gen.packaging.ipxact import to_component
from nibblegrad.gen.packaging.template import to_template
from nibblegrad.gen.packaging.testbench import to_testbench
from nibblegrad.gen.packaging.vivado import to_packaging

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
