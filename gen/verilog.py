"""Verilog text of a component."""

import os
import re
from pathlib import Path

from .axi import AxiWrapper
from .keywords import KEYWORDS

__all__ = ["to_verilog", "write_if_changed"]

_ESCAPED = re.compile(r"\\(\S+) ")
_MODULE = re.compile(r"^module (\w+)\s*(.*?^endmodule)\n", re.DOTALL | re.MULTILINE)
_INSTANCE = re.compile(r"^  (\w+)(?= +\w+ \($)", re.MULTILINE)


def to_verilog(component, name: str) -> str:
    """Convert a component to Verilog-2005: a module called ``name`` with AXI4-Stream ports.

    The text does not depend on the machine or on where the checkout lies, and holds no escaped
    identifiers. Parts of the component are modules called ``name__part``.

    Parameters
    ----------
    component : wiring.Component
        A core.
    name : str
        Name of the module.
    """
    # Amaranth takes any newer Yosys it finds first, and each writes other text.
    os.environ["AMARANTH_USE_YOSYS"] = "builtin"
    from amaranth.back import verilog

    text = verilog.convert(
        AxiWrapper(component), name=name, emit_src=False, strip_internal_attrs=True
    )
    return _share_modules(_plain_identifiers(text))


def _plain_identifiers(text: str) -> str:
    """Replace escaped identifiers by plain ones, unique in the file."""
    taken = set(KEYWORDS).union(re.findall(r"[A-Za-z_][\w$]*", _ESCAPED.sub(" ", text)))
    plain: dict[str, str] = {}

    def rename(match):
        escaped = match.group(1)
        if escaped.startswith("$auto$"):
            return "unused_trigger "  # Yosys makes processes without inputs start by it
        if escaped not in plain:
            # Hierarchy is a double underscore; a leading dollar marks a nameless intermediate.
            is_module = escaped.count(".") and "[" not in escaped and "__" not in escaped
            candidate = escaped.replace(".", "__" if is_module else "_")
            candidate = re.sub(r"^\$", "_", candidate)
            candidate = re.sub(r"\W+", "_", candidate).rstrip("_")
            unique, count = candidate, 1
            while unique in taken:
                count += 1
                unique = f"{candidate}_{count}"
            taken.add(unique)
            plain[escaped] = unique
        return plain[escaped] + " "

    return _ESCAPED.sub(rename, text)


def _share_modules(text: str) -> str:
    """Keep one of the modules that are alike, such as the lanes of a core."""
    header = text[: text.index("module ")]
    modules: dict[str, str] = dict(_MODULE.findall(text))
    while True:
        alike: dict[str, list[str]] = {}
        for name, body in modules.items():
            alike.setdefault(body, []).append(name)
        shared: dict[str, str] = {}
        for names in alike.values():
            if len(names) > 1:
                # What is shared loses its number, if no other module bears the name.
                plain = re.sub(r"(_\d+)+$", "", names[0])
                kept = names[0] if plain in modules else plain
                shared |= dict.fromkeys(names, kept)
        if not shared:
            return header + "\n".join(f"module {name} {body}\n" for name, body in modules.items())
        modules = {
            shared.get(name, name): _rename_instances(body, shared)
            for name, body in modules.items()
        }


def _rename_instances(body: str, names: dict[str, str]) -> str:
    return _INSTANCE.sub(lambda match: "  " + names.get(match[1], match[1]), body)


def write_if_changed(path: Path, text: str) -> bool:
    """Write ``text`` to ``path`` unless the file already holds it. Return whether it was written.

    Leaving an unchanged file alone keeps its time stamp, and so spares everything built from it.
    """
    if path.exists() and path.read_text() == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    partial.write_text(text)
    partial.replace(path)
    return True
