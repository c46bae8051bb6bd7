# amaranth: UnusedElaboratable=no
"""What the pipelines of a training core take, and what waits in them, told by the units."""

import functools

from nibblegrad.golden.engine.timing import CoreTiming
from nibblegrad.hdl.array.structures import PLAIN
from nibblegrad.hdl.cores.fp4_quantizer import Fp4Lane
from nibblegrad.hdl.cores.quantizer import IntegerLane
from nibblegrad.hdl.engine.axi_lite import AxiLiteRegisters
from nibblegrad.hdl.engine.command_queue import CommandQueue
from nibblegrad.hdl.engine.load_unit import LoadUnit
from nibblegrad.hdl.engine.output_buffer import OutputBuffer
from nibblegrad.hdl.engine.result_unit import ResultUnit
from nibblegrad.hdl.engine.tile_credits import TileCredits
from nibblegrad.hdl.engine.training_engine import TrainingEngine

__all__ = ["buffer_words", "core_timing"]


@functools.cache
def core_timing(size, structure=PLAIN):
    """Find what the pipelines of a training core take.

    Parameters
    ----------
    size : CoreSize
        Parameters of the core.
    structure : Structure
        What lanes, trees and accumulators of the array are built of.

    Returns
    -------
    nibblegrad.golden.engine.timing.CoreTiming
    """
    # Of a load beside its beats and the lane of its quantiser.
    load = LoadUnit.turnaround + LoadUnit.latency - Fp4Lane.latency
    return CoreTiming(
        write=AxiLiteRegisters.write_interval,
        # The host asks again in the cycle after the answer.
        read=AxiLiteRegisters.read_interval + 1,
        response=AxiLiteRegisters.latency + 1,
        check=CommandQueue(size).latency,
        start=TrainingEngine.start_interval,
        load=load + IntegerLane.latency,
        gradient_load=load + Fp4Lane.latency,
        raw_load=load,
        first_tile=TrainingEngine.first_tile,
        restart=TrainingEngine.restart,
        drain=TrainingEngine(size, structure).drain,
        output=OutputBuffer.latency,
        settings=TrainingEngine.settings,
    )


def buffer_words(size, structure=PLAIN):
    """Count the strips that can wait for the stream: more, the longer they are under way.

    Parameters
    ----------
    size, structure :
        As in :func:`core_timing`.
    """
    under_way = TrainingEngine.flight(size, structure) + ResultUnit.latency
    return TileCredits.places(size.strip, under_way)
