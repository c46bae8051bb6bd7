"""The random generator: xorshift128 with an addition, and its jumps.

Four 32-bit words of state and a step that is linear over GF(2): a matrix times the state. So ``n``
steps are the ``n``-th power of that matrix, and so are the starting states of streams that never
overlap. The period is ``2**128 - 1``. What a step gives out is the sum of the two newest words.

A core with L lanes and R random bits per element takes ``ceil(L * R / 32)`` words per accepted
beat; lane ``l`` takes bits ``[l * R, (l + 1) * R)`` of them, the first word lowest. Where L * R
is a multiple of 32, the numbers do not depend on the count of lanes.
"""

# Ref: George Marsaglia, "Xorshift RNGs", Journal of Statistical Software 8(14), 2003
# Section: 4, the generator of period 2**128 - 1 with shifts 11, 8, 19
# Ref: Mutsuo Saito and Makoto Matsumoto, "XORSHIFT-ADD (XSadd): A variant of XORSHIFT", 2014:
#      adding the two newest words
# Ref: Sebastiano Vigna's splitmix64, which fills the state from a seed

import functools

import numpy as np
import numpy.typing as npt

from nibblegrad.golden.errors import InputError

__all__ = [
    "POLYNOMIAL",
    "STREAM_JUMP",
    "RandomBits",
    "jump",
    "jump_matrix",
    "next_word",
    "seed_state",
    "words_per_beat",
]

#: Streams of one seed start ``2**STREAM_JUMP`` words apart.
STREAM_JUMP = 96

#: Characteristic polynomial of a step; bit ``i`` is the coefficient of ``x**i``.
POLYNOMIAL = 0x1_0000_0001_0046_D8B3_F985_D65F_FD3C_8001

# The degree is 128. A history is 128 words times a power of two, up to what stays in cache.
_DEGREE = 128
_TAPS = [i for i in range(_DEGREE) if POLYNOMIAL >> i & 1]
_LONGEST_HISTORY = _DEGREE << 8
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


def next_word(oldest, newest):
    """Make the next word of the linear sequence.

    Parameters
    ----------
    oldest, newest : int or array of uint32
        First and last of the four words of the state.

    Returns
    -------
    int or array of uint32
        The word that becomes the newest; what is given out is its sum with the one before it.
    """
    t = oldest ^ (oldest << 11 & 0xFFFF_FFFF)
    return newest ^ (newest >> 19) ^ t ^ (t >> 8)


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
        start = np.array(state, np.uint32)
        if start.shape != (4,) or not start.any():
            raise InputError("State must be four 32-bit words that are not all zero")
        linear = start.tolist()
        while len(linear) < _DEGREE:
            linear.append(next_word(linear[-4], linear[-1]))
        self._history = np.array(linear, np.uint32)
        self._pending = self._history[4:] + self._history[3:-1]

    def words(self, count: int) -> npt.NDArray[np.uint32]:
        """Take the next ``count`` words, an array of uint32."""
        if count > len(self._pending):
            blocks = [self._pending]
            missing = count - len(self._pending)
            while missing > 0:
                blocks.append(self._next_block())
                missing -= len(blocks[-1])
            self._pending = np.concatenate(blocks)
        taken, self._pending = self._pending[:count], self._pending[count:]
        return taken

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

        Raises
        ------
        InputError
            If there is no such width, no lane, or a negative count.
        """
        if not 1 <= random_bits <= 32:
            raise InputError(f"Random bit count must be 1 to 32, not {random_bits}")
        if lanes < 1:
            raise InputError(f"Lane count must be at least 1, not {lanes}")
        if count < 0:
            raise InputError(f"Element count must not be negative, and {count} is")
        beats = -(-count // lanes)
        per_beat = words_per_beat(lanes, random_bits)
        words = self.words(beats * per_beat)
        if random_bits in (8, 16, 32) and lanes * random_bits == per_beat * 32:
            dtype = np.dtype(f"<u{random_bits // 8}")
            return words.astype("<u4", copy=False).view(dtype)[:count].astype(np.uint32)
        # A number lies in two neighbouring words at most.
        wide = np.zeros((beats, per_beat + 1), np.uint64)
        wide[:, :-1] = words.reshape(beats, per_beat)
        wide[:, :-1] |= wide[:, 1:] << np.uint64(32)
        first_bits = random_bits * np.arange(lanes)
        numbers = wide[:, first_bits // 32] >> (first_bits % 32).astype(np.uint64)
        mask = np.uint64((1 << random_bits) - 1)
        return (numbers & mask).astype(np.uint32).reshape(-1)[:count]

    def _next_block(self) -> npt.NDArray[np.uint32]:
        # Words of one bit obey the characteristic polynomial p, as does every bit of a linear
        # sequence: word n + 128 is the exclusive or of the words n + i for which x**i is in p.
        # Squared over GF(2), p(x) is p(x**2): the same holds at twice, four times, ... the
        # distance, and many words can be made at once from a history that is so much longer.
        size = len(self._history)
        distance = size // _DEGREE
        both = np.empty(2 * size, np.uint32)
        both[:size] = self._history
        most = (_DEGREE - _TAPS[-1]) * distance  # before a word needs another new one
        for begin in range(0, size, most):
            count = min(most, size - begin)
            first, second, *others = (both[begin + tap * distance :][:count] for tap in _TAPS)
            new = both[begin + size :][:count]
            np.bitwise_xor(first, second, out=new)
            for other in others:
                new ^= other
        self._history = both if size < _LONGEST_HISTORY else both[size:]
        return both[size:] + both[size - 1 : -1]


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
        following = np.stack([unit[1], unit[2], unit[3], next_word(unit[0], unit[3])])
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
