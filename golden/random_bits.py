"""The random generator: xorshift128, and its jumps.

One 32-bit word per step, a state of four words, period ``2**128 - 1``. It is linear over GF(2):
a step is a matrix times the state, so ``n`` steps are the ``n``-th power of that matrix, and so
are the starting states of streams that never overlap.

A core with L lanes and R random bits per element takes ``ceil(L * R / 32)`` words per accepted
beat; lane ``l`` takes bits ``[l * R, (l + 1) * R)`` of them, the first word lowest. Where L * R
is a multiple of 32, the numbers do not depend on the count of lanes.
"""

# Ref: George Marsaglia, "Xorshift RNGs", Journal of Statistical Software 8(14), 2003
# Section: 4, the generator of period 2**128 - 1 with shifts 11, 8, 19
# Ref: Sebastiano Vigna's splitmix64, which fills the state from a seed

import functools

import numpy as np
import numpy.typing as npt

from .errors import InputError

__all__ = ["STREAM_JUMP", "RandomBits", "jump", "jump_matrix", "seed_state", "words_per_beat"]

#: Streams of one seed start ``2**STREAM_JUMP`` words apart.
STREAM_JUMP = 96

_BLOCK = 1024  # words made by one table look-up; 32 tables of 16 rows of 4 KiB stay in cache
_TABLE_ROWS = 16 * np.arange(32)  # first row of each four bits' table
_MASK64 = (1 << 64) - 1


def seed_state(seed: int, stream: int = 0) -> npt.NDArray[np.uint32]:
    """Compute the starting state of one stream.

    Parameters
    ----------
    seed : int
        0 to ``2**64 - 1``.
    stream : int
        Number of the stream, 0 to ``2**32 - 1``; for each tensor, core or tile another one.

    Returns
    -------
    array of uint32, shape (4,)
        Oldest word first; never all zero.

    Raises
    ------
    InputError
        If the seed or the stream is out of range.
    """
    if not 0 <= seed <= _MASK64:
        raise InputError(f"Seed must be 0 to 2**64 - 1, not {seed}")
    if not 0 <= stream < 1 << 32:
        raise InputError(f"Stream must be 0 to 2**32 - 1, not {stream}")
    words = []
    for _ in range(2):
        seed = (seed + 0x9E3779B97F4A7C15) & _MASK64
        z = seed
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK64
        z ^= z >> 31
        words += [z & 0xFFFF_FFFF, z >> 32]
    return jump(np.array(words, np.uint32), stream, STREAM_JUMP)


