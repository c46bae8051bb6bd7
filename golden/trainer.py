"""Trainer for multi-layer perceptrons, in float32 and by the 4-bit recipes."""

# Ref: Esser et al., arXiv 1902.08153v3 (int4); Chmiel et al., arXiv 2112.10769 (luq);
#      Sun et al., NeurIPS 2020 (two_phase)

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from . import data
from .backend import Backend, Call, NumpyBackend, RecordingBackend
from .data import Dataset
from .errors import InputError
from .formats import Fp4Format
from .fp4_quantizer import Fp4Mode
from .layers import Dense, GradientRecipe, QuantizedDense, softmax_cross_entropy
from .optimizers import MomentumSGD, cosine_schedule
from .random_bits import RandomBits, seed_state
from .stochastic_rounder import round_float

__all__ = ["RECIPES", "History", "Recipe", "Settings", "Trainer", "record_steps"]

# Streams of the random generator: the noise of layer i is stream i; the others start above.
_WEIGHT_STREAM = 1 << 16
_SHUFFLE_STREAM = 1 << 17


@dataclass(frozen=True)
class Recipe:
    """Training method.

    Parameters
    ----------
    name : str
        Name used on the command line.
    quantized : bool
        Whether the forward pass is INT4.
    gradient : GradientRecipe or None
        How output gradients become FP4; None trains straight through in float32.
    """

    name: str
    quantized: bool
    gradient: GradientRecipe | None = None


#: Every recipe, by name.
RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("float32", quantized=False),
        Recipe("int4", quantized=True),
        Recipe(
            "luq",
            quantized=True,
            gradient=GradientRecipe(Fp4Format(1), Fp4Mode.STOCHASTIC),
        ),
        Recipe(
            "two_phase",
            quantized=True,
            gradient=GradientRecipe(Fp4Format(2), Fp4Mode.NEAREST, phases=(0, 1)),
        ),
    )
}


@dataclass(frozen=True)
class Settings:
    """Network and schedule, the same for all recipes.

    Parameters
    ----------
    hidden : tuple of int
        Features of the hidden layers.
    epochs, batch : int
        Count of passes over the training set, and of rows in a mini-batch.
    learning_rate : float
        Learning rate of the first step.
    momentum, weight_decay : float
        See :class:`golden.optimizers.MomentumSGD`.

    Raises
    ------
    InputError
        If a number is not positive.
    """

    hidden: tuple[int, ...] = (128, 128)
    epochs: int = 20
    batch: int = 64
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        counts = [("Hidden layer size", size) for size in self.hidden]
        for what, count in [*counts, ("Epochs", self.epochs), ("Batch size", self.batch)]:
            if count < 1:
                raise InputError(f"{what} must be at least 1, not {count}")
        if not 0 < self.learning_rate < math.inf:
            raise InputError(f"Learning rate must be positive, not {self.learning_rate}")


@dataclass
class History:
    """What happened in each epoch.

    Attributes
    ----------
    losses : list of float
        Mean training loss.
    accuracies : list of float
        Part of the test set that was labelled right after the epoch, 0 to 1.
    """

    losses: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)


