"""The runs of ``nibblegrad train``: one after the other, and what has finished is never lost."""

import dataclasses
import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nibblegrad.gen.interrupts import put_off
from nibblegrad.gen.outputs import prepare_folder
from nibblegrad.gen.training.report import Run, Runs
from nibblegrad.golden.errors import InputError
from nibblegrad.golden.training import checkpoint
from nibblegrad.golden.training.data import Dataset
from nibblegrad.golden.training.networks import Settings
from nibblegrad.golden.training.recipes import Recipe
from nibblegrad.golden.training.trainer import History, Trainer
from nibblegrad.golden.training.watch import Finding

__all__ = ["Job", "Outcome", "check", "make_jobs", "train"]


@dataclass(frozen=True)
class Job:
    """One training to do.

    Attributes
    ----------
    settings : Settings
        Network and schedule.
    recipe : Recipe
    seed : int
    load, save : Path or None
        Checkpoint that it goes on from, and the one that it leaves.
    """

    settings: Settings
    recipe: Recipe
    seed: int
    load: Path | None = None
    save: Path | None = None

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return f"{self.settings.network} {self.recipe.name}, seed {self.seed}"

    def start(self, dataset: Dataset, *, strict: bool = False) -> Trainer:
        """Make its trainer, which goes on from the checkpoint if there is one."""
        trainer = Trainer(self.recipe, dataset, self.settings, self.seed, strict=strict)
        if self.load:
            trainer.restore(checkpoint.load(self.load))
        return trainer


@dataclass
class Outcome:
    """What became of the jobs.

    Attributes
    ----------
    runs : Runs
        Those that have ended, by themselves or by a failure.
    stopped : BaseException or None
        What ended all the rest: an interrupt, say.
    """

    runs: Runs = dataclasses.field(default_factory=dict)
    stopped: BaseException | None = None

    def missing(self, jobs: Sequence[Job]) -> str:
        """Say which runs are missing, none of which is an empty text."""
        done = sum(map(len, self.runs.values()))
        names = [job.name for job in jobs[done:]]
        if not names:
            return ""
        verb = "is" if len(names) == 1 else "are"
        return f"{len(names)} of {len(jobs)} runs {verb} missing: {'; '.join(names)}"

    def failures(self, jobs: Sequence[Job]) -> str:
        """Say how many runs have failed, and why the first one has; an empty text if none has."""
        ended = itertools.chain.from_iterable(self.runs.values())
        # Jobs are done in order, so that what has ended are the first of them.
        failed = [(j, run) for j, run in zip(jobs, ended, strict=False) if run.failure]
        if not failed:
            return ""
        job, run = failed[0]
        first = "" if len(failed) == 1 else ", the first of them"
        return f"{len(failed)} of {len(jobs)} runs failed{first}: {job.name}: {run.failure}"


def make_jobs(
    settings: Sequence[Settings],
    recipes: Sequence[Recipe],
    seeds: int,
    load: Path | None,
    save: Path | None,
) -> list[Job]:
    """List the trainings: each network by each recipe from each seed.

    Parameters
    ----------
    settings : sequence of Settings
        Of each network.
    recipes : sequence of Recipe
    seeds : int
        Count of seeds, from 0.
    load, save : Path or None
        Checkpoints. Where there are several trainings, each has one of its own:
        ``net-mlp-luq-0.npz`` for ``net.npz``.
    """
    every = list(itertools.product(settings, recipes, range(seeds)))

    def path_of(path, own, recipe, seed):
        if path is None or len(every) == 1:
            return path
        return path.with_name(f"{path.stem}-{own.network}-{recipe.name}-{seed}{path.suffix}")

    return [Job(*each, path_of(load, *each), path_of(save, *each)) for each in every]


def check(jobs: Sequence[Job], dataset: Dataset) -> None:
    """Refuse what a later job could not begin with, or end with, before the first one is done.

    Raises
    ------
    InputError
        If data do not fit a network, a checkpoint cannot be gone on from, or one cannot be saved.
    """
    networks = set()
    for job in jobs:
        if job.save:
            prepare_folder(job.save.parent, remedy="name another one with --save")
            checkpoint.check_target(job.save)
        if job.load or job.settings.network not in networks:
            job.start(dataset)
        networks.add(job.settings.network)


def train(jobs: Sequence[Job], dataset: Dataset, *, strict: bool, judge_only: bool) -> Outcome:
    """Do the jobs.

    A run that fails is marked, and the others go on; if it is strict, they do not.

    Parameters
    ----------
    jobs : sequence of Job
    dataset : Dataset
    strict : bool
        Whether anything that goes wrong ends everything.
    judge_only : bool
        Whether networks are judged as they are, without training.
    """
    from tqdm import tqdm

    outcome = Outcome()
    total = sum(0 if judge_only else job.settings.epochs for job in jobs)
    # No bar where standard error is no terminal. Numbers that overflow on the way to a loss that is
    # not finite are no news of their own.
    with (
        tqdm(total=total, unit="epoch", disable=None) as bar,
        np.errstate(over="ignore", invalid="ignore"),
    ):
        try:
            for job in jobs:
                bar.set_description(f"{job.settings.network} {job.recipe.name}")
                trainer, run = _run(job, dataset, bar, strict, judge_only)
                group = outcome.runs.setdefault((job.settings.network, job.recipe.name), [])
                # A run that is saved is in the table, too.
                with put_off():
                    group.append(run)
                    if job.save and trainer and not run.failure:
                        checkpoint.save(trainer.checkpoint(), job.save)
        # Whatever it is, what has finished is reported before it goes on its way.
        except BaseException as error:
            outcome.stopped = error
    return outcome


def _run(
    job: Job, dataset: Dataset, bar: Any, strict: bool, judge_only: bool
) -> tuple[Trainer | None, Run]:
    trainer, failure = None, ""
    try:
        trainer = job.start(dataset, strict=strict)
        if judge_only:
            history = History([float("nan")], [trainer.accuracy()])
        else:
            history = trainer.run(_Report(job.name, trainer.watch.findings, bar).epoch)
    except InputError as error:
        if strict:
            raise
        failure = str(error)
        bar.write(f"warning: {job.name}: {failure}", file=sys.stderr)
        if trainer is None:
            return None, Run(History(), [], [], failure)
        history = trainer.history
    return trainer, Run(history, trainer.watch.figures, trainer.watch.findings, failure)


@dataclass
class _Report:
    """Progress of a training, and the first thing that goes wrong: others mostly follow from it."""

    name: str
    findings: list[Finding]
    bar: Any
    is_said: bool = False

    def epoch(self) -> None:
        if self.findings and not self.is_said:
            self.bar.write(f"warning: {self.name}: {self.findings[0]}", file=sys.stderr)
            self.is_said = True
        self.bar.update()
