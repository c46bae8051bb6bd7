"""Names that modules may have: those that no tool which reads them stumbles over."""

import re
from collections.abc import Iterable

from nibblegrad.gen.emission.keywords import FILE_NAMES, KEYWORDS, VHDL_KEYWORDS
from nibblegrad.golden.errors import InputError

__all__ = ["check_names"]

_LONGEST = 64


def check_names(names: Iterable[str]) -> None:
    """See that modules of one configuration have names that every tool takes.

    Raises
    ------
    InputError
        If a name is no identifier of Verilog, a word of SystemVerilog or VHDL, or the name of a
        device of Windows; if two differ in nothing but case; if one is that of a part of another.
    """
    names = list(names)
    for name in names:
        if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
            raise InputError(
                f"Module name {name[:_LONGEST]!r} is no Verilog identifier; choose another one"
            )
        if len(name) > _LONGEST:
            raise InputError(
                f"Module name {name[:20]}... has {len(name)} letters; choose one of at most "
                f"{_LONGEST}"
            )
        for words, of in (
            (KEYWORDS, "a keyword of SystemVerilog"),
            (VHDL_KEYWORDS, "a keyword of VHDL, which does not distinguish case"),
            (FILE_NAMES, "no name of a file on Windows"),
        ):
            if (name if words is KEYWORDS else name.lower()) in words:
                raise InputError(f"Module name {name!r} is {of}; choose another one")
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.lower(), name)
        if other != name:
            raise InputError(
                f"Module names {other!r} and {name!r} differ in case only, which some file systems "
                "and VHDL do not see; rename one"
            )
    for name in names:
        for other in names:
            # Parts of a module are modules called NAME__PART.
            if name.lower().startswith(f"{other.lower()}__"):
                raise InputError(
                    f"Module name {name!r} is one that a part of {other!r} may have; rename one"
                )
