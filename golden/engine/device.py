"""The training core as its host sees it: commands in, beats in, strips out.

The golden model, the simulated Verilog and a board behind the host bridge are devices; whoever
drives one drives them all. Beats and strips are arrays of lane words: codes of the wide format,
ready four-bit codes, or, for biases, the words that 32-bit integers are cut into.
"""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from nibblegrad.golden.engine.command import Command, CoreSize, ErrorCode, Store
from nibblegrad.golden.engine.timing import CoreTiming
from nibblegrad.golden.errors import InputError

__all__ = [
    "CoreError",
    "Device",
    "pack_biases",
    "pack_matrix",
    "pack_result",
    "unpack_biases",
    "unpack_result",
]


class CoreError(InputError):
    """The core refused a command, or gave it up.

    Attributes
    ----------
    code : ErrorCode
        Why.
    """

    def __init__(self, code: ErrorCode) -> None:
        super().__init__(f"The training core reports {code.name}")
        self.code = code


class Device(Protocol):
    """What runs commands.

    Attributes
    ----------
    size : CoreSize
        Parameters of the core.
    timing : CoreTiming
        What its pipelines take. Only the order of commands and the cuts of layers depend on it.
    """

    size: CoreSize
    timing: CoreTiming

    def issue(self, command: Command, beats: npt.NDArray[np.uint32] | None = None) -> int:
        """Hand over a command, and for loads the beats, shape (beats, load_lanes).

        Returns at once with a number for the command; it is carried out, in order, at the latest
        when something that comes after it is asked for. A load ends with its last beat.
        """

    def result(self, number: int) -> npt.NDArray[np.uint32]:
        """Take the strips, shape (strips, strip), of a product to STREAM, once.

        Raises
        ------
        CoreError
            If an error is reported before they are there.
        """

    def finish(self) -> None:
        """Carry out every command.

        Raises
        ------
        CoreError
            If an error was reported.
        """

    def step_gradient(self, memory: Store, *, finish: bool = True) -> int:
        """Read the step gradient of the activations or of the weights.

        Without ``finish`` it is read at once: right if the result of the product that made it was
        taken, and no later product adds to it yet.
        """

    def counters(self) -> dict[str, int]:
        """Finish, and read the counters, by the names of their registers without _LOW."""

    def clear_counters(self) -> None:
        """Finish, and set the counters to zero."""

    def seed(self, loads: npt.NDArray[np.uint32], results: npt.NDArray[np.uint32]) -> None:
        """Finish, and set the states of the two generators, shape (4,) each."""

    def reset(self) -> None:
        """Soft reset; see CONTROL."""

    @property
    def error(self) -> ErrorCode:
        """Finish as far as possible, and read the code of the first error."""

    def clear_error(self) -> None:
        """Clear the error, so that commands are taken again."""


def pack_matrix(codes: npt.NDArray[np.integer], lanes: int) -> npt.NDArray[np.uint32]:
    """Cut a matrix into the beats of a load.

    Parameters
    ----------
    codes : array of int, shape (rows, columns)
        Lane words.
    lanes : int
        Numbers in a beat.

    Returns
    -------
    array of uint32, shape (rows * ceil(columns / lanes), lanes)
        Rows one after the other, each padded with zeros to whole beats.
    """
    rows, columns = codes.shape
    padded = np.zeros((rows, -(-columns // lanes) * lanes), np.uint32)
    padded[:, :columns] = codes
    return padded.reshape(-1, lanes)


def pack_biases(biases: npt.NDArray[np.integer], size: CoreSize) -> npt.NDArray[np.uint32]:
    """Cut biases into the beats of LOAD_BIASES.

    Parameters
    ----------
    biases : array of int, shape (outputs,)
        32-bit integers, in units of an accumulator.
    size : CoreSize
        Parameters of the core.

    Returns
    -------
    array of uint32, shape (ceil(outputs / biases_per_beat), load_lanes)
    """
    per_beat, width = size.biases_per_beat, size.wide_format.width
    padded = np.zeros(-(-len(biases) // per_beat) * per_beat, np.uint32)
    padded[: len(biases)] = np.asarray(biases, np.int64) & 0xFFFF_FFFF
    words = padded[:, None] >> np.arange(0, 32, width, dtype=np.uint32) & np.uint32(
        (1 << width) - 1
    )
    return words.reshape(-1, size.load_lanes).astype(np.uint32)


def unpack_biases(beats: npt.NDArray[np.uint32], size: CoreSize) -> npt.NDArray[np.int64]:
    """Join the beats of LOAD_BIASES to biases; the inverse of :func:`pack_biases`."""
    width = size.wide_format.width
    words = beats.reshape(-1, 32 // width).astype(np.uint64)
    joined = (words << np.arange(0, 32, width, dtype=np.uint64)).sum(axis=1)
    return joined.astype(np.uint32).view(np.int32).astype(np.int64)


def pack_result(matrix: npt.NDArray, command: Command, size: CoreSize) -> npt.NDArray:
    """Cut the result of a product into its strips.

    Parameters
    ----------
    matrix : array, shape ``size.result_shape(command)``
        Lane words, or anything that goes with the numbers of the result.
    command : Command
        The product.
    size : CoreSize
        Parameters of the core.

    Returns
    -------
    array of the same type, shape (strips, strip)
        In the order in which they leave the core; zeros beyond the tile and beyond the result.
    """
    rows, columns = matrix.shape
    tile_rows, tile_columns = size.tile_shape(command.operation)
    across = -(-columns // tile_columns)
    padded = np.zeros((rows, across * tile_columns), matrix.dtype)
    padded[:, :columns] = matrix
    strips = np.zeros((rows * across, size.strip), matrix.dtype)
    full = rows - rows % tile_rows
    for begin, end, height in ((0, full, tile_rows), (full, rows, rows - full)):
        if begin < end:
            tiles = padded[begin:end].reshape(-1, height, across, tile_columns)
            strips[begin * across : end * across, :tile_columns] = tiles.transpose(
                0, 2, 1, 3
            ).reshape(-1, tile_columns)
    return strips


def unpack_result(strips: npt.NDArray, command: Command, size: CoreSize) -> npt.NDArray:
    """Join the strips of a product to its result; the inverse of :func:`pack_result`.

    Parameters
    ----------
    strips : array, shape (strips, strip)
    command : Command
        The product.
    size : CoreSize
        Parameters of the core.

    Returns
    -------
    array of the same type, shape ``size.result_shape(command)``
    """
    rows, columns = size.result_shape(command)
    tile_rows, tile_columns = size.tile_shape(command.operation)
    across = -(-columns // tile_columns)
    result = np.empty((rows, across * tile_columns), strips.dtype)
    first = 0
    full = rows // tile_rows
    for tiles, height in ((full, tile_rows), (1 if rows % tile_rows else 0, rows % tile_rows)):
        if not tiles:
            continue
        begin, count = full * tile_rows if height != tile_rows else 0, tiles * height
        part = strips[first : first + count * across, :tile_columns]
        result[begin : begin + count] = (
            part.reshape(tiles, across, height, tile_columns)
            .transpose(0, 2, 1, 3)
            .reshape(count, across * tile_columns)
        )
        first += count * across
    return result[:, :columns]
