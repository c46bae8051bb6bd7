"""What testbenches send and expect: numbers from the project's own generator, and beats of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from nibblegrad.golden.numbers.formats import FloatFormat, Fp4Format
from nibblegrad.golden.numbers.random_bits import RandomBits, seed_state

__all__ = [
    "BEATS",
    "OTHER_SEED",
    "Beat",
    "Chance",
    "Run",
    "event_counts",
    "fp4_settings",
    "noise_of",
    "pack",
    "residuals",
    "rows_of",
    "seed_beats",
    "tensor",
]

#: One beat, by the last part of the names of the ports: tdata, tuser, tlast.
Beat = dict[str, int]

#: How many beats a tensor has.
BEATS = 16

#: Seed of the random state that testbenches load.
OTHER_SEED = 7


@dataclass
class Run:
    """One tensor after a reset, or several.

    Parameters
    ----------
    title : str
        What is tried.
    settings : dict of str to int
        Inputs that belong to no stream.
    beats : dict of str to list of Beat
        What goes in and must come out, by stream; in this order, ``s_axis`` after what must come
        before it.
    results : dict of str to int
        What outputs that belong to no stream must say afterwards.
    """

    title: str
    settings: dict[str, int]
    beats: dict[str, list[Beat]]
    results: dict[str, int] = field(default_factory=dict)


class Chance:
    """A sequence of chance, always the same."""

    def __init__(self) -> None:
        self._random = RandomBits(seed_state(2005))

    def integers(self, bits: int, *shape: int) -> npt.NDArray[np.int64]:
        """Take unsigned integers of up to 62 bits, an array of this shape."""
        low, high = self._random.words(2 * int(np.prod(shape))).astype(np.int64).reshape(2, *shape)
        return (high << 31 ^ low) & ((1 << bits) - 1)

    def signed(self, bits: int, *shape: int) -> npt.NDArray[np.int64]:
        """Take two's complement integers of up to 62 bits, an array of this shape."""
        return self.integers(bits, *shape) - (1 << (bits - 1))

    def floats(self, fmt: FloatFormat, exponent: int, *shape: int) -> npt.NDArray[np.int64]:
        """Take codes of a wide format, an array of this shape.

        The first ones are the corners of the format, NaN and infinity among them; the magnitudes
        of the others are about ``2**exponent``.
        """
        sign = self.integers(1, *shape) << (fmt.width - 1)
        top = (1 << fmt.exponent_bits) - 1
        field = fmt.bias + exponent + self.integers(3, *shape) - 6
        field = np.clip(field, 1, top - 1) << fmt.fraction_bits
        codes = sign | field | self.integers(fmt.fraction_bits, *shape)
        greatest = int(fmt.encode(fmt.greatest))
        ones = (1 << (fmt.width - 1)) - 1
        corners = np.array([0, 1, greatest, greatest + 1, ones, 1 << fmt.fraction_bits])
        corners = np.concatenate([corners, corners | 1 << (fmt.width - 1)])
        codes.reshape(-1)[: len(corners)] = corners[: codes.size]
        return codes


def pack(numbers: Iterable[int], width: int) -> int:
    """Lay numbers side by side, the first one lowest; negative ones become two's complement."""
    mask = (1 << width) - 1
    return sum((int(number) & mask) << (width * place) for place, number in enumerate(numbers))


def tensor(data: Sequence[int], last: Sequence[int] | None = None, **others: Any) -> list[Beat]:
    """Make beats of packed data; ``tlast`` is in the last one, if it is not given."""
    last = [0] * (len(data) - 1) + [1] if last is None else last
    columns = {"tdata": data, "tlast": last, **others}
    return [dict(zip(columns, beat, strict=True)) for beat in zip(*columns.values(), strict=True)]


def rows_of(matrix: Any, width: int) -> list[int]:
    """Pack each row of a matrix; see :func:`pack`."""
    return [pack(row, width) for row in matrix]


def event_counts(**counts: Any) -> dict[str, int]:
    """Name the outputs of event counters: the counts, and whether there was any."""
    seen = {f"{event}_seen": int(count > 0) for event, count in counts.items()}
    return {f"{event}_count": int(count) for event, count in counts.items()} | seen


def residuals(quantized: Any, residual_bits: int) -> list[int]:
    """Pack what is in the sideband of integer codes; see ``hdl.cores.quantizer``.

    Parameters
    ----------
    quantized : nibblegrad.golden.cores.quantizer.Quantized
        Codes of shape (beats, lanes).
    residual_bits : int
        Fraction bits of a residual.
    """
    sideband = quantized.residual.astype(int) << 1 | quantized.in_range
    return rows_of(sideband, residual_bits + 2)


def noise_of(parameters: dict[str, Any], shape: tuple[int, ...], stream: int | None = None) -> Any:
    """Take the random bits of a tensor, from the state after reset, or from a loaded one.

    Parameters
    ----------
    parameters : dict
        Of the core; ``seed`` and ``random_bits`` are used.
    shape : tuple of int
        Beats and lanes.
    stream : int, optional
        If :func:`seed_beats` loads another state, which one.
    """
    seed = seed_state(parameters["seed"]) if stream is None else seed_state(OTHER_SEED, stream)
    bits = parameters["random_bits"]
    return RandomBits(seed).elements(int(np.prod(shape)), bits, shape[-1]).reshape(shape)


def seed_beats(stream: int) -> dict[str, list[Beat]]:
    """Make the beats that load another random state."""
    return {"s_axis_seed": [{"tdata": int(word)} for word in seed_state(OTHER_SEED, stream)]}


def fp4_settings(fmt: Fp4Format) -> list[tuple[str, dict[str, int]]]:
    """List how a core may make FP4 codes, with a title: by phase, or by mode."""
    if fmt.phases == 2:
        return [("even phase", {"phase": 0}), ("odd phase", {"phase": 1})]
    return [("stochastic", {"stochastic": 1}), ("nearest", {"stochastic": 0})]
