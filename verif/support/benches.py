# amaranth: UnusedElaboratable=no
"""Which bench proves a module of a configuration, and what it must know."""

import dataclasses

from nibblegrad.gen.config import CORES
from nibblegrad.gen.cores import with_folder
from verif.support.rooms import has_bench
from verif.support.sim import bench_params

__all__ = ["bench_of", "benched_module", "case", "small"]

#: Benches of what holds for every core: of those with streams, and of those with a program.
CONTRACTS = {False: "stream_contract", True: "program_contract"}


def bench_of(module, label=None, *, own=True):
    """Choose the benches of a module.

    First the one that is called as the component's module, such as ``quantizer``, where there is
    one; then that of what holds for every core.

    Parameters
    ----------
    module : nibblegrad.gen.core.CoreConfig
        Parameters of the module.
    label : str, optional
        What reports call it; by default the name of its core.
    own : bool
        Whether to take the bench of the core itself, too.

    Returns
    -------
    str
        The benches, as the fixture ``sim`` takes them.
    dict
        Their parameters; see :func:`benched_module`.
    """
    core = module.registration
    bench = core.component.__module__.rpartition(".")[2]
    has_own = own and not core.folder and has_bench(bench)
    contract = CONTRACTS[core.program is not None]
    return f"{bench} {contract}" if has_own else contract, {
        "core": label or core.name,
        "registration": core.name,
        "folder": str(core.folder) if core.folder else None,
        "keys": dataclasses.asdict(module),
        "latency": module.component.latency,
    }


def case(core, label=None, **keys):
    """List what the fixture ``sim`` takes for a core.

    Parameters
    ----------
    core : str
        Name of a core.
    label : str, optional
        What reports call it.
    **keys : int or str
        Keys of its configuration that differ from their defaults.

    Returns
    -------
    tuple of wiring.Component, str and dict
        The component, its benches, their parameters.
    """
    module = CORES[core].config(**keys)
    return module.component, *bench_of(module, label)


def benched_module():
    """Find, in a bench, the module that it runs on; a :class:`nibblegrad.gen.core.CoreConfig`."""
    params = bench_params()
    cores = with_folder(params["folder"]) if params["folder"] else CORES
    return cores[params["registration"]].config(**params["keys"])


def small(module):
    """Make a module small, whatever it is: it is built in little time.

    Parameters
    ----------
    module : nibblegrad.gen.core.CoreConfig
        Parameters of the module; rows, columns and lanes, as far as there are any, become 2.
    """
    sizes = {"rows", "columns", "lanes"} & {key.name for key in dataclasses.fields(module)}
    return dataclasses.replace(module, **dict.fromkeys(sizes, 2))
