"""The price list as Markdown and CSV."""

import csv
import io
import math

from nibblegrad.gen.cost.catalogue import CELLS, DESIGNS, FORMATS, LANES, REFERENCE
from nibblegrad.gen.cost.measure import ROWS, SEEDS, Figures
from nibblegrad.gen.cost.neighbours import MEASURED, PUBLISHED
from nibblegrad.gen.flow.families import FAMILIES
from nibblegrad.golden.errors import InputError

__all__ = ["best_of", "comma_separated", "markdown", "read", "training_steps"]


def best_of(figures: list[Figures], use: str) -> dict[str, Figures]:
    """Choose for each format the structure with most MAC/s per LUT; without MHz, fewest LUTs."""

    def merit(item: Figures):
        if use == CELLS:
            return (0.0, -item.area)
        return (item.macs_per_lut, -item.luts)

    best: dict[str, Figures] = {}
    for item in figures:
        name = item.design.format
        if item.use == use and (name not in best or merit(item) > merit(best[name])):
            best[name] = item
    return best


def training_steps(figures: list[Figures]) -> list[tuple[str, int, float, float]]:
    """Find the area-time of a full training step (forward and two backward GEMMs), on
    :data:`nibblegrad.gen.cost.catalogue.REFERENCE`.

    Returns
    -------
    list of (format, passes, LUT per MAC, LUT microseconds for a million MACs of each GEMM)
        For formats that make a training step, in an array where it was counted; the last is
        passes * LUT per MAC / MHz.
    """
    rows = []
    for name, item in best_of(figures, REFERENCE).items():
        passes = FORMATS[name].passes
        if passes and item.megahertz:
            per_mac = item.array_luts_per_mac or item.luts_per_mac
            rows.append((name, passes, per_mac, passes * per_mac / item.megahertz))
    return rows


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows), ""]


def _number(value: float, digits: int = 1) -> str:
    return f"{value:,.{digits}f}" if value else "-"


def markdown(figures: list[Figures], versions: list[str], cells: str) -> str:
    """Write the whole price list."""
    uses = [use for use in (*FAMILIES, CELLS) if any(item.use == use for item in figures)]
    lines = [
        "# The price list",
        "",
        f"One multiply-accumulate in a unit of {LANES} lanes: registered operands, products, an",
        "adder tree and accumulator, a vector per cycle, from one generator and in one flow:",
        f"{', '.join(versions)}. Written by `make cost`; do not edit.",
        "",
        *_conditions(),
        "",
        "## Best structure of each format",
        "",
    ]
    for use in uses:
        if use == CELLS:
            lines += [f"**Standard cells** ({cells})", ""]
            lines += _cells_table(list(best_of(figures, use).values()))
            continue
        lines += [f"**{FAMILIES[use].label}**", ""]
        lines += _fpga_table(list(best_of(figures, use).values()), use)
    lines += ["## A full training step", ""]
    lines += [
        f"Forward and two backward GEMMs of the same size on an array of {ROWS} rows of such units",
        f"({FAMILIES[REFERENCE].label}; floats: units alone): passes, times LUTs of a lane in the "
        "array, by MHz",
        "of the unit. Relative to FP4 with INT4 by digits, whose decoders a column shares.",
        "",
    ]
    steps = training_steps(figures)
    unit = next((cost for name, *_, cost in steps if name == "digits"), 0.0)
    lines += _table(
        ["format", "passes", "LUT per MAC", "LUT x time", "relative", "how"],
        [
            [
                FORMATS[name].label,
                str(passes),
                _number(per_mac),
                _number(cost, 3),
                _number(cost / unit, 2) if unit else "-",
                FORMATS[name].step,
            ]
            for name, passes, per_mac, cost in steps
        ],
    )
    lines += ["## Every structure that was tried", ""]
    for use in uses:
        lines += [f"**{use if use == CELLS else FAMILIES[use].label}**", ""]
        chosen = [item for item in figures if item.use == use]
        lines += _cells_table(chosen) if use == CELLS else _fpga_table(chosen, use)
    lines += _neighbours()
    return "\n".join(lines).rstrip() + "\n"


def _conditions() -> list[str]:
    """Say what LUTs and MHz are."""
    doubled = ", ".join(
        family.label
        for family in FAMILIES.values()
        if family.carry_cell and family.luts[family.carry_cell] == 2
    )
    counted = "; ".join(
        f"{family.label} is `{family.synthesis.split()[0]}`: counted, not placed"
        for family in FAMILIES.values()
        if family.pricing and not family.place
    )
    reference = FAMILIES[REFERENCE]
    assert reference.pricing is not None
    return [
        f"LUTs include those that carry cells take ({doubled}: two per carry cell). "
        f"{reference.label} is {reference.pricing.target},",
        f"{reference.pricing.conditions}. MHz: median of as many seeds as the column says, of "
        f"{', '.join(map(str, SEEDS))}.",
        f"No hard multipliers. {counted}.",
    ]


