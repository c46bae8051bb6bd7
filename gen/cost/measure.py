"""Measuring the units of the price list: synthesis, place and route, standard cells."""

import dataclasses
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from nibblegrad.gen.cost.catalogue import CELLS, DESIGNS, LANES, REFERENCE, Design, designs_for
from nibblegrad.gen.cost.cells import map_to_cells
from nibblegrad.gen.emission.verilog import to_verilog
from nibblegrad.gen.flow import cache
from nibblegrad.gen.flow.families import FAMILIES, TARGETS, add_own
from nibblegrad.gen.flow.parallel import ended, processes
from nibblegrad.gen.flow.placement import place
from nibblegrad.gen.flow.synthesis import synthesize
from nibblegrad.gen.interrupts import put_off
from nibblegrad.hdl.units.unit_array import UnitArray

__all__ = [
    "FREQUENCY",
    "ROWS",
    "SEEDS",
    "WITHOUT_ARRAY",
    "Figures",
    "Job",
    "array_jobs",
    "jobs",
    "measure",
]

#: Seeds of the placer: the median of these, or of the first ones where a family has fewer.
SEEDS = (1, 2, 3)

#: Rows of the array that is counted for each design: those of the default training core. One
#: column of it stands for all: they are alike, and only units of a column share logic, what
#: decodes a shift operand.
ROWS = 4

#: Float units share nothing in an array but registers, and take long to synthesise.
WITHOUT_ARRAY = ("hybrid_fp8", "float16")

#: What the placer aims at, in MHz: more than it can reach.
FREQUENCY = 400.0


@dataclass(frozen=True)
class Job:
    """Something to measure: a unit, or an array of units, for a use at a seed.

    ``seed`` is 0 for a count without placing. For ``use`` ``cells`` there are a library and the
    clock period in picoseconds.
    """

    design: str
    use: str
    seed: int = 0
    array: bool = False
    library: str = ""
    period: int = 0


@dataclass(frozen=True)
class Figures:
    """What was measured of a design for a use.

    Attributes
    ----------
    luts, flip_flops : int
        Of the unit; LUTs with what carry cells occupy. 0 for cells.
    megahertz : float
        Median of the seeds; 0 where nothing was placed.
    frequencies : tuple of float
        Of each seed.
    array_luts, array_flip_flops : int
        Of a column of :data:`ROWS` units; 0 where it was not counted.
    area, gates, registers : float
        In standard cells: area, NAND2 equivalents, and the share of flip-flops.
    remark : str
        Why there are no figures, where there are none.
    """

    design: Design
    use: str
    luts: int = 0
    flip_flops: int = 0
    frequencies: tuple[float, ...] = ()
    array_luts: int = 0
    array_flip_flops: int = 0
    area: float = 0.0
    gates: float = 0.0
    registers: float = 0.0
    remark: str = ""

    @property
    def megahertz(self) -> float:
        return statistics.median(self.frequencies) if self.frequencies else 0.0

    @property
    def luts_per_mac(self) -> float:
        return self.luts / LANES

    @property
    def array_luts_per_mac(self) -> float:
        """LUTs of a lane in an array; 0 where none was counted."""
        return self.array_luts / (LANES * ROWS)

    @property
    def macs_per_lut(self) -> float:
        """Multiply-accumulates per second and LUT, in millions; one vector per cycle."""
        return self.megahertz * LANES / self.luts if self.luts else 0.0


def jobs(uses: Iterable[str], library: Path | None, period: int, seeds: int) -> list[Job]:
    """List what there is to measure."""
    found = []
    for use in uses:
        for design in designs_for(use):
            if use == CELLS:
                found.append(Job(design.name, use, library=str(library), period=period))
                continue
            family = FAMILIES[use]
            count = min(seeds, family.pricing.seeds) if family.place and family.pricing else 0
            found += [Job(design.name, use, seed) for seed in SEEDS[:count] or (0,)]
    # What takes longest comes first, so that no processor is idle at the end.
    return sorted(found, key=lambda job: "float" not in job.design)


def array_jobs(best: Iterable[Figures]) -> list[Job]:
    """List the arrays to count: those of the best structures."""
    return [
        Job(item.design.name, item.use, array=True)
        for item in best
        if item.use == REFERENCE and item.design.format not in WITHOUT_ARRAY
    ]


def measure(
    todo: list[Job], workers: int, title: str = "Price list", folder: Path = cache.FOLDER
) -> list[Figures]:
    """Do the jobs in parallel processes, with a bar of progress, and put their results together."""
    by_name = {design.name: design for design in DESIGNS}
    results: dict[tuple[str, str], dict] = {(job.design, job.use): {} for job in todo}
    with (
        processes(workers) as pool,
        tqdm(total=len(todo), desc=title, disable=None, unit="run") as bar,
    ):
        with put_off():
            futures = {pool.submit(_run, job, folder): job for job in todo}
        for future in ended(futures):
            job = futures[future]
            found = results[job.design, job.use]
            for name, value in future.result().items():
                found[name] = found.get(name, ()) + value if name == "frequencies" else value
            bar.update()
    return [
        Figures(by_name[design], use, **found)
        for (design, use), found in sorted(
            results.items(), key=lambda item: [each.name for each in DESIGNS].index(item[0][0])
        )
    ]


def _run(job: Job, folder: Path) -> dict:
    """Do one job, in a process of its own."""
    add_own()
    design = next(design for design in DESIGNS if design.name == job.design)
    component = UnitArray(design.make, ROWS, 1) if job.array else design.make()
    verilog = to_verilog(component, "unit")
    if job.use == CELLS:
        area = map_to_cells(verilog, "unit", Path(job.library), job.period, folder)
        return dataclasses.asdict(area)
    pricing = FAMILIES[job.use].pricing
    assert pricing is not None, "only what is priced is measured"
    target = TARGETS[pricing.target]
    synthesis = synthesize(verilog, "unit", target, multipliers=False, folder=folder)
    if job.array:
        return {"array_luts": synthesis.luts, "array_flip_flops": synthesis.flip_flops}
    figures: dict = {"luts": synthesis.luts, "flip_flops": synthesis.flip_flops}
    if job.seed and synthesis.luts > target.luts:
        return {**figures, "remark": f"too large for {target.part}"}
    if job.seed:
        placement = place(synthesis, target, seed=job.seed, frequency=FREQUENCY, folder=folder)
        figures["frequencies"] = (placement.megahertz,)
    return figures
