"""Runs of the bench: trainings in parallel processes, whose results are kept."""

import dataclasses
import hashlib
import itertools
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from nibblegrad.gen.flow.cache import cached
from nibblegrad.gen.flow.parallel import ended, processes
from nibblegrad.gen.interrupts import put_off
from nibblegrad.gen.robust.cases import Case
from nibblegrad.gen.sources import ROOT, digest, sources
from nibblegrad.golden.errors import InputError
from nibblegrad.golden.training.data import Dataset
from nibblegrad.golden.training.methods import RECIPES, VARIANTS, file_of, load_files, loaded_files
from nibblegrad.golden.training.networks import Settings
from nibblegrad.golden.training.trainer import Trainer

__all__ = [
    "SKLEARN",
    "Facts",
    "Job",
    "Run",
    "jobs",
    "look_at",
    "measure",
    "source_digest",
    "train",
]

#: The yardstick of float32: the classifier of scikit-learn with defaults of its own, for mlp only.
SKLEARN = "sklearn"

# What is done with results does not change them.
_REPORTING = ("chart.py", "command.py", "report.py")


@dataclass(frozen=True)
class Job:
    """One training to do: a case, by a recipe or :data:`SKLEARN`, from a seed."""

    case: str
    recipe: str
    seed: int


@dataclass(frozen=True)
class Facts:
    """What there is to know of a case before any training.

    Attributes
    ----------
    classes, features : int
    train_rows, test_rows : int
        Sizes of the training and the test set.
    chance : float
        Share of the largest class in the test set, in percent.
    digest : str
        Of every number and label.
    """

    classes: int
    features: int
    train_rows: int
    test_rows: int
    chance: float
    digest: str


@dataclass(frozen=True)
class Run:
    """What became of a job.

    Attributes
    ----------
    case, recipe, seed :
        The job.
    accuracy : float
        On the test set after the last epoch, in percent; 0 if the training failed.
    loss : float or None
        Mean training loss of the last epoch; None if the training failed.
    seconds : float
        How long it took when it was done.
    mark : str
        Why the training failed; empty if it did not.
    findings : tuple of str
        What the trainer noticed on its way, where it has a watch.
    """

    case: str
    recipe: str
    seed: int
    accuracy: float
    loss: float | None
    seconds: float
    mark: str = ""
    findings: tuple[str, ...] = ()


def look_at(case: Case) -> Facts:
    """Make the data set of a case, and say what it is."""
    dataset = case.make()
    total = hashlib.sha256()
    for array in (dataset.train_x, dataset.train_labels, dataset.test_x, dataset.test_labels):
        total.update(f"{array.dtype.str} {array.shape} ".encode())
        total.update(array.tobytes())
    total.update(str(dataset.image_shape).encode())
    return Facts(
        classes=dataset.classes,
        features=dataset.train_x.shape[1],
        train_rows=len(dataset.train_x),
        test_rows=len(dataset.test_x),
        chance=100 * float(np.bincount(dataset.test_labels).max()) / len(dataset.test_labels),
        digest=total.hexdigest(),
    )


def jobs(
    cases: Iterable[Case], facts: Mapping[str, Facts], recipes: Sequence[str], seeds: int
) -> list[Job]:
    """List what there is to train, the longest first, so that no processor is idle at the end.

    Parameters
    ----------
    cases : iterable of Case
    facts : mapping of str to Facts
        Of each case, by its name.
    recipes : sequence of str
        Keys of :data:`nibblegrad.golden.training.methods.RECIPES`, and :data:`SKLEARN`, which
        leaves out ``cnn``.
    seeds : int
        Count of seeds, from 0.
    """
    found = [
        (_effort(case, facts[case.name], recipe), Job(case.name, recipe, seed))
        for case in cases
        for recipe in recipes
        if recipe != SKLEARN or case.settings.network == "mlp"
        for seed in range(seeds)
    ]
    return [job for _, job in sorted(found, key=lambda item: -item[0])]


