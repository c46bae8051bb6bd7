"""How long the pipelines of a training core take, as its host sees it: a few numbers."""

from dataclasses import dataclass

from nibblegrad.golden.engine.command import CoreSize

__all__ = ["CoreTiming", "TimingOnly"]


@dataclass(frozen=True)
class CoreTiming:
    """Cycles beside those in which a unit takes a beat, makes a pass or gives a strip.

    The default is a core whose pipelines take no time. Those of the hardware are told by
    :func:`nibblegrad.hdl.engine.timing.core_timing`.

    Parameters
    ----------
    write : int
        From the write of one register to the next.
    read : int
        To read a register.
    response : int
        From the last write of a command to its check.
    check : int
        To check a command: until then it cannot start, nor can the next one be written.
    start : int
        From the start of a command to that of the next one.
    load, gradient_load, raw_load : int
        From the start of a load to its end, beside its beats: of quantised activations and
        weights, of quantised gradients, and of biases and ready codes.
    first_tile : int
        From the start of a product to the last pass of its first tile, at least.
    restart : int
        From the last pass of a product to the start of the next one.
    drain : int
        From the last pass of a product to its end, beside the strips of its last tile.
    output : int
        From the end of a product to its last strip on the stream.
    settings : int
        From the end of a product to the last pass of the first tile of the next one, at least,
        where their results do not go the same way.
    """

    write: int = 0
    read: int = 0
    response: int = 0
    check: int = 0
    start: int = 0
    load: int = 0
    gradient_load: int = 0
    raw_load: int = 0
    first_tile: int = 0
    restart: int = 0
    drain: int = 0
    output: int = 0
    settings: int = 0


@dataclass(frozen=True)
class TimingOnly:
    """What stands in for a device where only the time counts: no numbers go in or come out.

    Parameters
    ----------
    size : CoreSize
        Parameters of the core.
    timing : CoreTiming
        What its pipelines take.
    """

    size: CoreSize
    timing: CoreTiming