class Trainer:
    """Network in training.

    All randomness comes from :mod:`golden.random_bits`, so the seed decides every bit: of the
    noise (stream ``i`` for layer ``i``), the initial weights and the order of the rows.

    Parameters
    ----------
    recipe : Recipe
        Training method.
    dataset : Dataset
        Images and labels.
    settings : Settings
        Network and schedule.
    seed : int
        0 to ``2**64 - 1``.
    backend : Backend or None
        Who computes what is 4-bit; the golden model if not given.

    Attributes
    ----------
    layers : list of Dense or QuantizedDense
        First layer first.
    history : History
        Epochs so far.
    """

    def __init__(
        self,
        recipe: Recipe,
        dataset: Dataset,
        settings: Settings | None = None,
        seed: int = 0,
        backend: Backend | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self.history = History()
        self._recipe = recipe
        self._data = dataset
        self._backend = backend or NumpyBackend()
        self._order = RandomBits(seed_state(seed, _SHUFFLE_STREAM))
        self._steps_done = 0
        self._steps = self.settings.epochs * -(-len(dataset.train_x) // self.settings.batch)
        self.layers = self._build(seed)
        self._optimizers = [
            MomentumSGD(self.settings.momentum, self.settings.weight_decay) for _ in self.layers
        ]

    def batches(self) -> Iterator[npt.NDArray[np.int64]]:
        """Deal the rows of the training set into the mini-batches of one epoch.

        The last one may be smaller.
        """
        rows = len(self._data.train_x)
        order = np.argsort(self._order.words(rows), kind="stable")
        for first in range(0, rows, self.settings.batch):
            yield order[first : first + self.settings.batch]

    def step(self, rows: npt.NDArray[np.integer]) -> float:
        """Train on one mini-batch, and return its loss before the update.

        Parameters
        ----------
        rows : array of int, shape (batch,)
            Rows of the training set.

        Raises
        ------
        InputError
            If the loss is not finite any more.
        """
        logits = self.forward(self._data.train_x[rows])
        if self._recipe.quantized:
            logits = logits.astype(np.float64)
        loss, gradient = softmax_cross_entropy(logits, self._data.train_labels[rows])
        if not math.isfinite(loss):
            raise InputError(
                f"Training diverged in step {self._steps_done}: the loss is {loss}; "
                f"choose a learning rate below {self.settings.learning_rate}"
            )
        if self._recipe.gradient:
            gradient = round_float(gradient, self._backend.wide).values.astype(np.float32)
        for layer in reversed(self.layers):
            gradient = layer.backward(gradient)
        rate = cosine_schedule(self.settings.learning_rate, self._steps_done, self._steps)
        for layer, optimizer in zip(self.layers, self._optimizers, strict=True):
            optimizer.update(layer.parameters, layer.gradients, rate)
        self._steps_done += 1
        return loss

    def forward(self, x: npt.NDArray) -> npt.NDArray:
        """Compute the logits, (batch, features) to (batch, classes)."""
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def accuracy(self) -> float:
        """Compute the part of the test set that is labelled right, 0 to 1."""
        labels = self.forward(self._data.test_x).argmax(axis=1)
        return float(np.mean(labels == self._data.test_labels))

    def run(self, on_epoch: Callable[[], object] = lambda: None) -> History:
        """Train for all epochs.

        Parameters
        ----------
        on_epoch : function
            Called after each epoch.
        """
        for _ in range(self.settings.epochs):
            losses = [self.step(rows) for rows in self.batches()]
            self.history.losses.append(float(np.mean(losses)))
            self.history.accuracies.append(self.accuracy())
            on_epoch()
        return self.history

    def _build(self, seed):
        sizes = [self._data.train_x.shape[1], *self.settings.hidden, self._data.classes]
        # The steps of the activations start from the first rows.
        x: npt.NDArray = self._data.train_x[: self.settings.batch]
        layers = []
        for i, (in_features, out_features) in enumerate(itertools.pairwise(sizes)):
            words = RandomBits(seed_state(seed, _WEIGHT_STREAM + i))
            weights = _initial_weights(words, out_features, in_features)
            has_relu = i < len(self.settings.hidden)
            layer: Dense | QuantizedDense
            if self._recipe.quantized:
                noise = RandomBits(seed_state(seed, i))
                layer = QuantizedDense(
                    f"layer{i}",
                    weights,
                    has_relu,
                    x,
                    self._recipe.gradient,
                    self._backend,
                    noise,
                )
            else:
                layer = Dense(weights, has_relu)
            x = layer.forward(x)
            layers.append(layer)
        return layers


def _initial_weights(words, out_features, in_features):
    """He et al., ICCV 2015: variance ``2 / in_features``, here of a uniform distribution."""
    uniform = words.words(out_features * in_features) * 2.0**-31 - 1.0
    weights = uniform * math.sqrt(6 / in_features)
    return weights.astype(np.float32).reshape(out_features, in_features)


def record_steps(
    recipe: Recipe,
    epochs: int,
    which: Sequence[str] = ("first", "middle", "last"),
    *,
    dataset: Dataset | None = None,
    settings: Settings | None = None,
    seed: int = 0,
    backend: Backend | None = None,
) -> dict[str, list[Call]]:
    """Train, and record every use of a core in the first step of some epochs.

    Parameters
    ----------
    recipe : Recipe
        Training method.
    epochs : int
        Count of epochs; it replaces that of ``settings``.
    which : sequence of str
        Which epochs: ``first``, ``middle`` (number ``epochs // 2``, from 0) or ``last``.
    dataset : Dataset or None
        Images and labels; the digits if not given.
    settings, seed, backend :
        As in :class:`Trainer`.

    Returns
    -------
    dict of list of Call
        Calls of each step in order, by the words in ``which``.

    Raises
    ------
    InputError
        If ``which`` has another word.
    """
    numbers = {"first": 0, "middle": epochs // 2, "last": epochs - 1}
    for word in which:
        if word not in numbers:
            raise InputError(f"Epoch to record must be first, middle or last, not {word!r}")
    base = settings or Settings()
    recorder = RecordingBackend(backend or NumpyBackend())
    recorder.recording = False
    trainer = Trainer(
        recipe,
        dataset or data.digits(),
        dataclasses.replace(base, epochs=epochs),
        seed,
        recorder,
    )
    steps: dict[str, list[Call]] = {}
    for epoch in range(epochs):
        words = [word for word in which if numbers[word] == epoch]
        for number, rows in enumerate(trainer.batches()):
            recorder.recording = bool(words) and number == 0
            trainer.step(rows)
        for word in words:
            steps[word] = recorder.calls
        recorder.calls = []
    return steps