def _effort(case, facts, recipe):
    """Estimate the seconds of a run; only their order matters."""
    settings = case.settings
    if settings.network == "mlp":
        sizes = (facts.features, *settings.hidden, facts.classes)
        products = sum(a * b for a, b in itertools.pairwise(sizes))
    else:
        # The features are the pixels of the first convolution, and pooling leaves a quarter.
        channels = (1, *settings.channels)
        products = sum(
            9 * a * b * facts.features / 4**depth
            for depth, (a, b) in enumerate(itertools.pairwise(channels))
        )
    epochs, batch = (100, 200) if recipe == SKLEARN else (settings.epochs, settings.batch)
    steps = epochs * -(-facts.train_rows // batch)
    is_quantized = recipe != SKLEARN and (RECIPES | VARIANTS)[recipe].quantized
    slowdown = 4 if is_quantized else 1
    return steps * slowdown * (2e-4 + products * batch * 1e-9)


def source_digest(root: Path = ROOT) -> str:
    """Digest the sources that decide what a run gives.

    These are all of ``golden``, and of this package all but what only reports.

    Parameters
    ----------
    root : Path
        Folder of ``golden`` and ``gen``.
    """
    return digest([*sources(["golden"], root), *_own_sources(root)], root)


def _own_sources(root):
    return [p for p in sources(["gen/robust"], root) if p.name not in _REPORTING]


def train(case: Case, recipe: str, seed: int) -> dict[str, Any]:
    """Train once, in one thread.

    Parameters
    ----------
    case : Case
    recipe : str
        Key of :data:`nibblegrad.golden.training.methods.RECIPES`, or :data:`SKLEARN`.
    seed : int

    Returns
    -------
    dict
        The attributes of :class:`Run` but for those of the job, JSON-serialisable. A training that
        diverges has accuracy 0, and the sentence that says so as its mark.
    """
    from threadpoolctl import threadpool_limits

    dataset = case.make()
    begin = time.perf_counter()
    # Numbers that overflow on the way to a loss that is not finite are no news of their own.
    with threadpool_limits(1), np.errstate(over="ignore", invalid="ignore"):
        if recipe == SKLEARN:
            result = _train_sklearn(dataset, case.settings, seed)
        else:
            result = _train_golden(dataset, case.settings, recipe, seed)
    return {**result, "seconds": round(time.perf_counter() - begin, 3)}


def _train_golden(dataset: Dataset, settings: Settings, recipe: str, seed: int) -> dict[str, Any]:
    trainer = None
    result: dict[str, Any]
    try:
        trainer = Trainer((RECIPES | VARIANTS)[recipe], dataset, settings, seed)
        history = trainer.run()
    except InputError as error:
        result = {"accuracy": 0.0, "loss": None, "mark": str(error)}
    else:
        result = {"accuracy": 100 * history.accuracies[-1], "loss": history.losses[-1], "mark": ""}
    watch = getattr(trainer, "watch", None)
    return {**result, "findings": [str(finding) for finding in getattr(watch, "findings", ())]}


def _train_sklearn(dataset: Dataset, settings: Settings, seed: int) -> dict[str, Any]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    network = MLPClassifier(hidden_layer_sizes=settings.hidden, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(dataset.train_x, dataset.train_labels)
    right = np.count_nonzero(network.predict(dataset.test_x) == dataset.test_labels)
    accuracy = 100 * int(right) / len(dataset.test_labels)
    return {"accuracy": accuracy, "loss": float(network.loss_), "mark": "", "findings": []}


def measure(
    todo: Sequence[Job],
    cases: Mapping[str, Case],
    facts: Mapping[str, Facts],
    workers: int,
    folder: Path,
) -> list[Run]:
    """Do the jobs in parallel processes, with a bar of progress.

    What was done before, of the same sources and data, is not done again. On an interrupt the
    runs that are not complete are given up.

    Parameters
    ----------
    todo : sequence of Job
    cases : mapping of str to Case
        By name.
    facts : mapping of str to Facts
        Of each case, by its name.
    workers : int
        Count of processes.
    folder : Path
        Where results are kept.

    Returns
    -------
    list of Run
        In the order of ``todo``; fewer than that after an interrupt.
    """
    digests = {True: digest(_own_sources(ROOT)), False: source_digest()}
    runs: dict[Job, Run] = {}
    futures: dict[Future, Job] = {}
    try:
        with (
            processes(workers) as pool,
            tqdm(total=len(todo), desc="Robustness", disable=None, unit="run") as bar,
        ):
            with put_off():
                for job in todo:
                    case = cases[job.case]
                    # The yardstick depends on the golden model only through the data.
                    sources = digests[job.recipe == SKLEARN]
                    key = _key(case, job, facts[job.case].digest, sources)
                    files = loaded_files()
                    futures[pool.submit(_run, case, job, key, folder, files)] = job
            for future in ended(futures):
                runs[futures[future]] = future.result()
                bar.update()
    except KeyboardInterrupt:
        for future, job in futures.items():
            if future.done() and not future.cancelled() and not future.exception():
                runs[job] = future.result()
    return [runs[job] for job in todo if job in runs]


def _key(case: Case, job: Job, data: str, sources: str) -> dict[str, Any]:
    key = {
        "step": "robust",
        **dataclasses.asdict(job),
        "settings": dataclasses.asdict(case.settings),
        "data": data,
        "sources": sources,
        "versions": {package: version(package) for package in ("numpy", "scikit-learn")},
    }
    if own := file_of(job.recipe):
        key["method"] = hashlib.sha256(own.read_bytes()).hexdigest()
    return key


def _run(case: Case, job: Job, key: dict[str, Any], folder: Path, files: Sequence[Path]) -> Run:
    """Do one job, unless its result is there; methods of users may be news to this process."""
    load_files(files)
    _, result = cached(key, lambda _: train(case, job.recipe, job.seed), folder)
    return Run(**dataclasses.asdict(job), **{**result, "findings": tuple(result["findings"])})
