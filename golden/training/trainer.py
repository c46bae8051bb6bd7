"""Trainer for small networks, in float32 and by the 4-bit recipes."""

import contextlib
import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from nibblegrad.golden.engine.device import CoreError
from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.random_bits import RandomBits, seed_state
from nibblegrad.golden.training import data
from nibblegrad.golden.training.backend import NumpyBackend
from nibblegrad.golden.training.checkpoint import Checkpoint
from nibblegrad.golden.training.data import Dataset
from nibblegrad.golden.training.features import FeatureScale
from nibblegrad.golden.training.layers import Layer
from nibblegrad.golden.training.methods import RECIPES
from nibblegrad.golden.training.networks import JUDGED_ROWS, Settings, build_network, check_size
from nibblegrad.golden.training.operations import Call, RecordingOperations
from nibblegrad.golden.training.optimizers import clip_factor, cosine_schedule
from nibblegrad.golden.training.passes import Backend, Passes, Weights
from nibblegrad.golden.training.recipes import Recipe
from nibblegrad.golden.training.watch import Watch

__all__ = ["RECIPES", "History", "Recipe", "Settings", "Trainer", "record_steps"]

# Stream of the random generator, beside 0 and 1 of the backend and those of the weights.
_SHUFFLE_STREAM = 1 << 17


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

    All randomness comes from :mod:`nibblegrad.golden.numbers.random_bits`, so the seed decides
    every bit: of the initial weights, of the order of the rows and, with the backend that is made
    here, of the noise.

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
        Who computes what is 4-bit, with a seed of its own; the golden model with this seed if not
        given.
    strict : bool
        Whether training stops when the watch has found something.

    Attributes
    ----------
    settings, recipe, seed :
        As given.
    scaled : Dataset
        Images and labels, the features as the first layer gets them.
    layers : dict of Layer
        By name, first layer first.
    history : History
        Epochs so far.
    watch : Watch
        What went wrong, and how the layers used their codes.

    Raises
    ------
    InputError
        If the network cannot be made for the data.
    """

    def __init__(
        self,
        recipe: Recipe,
        dataset: Dataset,
        settings: Settings | None = None,
        seed: int = 0,
        backend: Backend | None = None,
        *,
        strict: bool = False,
    ) -> None:
        self.settings = settings or Settings()
        self.history = History()
        self.recipe = recipe
        self.seed = seed
        check_size(self.settings, dataset)
        self._given = dataset
        self._scale = data.feature_scale(dataset)
        self.scaled = dataset = data.scale_features(dataset, self._scale)
        self._backend = backend or NumpyBackend(seed=seed)
        self._order = RandomBits(seed_state(seed, _SHUFFLE_STREAM))
        self._steps_done = 0
        steps = -(-len(dataset.train_x) // self.settings.batch)
        self._steps = self.settings.epochs * steps
        self.layers: dict[str, Layer] = build_network(
            self.settings, dataset, seed, recipe, self._backend
        )
        # What gradient descent changes; steps have a rule of their own.
        self._weights = {
            name: {key: value for key, value in layer.parameters.items() if key not in layer.steps}
            for name, layer in self.layers.items()
        }
        self.watch = Watch(self.layers, dataset.train_labels, self.settings.epochs, steps)
        self._strict = strict
        self._optimizers = {
            name: recipe.optimizer(self.settings.momentum, self.settings.weight_decay)
            for name in self.layers
        }
        self._loss = recipe.loss(in_double=recipe.quantized, is_rounded=recipe.last is not None)
        self._hooks = [make(self.layers) for make in recipe.hooks]

    def parameters(self) -> dict[str, npt.NDArray]:
        """Copy all that training changes, by names such as ``layer0.weights``.

        These are weights, biases, step sizes, and the parameters and running averages of batch
        normalisation. Backends that compute the same have the same bits here.
        """
        return {
            f"{name}.{key}": value.copy()
            for name, layer in self.layers.items()
            for key, value in (*layer.parameters.items(), *layer.statistics.items())
        }

    def checkpoint(self) -> Checkpoint:
        """Copy all that :meth:`restore` goes on from."""
        arrays: dict[str, npt.NDArray] = self.parameters()
        for name, layer in self.layers.items():
            arrays |= {f"{name}.{key}.state": step.state for key, step in layer.steps.items()}
        for key, value in dataclasses.asdict(self._scale).items():
            arrays[f"features.{key}"] = value.copy()
        return Checkpoint(self._about(), arrays)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from the network of another training.

        Weights, biases, steps, the averages of batch normalisation and the scale of the features
        are restored, so that forward passes give the same bits. The learning rate begins its
        schedule anew, and so do momentum and the random numbers: this is another training.

        Parameters
        ----------
        checkpoint : Checkpoint
            Made by :meth:`checkpoint` of a trainer with the same network, recipe and kind of data.

        Raises
        ------
        InputError
            If it is of another network, recipe or kind of data.
        """
        checkpoint.check(self._about(), self.checkpoint().arrays)
        arrays = checkpoint.arrays
        for name, layer in self.layers.items():
            for key, value in (*layer.parameters.items(), *layer.statistics.items()):
                value[...] = arrays[f"{name}.{key}"]
            for key, step in layer.steps.items():
                step.restore(arrays[f"{name}.{key}"], arrays[f"{name}.{key}.state"])
        fields = (field.name for field in dataclasses.fields(FeatureScale))
        self._scale = FeatureScale(**{key: arrays[f"features.{key}"] for key in fields})
        self.scaled = data.scale_features(self._given, self._scale)

    def _about(self):
        """What must be the same for :meth:`restore`, JSON-serialisable; first what is plainest."""
        settings, given = self.settings, self._given
        sizes = settings.hidden if settings.network == "mlp" else settings.channels
        about = {
            "network": settings.network,
            "recipe": self.recipe.name,
            "hidden layers" if settings.network == "mlp" else "channels": sizes,
            "step rule": settings.step_rule,
            "count of features": given.train_x.shape[1],
            "image shape": given.image_shape if settings.network == "cnn" else None,
            "count of classes": given.classes,
            "kind of features": "of units of their own" if given.own_units else "bytes",
            "recipe fields": self.recipe.about(),
        }
        return json.loads(json.dumps(about))

    def batches(self) -> Iterator[npt.NDArray[np.int64]]:
        """Deal the rows of the training set into the mini-batches of one epoch.

        The last one may be smaller.
        """
        rows = len(self.scaled.train_x)
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
            If the loss is not finite any more; if training is strict, and something is wrong.
        """
        for hook in self._hooks:
            hook.before_step(self._steps_done)
        with self._divergence_named(), self._begin() as passes:
            logits = self._forward(self.scaled.train_x[rows], passes, training=True)
            loss, gradient = self._loss(logits, self.scaled.train_labels[rows], passes)
            if not math.isfinite(loss):
                raise FloatingPointError(f"the loss is {loss}")
            self._backward(gradient, passes)
        self._update()
        for hook in self._hooks:
            hook.after_update(self._steps_done)
        self._steps_done += 1
        self.watch.after_step(loss)
        self._stop_if_strict()
        return loss

    @contextlib.contextmanager
    def _divergence_named(self):
        """Numbers that are refused, which those of the first step were not, have diverged."""
        try:
            yield
        except FloatingPointError as error:
            raise self._diverged(error) from None
        except CoreError:
            raise
        except InputError as error:
            if not self._steps_done:
                raise
            raise self._diverged(error) from error

    def _diverged(self, why):
        return InputError(
            f"Training diverged in step {self._steps_done}: {why}; "
            f"choose a learning rate below {self.settings.learning_rate}"
        )

    def _stop_if_strict(self):
        if self._strict and self.watch.findings:
            raise InputError(f"Training goes wrong: {self.watch.findings[0]}")

    def _update(self):
        settings = self.settings
        rate = cosine_schedule(
            settings.learning_rate, self._steps_done, self._steps, settings.warm_up
        )
        gradients = {name: layer.gradients for name, layer in self.layers.items()}
        for hook in self._hooks:
            hook.before_update(gradients)
        factor = clip_factor(
            (gradients[name][key] for name, weights in self._weights.items() for key in weights),
            settings.norm_bound,
        )
        for name, layer in self.layers.items():
            self._optimizers[name].update(self._weights[name], gradients[name], rate, factor)
            for key, step in layer.steps.items():
                step.update(float(gradients[name][key]), rate)

    def forward(self, x: npt.NDArray, *, training: bool = True) -> npt.NDArray:
        """Compute the logits, (batch, features) to (batch, classes)."""
        with self._begin() as passes:
            return self._forward(x, passes, training)

    def accuracy(self) -> float:
        """Compute the part of the test set that is labelled right, 0 to 1."""
        return float(np.mean(self._predictions() == self.scaled.test_labels))

    def _predictions(self):
        labels = []
        with self._begin() as passes:
            for first in range(0, len(self.scaled.test_x), JUDGED_ROWS):
                rows = slice(first, first + JUDGED_ROWS)
                logits = self._forward(self.scaled.test_x[rows], passes, training=False)
                labels.append(logits.argmax(axis=1))
        return np.concatenate(labels)

    def _begin(self) -> Passes:
        """Begin a step of the backend with what all layers announce."""
        announced: dict[str, Weights] = {}
        for layer in self.layers.values():
            announced |= layer.announce()
        return self._backend.begin(announced)

    def _forward(self, x, passes, training):
        if self.settings.network == "cnn" and self.scaled.image_shape:
            x = x.reshape(len(x), *self.scaled.image_shape)
        for layer in self.layers.values():
            x = layer.forward(x, passes, training=training)
        return x

    def _backward(self, gradient, passes):
        first, *others = self.layers.values()
        for layer in reversed(others):
            gradient = layer.backward(gradient, passes)
        # Nobody wants the gradient by the images.
        first.backward(gradient, passes, want_input_gradient=False)

    def run(self, on_epoch: Callable[[], object] = lambda: None) -> History:
        """Train for all epochs.

        Parameters
        ----------
        on_epoch : function
            Called after each epoch.
        """
        for _ in range(self.settings.epochs):
            loss = float(np.mean([self.step(rows) for rows in self.batches()]))
            predictions = self._predictions()
            self.history.losses.append(loss)
            self.history.accuracies.append(float(np.mean(predictions == self.scaled.test_labels)))
            self.watch.after_epoch(loss, len(np.unique(predictions)))
            self._stop_if_strict()
            on_epoch()
        return self.history


def record_steps(
    recipe: Recipe,
    epochs: int,
    which: Sequence[str] = ("first", "middle", "last"),
    *,
    dataset: Dataset | None = None,
    settings: Settings | None = None,
    seed: int = 0,
    load_lanes: int = 8,
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
    settings, seed :
        As in :class:`Trainer`.
    load_lanes : int
        As in :class:`nibblegrad.golden.training.backend.NumpyBackend`.

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
    recorder = RecordingOperations()
    recorder.recording = False
    trainer = Trainer(
        recipe,
        dataset or data.digits(),
        dataclasses.replace(base, epochs=epochs),
        seed,
        NumpyBackend(load_lanes=load_lanes, seed=seed, operations=recorder),
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
