"""Shapes of stream payloads."""

from amaranth.lib import data, stream

__all__ = ["beat_signature"]


def beat_signature(elements, sideband=None):
    """Describe a stream whose transfers are beats of a tensor or matrix.

    Parameters
    ----------
    elements : shape-like
        What a beat carries; lane 0 lowest. Becomes ``tdata``.
    sideband : shape-like, optional
        What belongs to the elements but is no number of the tensor. Becomes ``tuser``.

    Returns
    -------
    stream.Signature
        Payload fields ``data``, ``user`` (with a sideband) and ``last``, the end of the tensor or
        tile.
    """
    fields = {"data": elements}
    if sideband is not None:
        fields["user"] = sideband
    return stream.Signature(data.StructLayout({**fields, "last": 1}))
