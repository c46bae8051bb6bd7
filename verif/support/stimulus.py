"""Inputs for benches: everything where that is possible, corners and chance elsewhere."""

import numpy as np

__all__ = ["choose", "wide_codes"]


def choose(rng, codes, count, directed):
    """Choose codes at random, with directed ones at random places among them.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance.
    codes : array of int, shape (any,)
        What to choose from, without repetition.
    count : int
        How many codes, if there are as many.
    directed : array of int, shape (fewer than count,)
        Codes that must be there, each once at least.

    Returns
    -------
    array of int64, shape (count,)
    """
    chosen = rng.permutation(codes)[:count]
    chosen[rng.permutation(len(chosen))[: len(directed)]] = directed
    return chosen


def wide_codes(fmt, rng, scale=1.0, count=20000):
    """Choose codes of a wide format: all of them up to 16 bits, otherwise corners and chance.

    Parameters
    ----------
    fmt : FloatFormat
        Format of the codes.
    rng : numpy.random.Generator
        Source of chance.
    scale : float
        Numbers near ``k / (2 * scale)`` for small integers ``k`` are among them, as far as the
        format reaches, for they decide ties.
    count : int
        About how many, if not all.

    Returns
    -------
    array of int64, shape (count,)
    """
    if fmt.width <= 16:
        return np.arange(1 << fmt.width)
    fields = np.arange(1 << fmt.exponent_bits)
    ones = (1 << fmt.fraction_bits) - 1
    edges = np.array([0, 1, ones, ones - 1, 1 << (fmt.fraction_bits - 1)])
    corners = ((fields[:, None] << fmt.fraction_bits) | edges).ravel()
    near = np.abs(np.arange(1, 1024) / (2.0 * float(scale)))
    near = near[(near < fmt.greatest) & (near > 2.0**fmt.least_exponent)]
    step = np.frexp(near)[1] - 1 - fmt.fraction_bits
    ties = fmt.encode(np.ldexp(np.rint(np.ldexp(near, -step)), step)) if near.size else corners[:0]
    ties = np.concatenate([ties - 1, ties, ties + 1])
    chance = rng.integers(1 << (fmt.width - 1), size=count)
    positive = np.concatenate([corners, ties, chance])
    return np.concatenate([positive, positive | (1 << (fmt.width - 1))])
