"""Packing of arrays into the integers that cross a port, and back."""

import numpy as np

__all__ = ["pack", "pack_scales", "unpack"]


def pack(values, width):
    """Pack rows of numbers into integers, element 0 lowest.

    Parameters
    ----------
    values : array of int, shape (beats, elements)
        Numbers; negative ones become two's complement.
    width : int
        Width of an element, at most 63.

    Returns
    -------
    list of int, length beats
    """
    values = np.asarray(values, np.int64)
    bits = (values[:, :, None] >> np.arange(width)) & 1
    rows = np.packbits(bits.reshape(len(values), -1).astype(np.uint8), axis=1, bitorder="little")
    return [int.from_bytes(row.tobytes(), "little") for row in rows]


def unpack(integers, elements, width, signed=False):
    """Unpack what :func:`pack` packs.

    Returns
    -------
    array of int64, shape (beats, elements)
    """
    size = -(-elements * width // 8)
    mask = (1 << (elements * width)) - 1
    raw = b"".join((value & mask).to_bytes(size, "little") for value in integers)
    bits = np.unpackbits(
        np.frombuffer(raw, np.uint8).reshape(len(integers), size), axis=1, bitorder="little"
    )[:, : elements * width]
    weights = 1 << np.arange(width, dtype=np.int64)
    if signed:
        weights[-1] = -weights[-1]
    return bits.reshape(len(integers), elements, width).astype(np.int64) @ weights


def pack_scales(bias, significand, exponent, lanes):
    """Pack the scales of channels into beats of ``s_axis_scale`` of the scale multiplier.

    Parameters
    ----------
    bias, significand, exponent : array of int, shape (channels,)
        A multiple of ``lanes`` channels.

    Returns
    -------
    list of int, length channels / lanes
    """
    low = pack(np.asarray(bias)[:, None], 32)
    high = pack(np.asarray(significand)[:, None], 16)
    top = pack(np.asarray(exponent)[:, None], 8)
    words = [a | b << 32 | c << 48 for a, b, c in zip(low, high, top, strict=True)]
    return [
        sum(word << (56 * lane) for lane, word in enumerate(words[k : k + lanes]))
        for k in range(0, len(words), lanes)
    ]
