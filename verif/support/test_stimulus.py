# amaranth: UnusedElaboratable=no
"""Every situation that a bench demands is met whatever the seed."""

import itertools
import re
from math import prod
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest

from verif.base import test_event_counters
from verif.cores import (
    test_fp4_quantizer,
    test_quantizer,
    test_scale_multiplier,
    test_shift_multiply_array,
    test_step_gradient,
    test_stochastic_rounder,
)
from verif.engine import test_axi_lite, test_result_pipeline, test_training_core
from verif.engine.core_driver import expected
from verif.host import test_host_bridge
from verif.paths import ROOT
from verif.support.dry_run import DryBench
from verif.units import test_e2m1_dot_product, test_float_dot_product, test_integer_dot_product

#: Tests with benches, and how many seeds there is time for.
TESTS = {
    test_axi_lite.test_rtl_keeps_the_rules_of_axi: 3,
    test_e2m1_dot_product.test_rtl_matches_golden: 20,
    test_event_counters.test_rtl_counts_and_stops: 2,
    test_float_dot_product.test_rtl_matches_golden: 2,
    test_fp4_quantizer.test_rtl_matches_golden: 8,
    test_host_bridge.test_rtl_matches_golden: 10,
    test_integer_dot_product.test_integers: 10,
    test_integer_dot_product.test_shift_operands: 10,
    test_integer_dot_product.test_both_operands: 10,
    test_quantizer.test_rtl_matches_golden: 10,
    test_result_pipeline.test_rtl_matches_golden: 4,
    test_scale_multiplier.test_rtl_matches_golden: 10,
    test_shift_multiply_array.test_rtl_matches_golden: 4,
    test_step_gradient.test_rtl_matches_golden: 4,
    test_stochastic_rounder.test_fixed_rtl_matches_golden: 10,
    test_stochastic_rounder.test_float_rtl_matches_golden: 3,
    test_training_core.test_rtl_matches_golden: 1,
}
#: The test of each bench that demands situations, if it is not matches_golden.
DEMANDING = {
    "axi_lite": "master_finds_the_table",
    "event_counters": "counts_to_its_end_and_stays",
    "host_bridge": "answers_as_the_golden_model",
}


def benches():
    """List bench, parameters and count of seeds of every case of TESTS, marked as it is there."""
    found = []
    for test, seeds in TESTS.items():
        tables = [mark.args for mark in test.pytestmark if mark.name == "parametrize"]
        for rows in itertools.product(*(rows for _, rows in tables)):
            arguments, marks = {}, []
            for (names, _), row in zip(tables, rows, strict=True):
                names = names.replace(",", " ").split()
                marks += getattr(row, "marks", ())
                marked = isinstance(row, type(pytest.param()))
                values = row.values if marked else row if len(names) > 1 else [row]
                arguments |= zip(names, values, strict=True)

            def sim(design, bench, params, test=None, marks=marks, seeds=seeds):
                bench = bench.split()[0]
                found.append(
                    pytest.param(bench, params, seeds, marks=marks, id=f"{bench} {len(found)}")
                )

            test(sim, **arguments)
    return found


async def no_reply(*args, **options):
    """Stand in for an exchange of messages, and for an access by a master."""
    return SimpleNamespace(hex=str, resp=0, data=b"")


async def nothing(*args):
    """Stand in for what only a simulator can do."""
    return []


async def compare(driver, twin, program):
    """Stand in for a comparison of two models: run the one that is there."""
    expected(twin, program)
    return 0


def core_driver(dut, size):
    """Stand in for the driver of a training core."""
    return SimpleNamespace(reset=nothing, stall=lambda *args: None, seen={})


STAND_INS = {
    "AxiLiteBus": mock.MagicMock(),
    "AxiLiteMaster": mock.MagicMock(),
    "CoreDriver": core_driver,
    "compare": compare,
    "crowd": nothing,
    "exchange": no_reply,
    "give": nothing,
    "with_timeout": no_reply,
}


def chance_of_missing(calls):
    """Estimate for each situation the probability that a run does not meet it.

    Parameters
    ----------
    calls : list of list of set of str
        For every seed and call of ``cover``, the situations that were met. What is constructed is
        met by the same call whatever the seed; the rest by chance, in one call as in another.
    """
    runs = list(itertools.zip_longest(*calls, fillvalue=set()))
    names = set().union(*(met for call in runs for met in call))
    return {
        name: prod(sum(name not in met for met in call) / len(calls) for call in runs)
        for name in names
    }


@pytest.mark.parametrize("times", [1, pytest.param(10, marks=pytest.mark.slow)])
@pytest.mark.parametrize("bench, params, seeds", benches())
def test_every_situation_is_met_whatever_the_seed(bench, params, seeds, times):
    dry = DryBench(bench, params, **STAND_INS)
    calls = []
    for seed in [31337, 2026, *range(times * seeds)]:
        try:
            calls.append(dry.run(DEMANDING.get(bench, "matches_golden"), seed))
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from None
    hoped = {name: chance for name, chance in chance_of_missing(calls).items() if chance > 1e-9}
    assert not hoped, f"hoped for, but not constructed, with the chance of missing it: {hoped}"


def test_nothing_is_drawn_without_a_seed():
    for package in ("golden", "gen", "verif"):
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text()
            found = re.findall(r"default_rng\(\)|np\.random\.(?!default_rng|Generator)\w+", text)
            assert path == Path(__file__) or not found, f"{path}: {found}"