def _fpga_table(figures: list[Figures], use: str) -> list[str]:
    arrays = use == REFERENCE
    head = ["format", "structure", "LUT per MAC", "FF per MAC"]
    head += [f"LUT per MAC, array of {ROWS} rows"] if arrays else []
    head += [] if not FAMILIES[use].place else ["MHz", "seeds", "million MAC/s per LUT"]
    rows = []
    for item in figures:
        row = [
            FORMATS[item.design.format].label,
            item.design.structure,
            _number(item.luts_per_mac),
            _number(item.flip_flops / LANES),
        ]
        row += [_number(item.array_luts_per_mac)] if arrays else []
        if FAMILIES[use].place:
            row += [_number(item.megahertz, 0) if item.megahertz else item.remark or "-"]
            row += [str(len(item.frequencies)), _number(item.macs_per_lut, 2)]
        rows.append(row)
    return _table(head, rows)


def _cells_table(figures: list[Figures]) -> list[str]:
    return _table(
        ["format", "structure", "area", "NAND2 per MAC", "of it flip-flops"],
        [
            [
                FORMATS[item.design.format].label,
                item.design.structure,
                _number(item.area, 0),
                _number(item.gates / LANES),
                f"{item.registers:.0%}",
            ]
            for item in figures
        ],
    )


def _neighbours() -> list[str]:
    lines = [
        "## Neighbours",
        "",
        "Designs of others through the same tools, from the commits named. They are processing",
        "elements with accumulator and control of their own rather than lanes of a 16-lane unit.",
        "",
    ]
    lines += _table(
        ["design", "commit", "formats", "ECP5 LUT per MAC", "MHz", "7 series LUT per MAC"],
        [
            [each.project, f"`{each.commit}`", each.formats, each.luts or "-",
             each.megahertz or "-", each.lut6]
            for each in MEASURED
        ],
    )  # fmt: skip
    lines += ["Published by others, not measured here:", ""]
    lines += _table(["what", "figure", "source"], [list(each) for each in PUBLISHED])
    lines += [
        "**Where others win.** FINN puts four INT4 products into one DSP48: where DSP blocks are",
        "free, that is fewer LUTs than any lane here. In the carry cells of ECP5, an INT4",
        "multiplier of two bits per cell is as small as the FP4 shifter; what FP4 saves is the",
        "wider integers that its range would need, or a multiplier beside it. In standard cells,",
        "registers and not multipliers are most of the small formats.",
        "E2M1 with block scales is what most 4-bit training uses today; [1,3,0] is not MXFP4.",
        "",
    ]
    return lines


def comma_separated(figures: list[Figures]) -> str:
    """Write every figure as CSV."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        "use format structure luts flip_flops luts_per_mac megahertz seeds mega_macs_per_lut "
        "array_luts array_flip_flops area gates registers remark".split()
    )
    for item in figures:
        writer.writerow(
            [
                item.use,
                item.design.format,
                item.design.structure,
                item.luts,
                item.flip_flops,
                round(item.luts_per_mac, 3),
                item.megahertz,
                " ".join(map(str, sorted(item.frequencies))),
                round(item.macs_per_lut, 4),
                item.array_luts,
                item.array_flip_flops,
                round(item.area, 1),
                round(item.gates, 1),
                round(item.registers, 4),
                item.remark,
            ]
        )
    return out.getvalue()


def read(text: str, name: str) -> list[Figures]:
    """Read what :func:`comma_separated` wrote.

    Parameters
    ----------
    text : str
        A whole ``price_list.csv``.
    name : str
        What to call it in a complaint.

    Raises
    ------
    InputError
        If it is no such text, or has a structure that the catalogue does not know.
    """
    by_key = {(design.format, design.structure): design for design in DESIGNS}
    rows = csv.DictReader(io.StringIO(text))
    figures: list[Figures] = []
    try:
        for row in rows:
            design = by_key[row["format"], row["structure"]]
            figures.append(
                Figures(
                    design,
                    row["use"],
                    luts=int(row["luts"]),
                    flip_flops=int(row["flip_flops"]),
                    frequencies=tuple(map(_finite, row["seeds"].split())),
                    array_luts=int(row["array_luts"]),
                    array_flip_flops=int(row["array_flip_flops"]),
                    area=_finite(row["area"]),
                    gates=_finite(row["gates"]),
                    registers=_finite(row["registers"]),
                    remark=row["remark"],
                )
            )
    except (AttributeError, KeyError, TypeError, ValueError, csv.Error):
        raise InputError(
            f"Price list {name}: line {len(figures) + 2} is none of a price list of this release; "
            "make it anew with `nibblegrad cost`"
        ) from None
    return figures


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value
