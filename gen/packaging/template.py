"""Instantiation template in plain Verilog."""

from nibblegrad.gen.packaging.interface import Interface

__all__ = ["to_template"]


def to_template(interface: Interface) -> str:
    """Write a module that instantiates a core, with every port of it.

    It passes every port on, so that it can be read and elaborated as it is; what is between
    ``endmodule`` and the list of ports is what to copy.

    Parameters
    ----------
    interface : Interface
        The core.
    """
    name = interface.name
    declarations = [
        f"  {port.direction:6} wire {port.range}{port.name}" for port in interface.ports
    ]
    width = max(len(port.name) for port in interface.ports)
    connections = [f"    .{port.name:{width}} ({port.name})" for port in interface.ports]
    return "\n".join(
        [
            f"// Instantiation template of {name}: {interface.summary}",
            "// Copy the instance, and put your signals in the brackets.",
            f"module {name}_template (",
            ",\n".join(declarations),
            ");",
            f"  {name} {name}_instance (",
            ",\n".join(connections),
            "  );",
            "endmodule",
            "",
        ]
    )