def words_per_beat(lanes: int, random_bits: int) -> int:
    """Count the words that one beat takes."""
    return -(-lanes * random_bits // 32)


class RandomBits:
    """Stream of random words.

    Parameters
    ----------
    state : array of uint32, shape (4,)
        Starting state; see :func:`seed_state`.
    """

    def __init__(self, state: npt.NDArray[np.uint32]) -> None:
        self._state = np.array(state, np.uint32)
        if self._state.shape != (4,) or not self._state.any():
            raise InputError("State must be four 32-bit words that are not all zero")
        self._pending = np.empty(0, np.uint32)

    def words(self, count: int) -> npt.NDArray[np.uint32]:
        """Take the next ``count`` words, an array of uint32."""
        blocks = [self._pending]
        available = len(self._pending)
        while available < count:
            blocks.append(self._next_block())
            available += _BLOCK
        every = np.concatenate(blocks)
        self._pending = every[count:]
        return every[:count]

    def elements(self, count: int, random_bits: int, lanes: int) -> npt.NDArray[np.uint32]:
        """Take one random number per element of a tensor that is streamed in beats.

        Parameters
        ----------
        count : int
            Count of elements; a last beat that is not full takes its words all the same.
        random_bits : int
            Width of a number, 1 to 32.
        lanes : int
            Count of elements in a beat.

        Returns
        -------
        array of uint32, shape (count,)
            Numbers, 0 to ``2**random_bits - 1``.
        """
        beats = -(-count // lanes)
        per_beat = words_per_beat(lanes, random_bits)
        words = self.words(beats * per_beat)
        if random_bits in (8, 16, 32) and lanes * random_bits == per_beat * 32:
            dtype = np.dtype(f"<u{random_bits // 8}")
            return words.astype("<u4", copy=False).view(dtype)[:count].astype(np.uint32)
        bits = np.unpackbits(
            words.astype("<u4", copy=False).view(np.uint8).reshape(beats, -1),
            axis=1,
            bitorder="little",
        )[:, : lanes * random_bits].reshape(-1, random_bits)
        weights = np.uint32(1) << np.arange(random_bits, dtype=np.uint32)
        return (bits.astype(np.uint32) @ weights)[:count]

    def _next_block(self) -> npt.NDArray[np.uint32]:
        # Linear: the block is the exclusive or of what each bit of the state contributes. Four
        # bits at a time, looked up.
        octets = self._state.astype("<u4", copy=False).view(np.uint8)
        rows = np.stack([octets & 15, octets >> 4], axis=1).ravel() + _TABLE_ROWS
        block = np.bitwise_xor.reduce(_block_tables().take(rows, axis=0), axis=0)
        self._state = block[-4:].copy()
        return block


def _step(x, w):
    t = x ^ (x << np.uint32(11))
    return w ^ (w >> np.uint32(19)) ^ t ^ (t >> np.uint32(8))


@functools.cache
def _block_tables() -> npt.NDArray[np.uint32]:
    """What every value of every four bits of the state adds to a block, (32 * 16, _BLOCK)."""
    unit = np.zeros((4, 128), np.uint32)
    for bit in range(128):
        unit[bit // 32, bit] = 1 << (bit % 32)
    words = list(unit)
    for _ in range(_BLOCK):
        words.append(_step(words[-4], words[-1]))
    basis = np.array(words[4:]).T.reshape(32, 4, _BLOCK)
    tables = np.zeros((32, 16, _BLOCK), np.uint32)
    for value in range(16):
        for bit in range(4):
            if value >> bit & 1:
                tables[:, value] ^= basis[:, bit]
    return tables.reshape(32 * 16, _BLOCK)


@functools.cache
def jump_matrix(log2_steps: int) -> npt.NDArray[np.uint8]:
    """Compute the matrix over GF(2) that advances a state by ``2**log2_steps`` words.

    Returns
    -------
    array of uint8, shape (128, 128)
        ``next = matrix @ state % 2`` with bit ``32 * i + j`` of the state being bit ``j`` of word
        ``i``, the oldest word first.
    """
    if log2_steps == 0:
        unit = np.zeros((4, 128), np.uint32)
        for bit in range(128):
            unit[bit // 32, bit] = 1 << (bit % 32)
        following = np.stack([unit[1], unit[2], unit[3], _step(unit[0], unit[3])])
        return np.concatenate(
            [(following[i] >> np.uint32(j) & 1)[None] for i in range(4) for j in range(32)]
        ).astype(np.uint8)
    half = jump_matrix(log2_steps - 1).astype(np.float32)
    return (np.rint(half @ half).astype(np.int64) % 2).astype(np.uint8)


def jump(state: npt.NDArray[np.uint32], count: int, log2_steps: int) -> npt.NDArray[np.uint32]:
    """Advance a state by ``count * 2**log2_steps`` words.

    Parameters
    ----------
    state : array of uint32, shape (4,)
    count, log2_steps : int
        Non-negative.

    Returns
    -------
    array of uint32, shape (4,)
    """
    bits = np.unpackbits(state.astype("<u4").view(np.uint8), bitorder="little").astype(np.int64)
    while count:
        if count & 1:
            bits = jump_matrix(log2_steps).astype(np.int64) @ bits % 2
        count >>= 1
        log2_steps += 1
    return np.packbits(bits.astype(np.uint8), bitorder="little").view("<u4").astype(np.uint32)
