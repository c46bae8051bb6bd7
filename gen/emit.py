"""``python -m gen verilog``: the files of a configuration."""

import argparse
import dataclasses
import re
import shutil
from pathlib import Path

from tqdm import tqdm

from golden.errors import InputError

from . import config, packaging, registers
from .outputs import prepare_folder, write_if_changed
from .verilog import to_verilog

__all__ = ["add_arguments", "files", "run"]

FILE_LIST = "filelist.f"

_PORT = re.compile(r"^  (input|output) (?:\[(\d+):0\] )?(\w+);", re.MULTILINE)


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
        default=Path("build/verilog"),
        metavar="DIR",
        help="where the files go (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Write every file that changed, and say so."""
    modules = config.load(args.config)
    output: Path = args.output
    prepare_folder(output)
    texts = files(modules)
    # Modules that are gone from the configuration must not stay behind for a tool to find.
    known = output / FILE_LIST
    if known.exists():
        for name in known.read_text().split():
            if name.endswith(".v") and name not in texts:
                _remove(output, name.removesuffix(".v"))
    for name, text in texts.items():
        try:
            written = write_if_changed(output / name, text)
            print(f"{output / name}: {'written' if written else 'unchanged'}")
            if name.endswith("_registers.rdl"):
                _describe_registers(output / name)
        except OSError as error:
            raise InputError(f"Cannot write {output / name}: {error.strerror}") from error
    return 0


def files(modules: dict[str, config.CoreConfig]) -> dict[str, str]:
    """Make the text of every file of a configuration, by its name."""
    components = {name: module.build() for name, module in modules.items()}
    texts = {
        f"{name}.v": to_verilog(component, name)
        for name, component in tqdm(components.items(), "Verilog", disable=None, leave=False)
    }
    for name, module in modules.items():
        if module.core == "training_core":
            texts |= registers.files(name)
    texts = _joined(texts, packaging.files(modules))
    texts["SUMMARY.md"] = _summary(modules, texts)
    texts[FILE_LIST] = "".join(f"{name}.v\n" for name in modules)
    return texts


def _remove(output: Path, name: str) -> None:
    """Delete what was made of a module."""
    stem = output / f"{name}_registers"
    documents = [f"{stem}{end}" for end in (".rdl", ".h", ".md", "_structs.h")]
    packaged = [f"{output / name}{end}" for end in packaging.ENDINGS]
    for path in (output / f"{name}.v", *map(Path, documents + packaged)):
        if path.is_file():
            path.unlink()
            print(f"{path}: removed")
    shutil.rmtree(f"{stem}_html", ignore_errors=True)


def _describe_registers(rdl: Path) -> None:
    """Make what PeakRDL makes of a SystemRDL file."""
    html, header = (rdl.with_name(rdl.stem + end) for end in ("_html", "_structs.h"))
    written = registers.rdl_html_and_header(rdl, html, header)
    for path in (html, header):
        print(f"{path}: {'written' if written else 'unchanged'}")


def _joined(texts: dict[str, str], others: dict[str, str]) -> dict[str, str]:
    """Join files, if no two of them have the same name."""
    for name in texts.keys() & others.keys():
        module = name.removesuffix(".v")
        raise InputError(f"Module {module!r} would overwrite a file of another; rename it")
    return texts | others


def _summary(modules: dict[str, config.CoreConfig], texts: dict[str, str]) -> str:
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
        latency = module.build().latency
        lines.append(f"| [`{name}`]({name}.v) | {module.core} | {latency} | {parameters} |")
    for name in modules:
        lines += ["", f"## `{name}`", "", "| port | direction | bits |", "|---|---|---|"]
        top = texts[f"{name}.v"].partition("endmodule")[0]
        for way, high, port in _PORT.findall(top):
            lines.append(f"| `{port}` | {way} | {int(high or 0) + 1} |")
    lines += [
        "",
        "## Files",
        "",
        "For each module, beside `NAME.v`; `docs/integration.md` shows how",
    ]
    lines += ["to use them.", "", "| file | what it is |", "|---|---|"]
    lines += [f"| `NAME{end}` | {purpose} |" for end, purpose in packaging.ENDINGS.items()]
    return "\n".join(lines) + "\n"
