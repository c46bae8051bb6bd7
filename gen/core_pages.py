"""Pages that list the cores: the default configuration, and the table in README.md.

``python -m nibblegrad.gen.core_pages`` writes both in a checkout, from the registrations and from
the sizes in ``docs/cores.md``.
"""

import re
import sys
import textwrap
from collections.abc import Mapping

from nibblegrad.gen.config import DEFAULT
from nibblegrad.gen.core import Core, Key
from nibblegrad.gen.cores import CORES
from nibblegrad.gen.door import run_guarded
from nibblegrad.gen.outputs import write_if_changed
from nibblegrad.gen.sources import ROOT
from nibblegrad.golden.errors import InputError

__all__ = ["to_table", "to_toml", "with_table"]

_HEAD = """\
# Nibblegrad configuration: one section per Verilog module.
#
# A section [modules.NAME] makes NAME.v with a module NAME. `core` says what it is; every other key
# has the default shown here and may be left out. Copy this file, change it, and run
#
#     make verilog CONFIG=mine.toml
"""

#: Where comments begin, and where lines end.
_COLUMN, _WIDTH = 28, 100

#: The most words that a comment lists.
_MOST_CHOICES = 6

_TABLE = re.compile(r"^\| core \| does \|.*\n\|[-|]+\n(?:\|.*\n)*", re.MULTILINE)


def to_toml(cores: Mapping[str, Core] = CORES) -> str:
    """Write a configuration with the samples of all cores.

    The first sample of a core shows every key with its default and what it means, others show what
    is different in them.

    Parameters
    ----------
    cores : dict of str to Core
        The cores, in order.
    """
    sections = [_HEAD]
    for core in cores.values():
        for number, (name, sample) in enumerate(core.samples.items()):
            lines = [f"# {line}" for line in textwrap.wrap(sample.purpose, _WIDTH - 2)]
            lines += [f"[modules.{name}]", f'core = "{core.name}"']
            for key in core.keys:
                value = sample.keys.get(key.name, key.default)
                if number == 0 or key.name in sample.keys:
                    lines += _line(key, value, core.choices.get(key.name, {}))
            sections.append("\n".join(lines) + "\n")
    return "\n".join(sections)


def _line(key: Key, value: int | str, choices: Mapping[str, object]) -> list[str]:
    """Write a key with a comment, which may need more lines."""
    note = key.note
    if 0 < len(choices) <= _MOST_CHOICES and not all(word in note for word in choices):
        *others, last = choices
        note += f"; {', '.join(others)} or {last}"
    assignment = f'{key.name} = "{value}"' if isinstance(value, str) else f"{key.name} = {value}"
    comments = textwrap.wrap(note, _WIDTH - _COLUMN - 2)
    places = [assignment, *[""] * (len(comments) - 1)]
    return [
        f"{place:{_COLUMN - 1}} # {comment}"
        for place, comment in zip(places, comments, strict=True)
    ]


def to_table(cores: Mapping[str, Core], handbook: str) -> str:
    """Write the table of cores for README.md: what each does, its latency and its size.

    Parameters
    ----------
    cores : dict of str to Core
        The cores, in order.
    handbook : str
        Text of ``docs/cores.md``, with a section and a row of sizes for each core.

    Raises
    ------
    InputError
        If there is no section or no row of a core.
    """
    lines = [
        "| core | does | latency | LUT4 | carry | FF | DSP |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, core in cores.items():
        row = re.search(rf"^\| `{name}` \|(.*)\|$", handbook, re.MULTILINE)
        heading = re.search(rf"^## (.*`{name}`.*)$", handbook, re.MULTILINE)
        for found, what in ((heading, "section"), (row, "row in its table of sizes")):
            if found is None:
                raise InputError(f"docs/cores.md has no {what} for the core {name!r}; add one")
        assert row is not None and heading is not None
        own = f"docs/{name}.md"
        anchor = re.sub(r"[^\w\- ]", "", heading[1].lower()).replace(" ", "-")
        link = own if (ROOT / own).exists() else f"docs/cores.md#{anchor}"
        cells = [cell.strip() or "0" for cell in row[1].split("|")][:4]
        latency = core.config(**next(iter(core.samples.values())).keys).component.latency
        lines.append(f"| [`{name}`]({link}) | {core.does} | {latency} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def with_table(page: str, cores: Mapping[str, Core], handbook: str) -> str:
    """Put the table of cores into the text of README.md."""
    return _TABLE.sub(lambda _: to_table(cores, handbook), page)


def _write() -> int:
    readme, handbook = ROOT / "README.md", ROOT / "docs" / "cores.md"
    pages = {DEFAULT: to_toml()}
    if readme.exists() and handbook.exists():
        pages[readme] = with_table(readme.read_text(), CORES, handbook.read_text())
    for path, text in pages.items():
        print(f"{path}: {'written' if write_if_changed(path, text) else 'unchanged'}")
    return 0


if __name__ == "__main__":
    sys.exit(run_guarded("nibblegrad.gen.core_pages", _write))
