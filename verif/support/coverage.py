"""What a bench matched, and which situations it met."""

import json
import os

import numpy as np

__all__ = ["Coverage", "assert_equal"]


class Coverage:
    """Count of vectors and of situations (bins) of a bench, reported when it ends.

    A bench constructs every situation that it demands, whatever the seed; ``test_stimulus.py``
    tries many seeds.

    Parameters
    ----------
    core : str
        Name of the core.
    bins : iterable of str
        Situations that must occur.
    """

    def __init__(self, core, bins):
        self._core = core
        self._vectors = 0
        self._bins = dict.fromkeys(bins, 0)

    def vectors(self, count):
        """Count matched vectors."""
        self._vectors += int(count)

    def cover(self, **bins):
        """Count situations: numbers, or arrays whose non-zero elements count."""
        for name, occurrences in bins.items():
            self._bins[name] += (
                int(np.count_nonzero(occurrences)) if np.ndim(occurrences) else int(occurrences)
            )

    def close(self):
        """Fail on an empty bin; otherwise add the counts to the report."""
        empty = [name for name, count in self._bins.items() if not count]
        assert not empty, f"nothing covers {', '.join(empty)}"
        with open(os.environ["BENCH_REPORT"], "a") as report:
            json.dump({"core": self._core, "vectors": self._vectors, "bins": self._bins}, report)
            report.write("\n")


def assert_equal(what, got, expected, **inputs):
    """Fail with the first differing element, both values and the inputs that led there."""
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape, f"{what}: shape {got.shape}, expected {expected.shape}"
    wrong = np.argwhere(got != expected)
    if len(wrong):
        where = tuple(int(k) for k in wrong[0])
        given = ", ".join(f"{name} = {np.asarray(value)[where]}" for name, value in inputs.items())
        raise AssertionError(
            f"{what}: element {where} is {got[where]}, expected {expected[where]}; {given}; "
            f"{len(wrong)} of {got.size} differ"
        )
