"""Benches without a simulator: what their stimulus covers, seed by seed, in little time.

What drives a design, waits for it and compares it is replaced by stand-ins that do nothing. What is
left of a bench is its stimulus, the golden model and what it demands.
"""

import hashlib
import importlib.util
import json
import os
import random
from typing import ClassVar
from unittest import mock

import cocotb
import numpy as np

from verif.support import coverage
from verif.support.rooms import bench_module

__all__ = ["DryBench"]

#: Situations that the design brings about, or the cycles that nobody counts here.
OF_DESIGNS = {
    *("input_stalled", "output_stalled", "throughput", "pause", "back_to_back"),
    *("overlap", "full"),
}


class _Coverage(coverage.Coverage):
    """Coverage without the situations of designs, which lists those of every call."""

    calls: ClassVar[list[set[str]]] = []

    def __init__(self, core, bins):
        super().__init__(core, [name for name in bins if name not in OF_DESIGNS])

    def cover(self, **bins):
        bins = {name: count for name, count in bins.items() if name not in OF_DESIGNS}
        super().cover(**bins)
        self.calls.append({name for name, count in bins.items() if np.any(count)})


async def _nothing(*args, **options):
    """Take the place of what waits for the design."""


async def _transfer(dut, beats, paces=None, count=None):
    zeros = [0] * (count or len(beats["tdata"]))
    return dict.fromkeys(("tdata", "tuser", "tlast"), zeros), {}


async def _run_sums(dut, sums, *args, **options):
    return [0] * len(sums)


class _Task:
    """A task that does nothing, and is done."""

    def __init__(self, coroutine):
        if hasattr(coroutine, "close"):
            coroutine.close()

    def __await__(self):
        return iter(())

    def cancel(self):
        """Stop doing nothing."""


class _Port:
    """A source or a sink."""

    def __init__(self, dut, prefix=""):
        self.stalls = 0

    async def send(self, beats, pace=None):
        """Drop beats."""

    async def receive(self, count, pace=None):
        """Make beats of zeros."""
        return dict.fromkeys(("tdata", "tuser", "tlast"), [0] * count)


STAND_INS = {
    "Clock": mock.MagicMock(),
    **dict.fromkeys(("ClockCycles", "RisingEdge", "load_seed", "start"), _nothing),
    **dict.fromkeys(("assert_equal", "check_counts", "configure"), lambda *args, **options: None),
    "Coverage": _Coverage,
    "Sink": _Port,
    "Source": _Port,
    "pack": lambda values, width: [0] * len(values),
    "run_sums": _run_sums,
    "transfer": _transfer,
    "unpack": lambda beats, elements, *_, **__: np.zeros((len(beats), elements), int),
}


class DryBench:
    """A bench with its parameters, to be run without a design.

    Parameters
    ----------
    name : str
        Name of the bench; see :func:`verif.support.rooms.bench_module`.
    params : dict
        Its parameters; see :func:`verif.support.sim.bench_params`.
    stand_ins : object
        More replacements, by name.
    """

    def __init__(self, name, params, **stand_ins):
        spec = importlib.util.find_spec(bench_module(name))
        self._module = importlib.util.module_from_spec(spec)
        with mock.patch.dict(os.environ, {"BENCH_PARAMS": json.dumps(params)}):
            spec.loader.exec_module(self._module)
        for stand_in, value in (STAND_INS | stand_ins).items():
            if hasattr(self._module, stand_in):
                setattr(self._module, stand_in, value)

    def run(self, test, seed):
        """Run a test of the bench.

        Parameters
        ----------
        test : str
            Its name.
        seed : int
            As of :func:`verif.support.sim.simulate`: numbers are drawn as in the simulator.

        Returns
        -------
        list of set of str
            For every call of :meth:`Coverage.cover`, the situations that were met.

        Raises
        ------
        AssertionError
            If a situation is not covered.
        """
        name = f"{self._module.__name__}.{test}"
        # As cocotb does.
        seed += int(hashlib.sha1(name.encode()).hexdigest(), 16)
        random.seed(seed)
        _Coverage.calls = []
        with (
            mock.patch.object(cocotb, "RANDOM_SEED", seed, create=True),
            mock.patch.object(cocotb, "start_soon", _Task),
            mock.patch.dict(os.environ, {"BENCH_REPORT": os.devnull}),
        ):
            coroutine = getattr(self._module, test).func(mock.MagicMock())
            try:
                coroutine.send(None)
            except StopIteration:
                return _Coverage.calls
        raise RuntimeError(f"{name} waits for something that has no stand-in")
