"""The random generator against its published form, stepped and multiplied out in plain Python."""

import itertools
import math
import re
import subprocess
import sys

import numpy as np
import pytest

from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.random_bits import (
    POLYNOMIAL,
    STREAM_JUMP,
    RandomBits,
    jump,
    jump_matrix,
    next_word,
    seed_state,
    words_per_beat,
)
from verif.numbers import random_stream

# Marsaglia's example, x, y, z, w. He prints the code and the seeds; the first words are those that
# implementations in C, Vim, JavaScript, Rust and TypeScript test themselves with.
MARSAGLIA = [123456789, 362436069, 521288629, 88675123]
FIRST_WORDS = [
    *[3701687786, 458299110, 2500872618, 3633119408, 516391518],
    *[2377269574, 2599949379, 717229868, 137866584, 395339113],
]

# 2**128 - 1 is the product of the first seven Fermat numbers; these are their prime factors.
PRIMES = [3, 5, 17, 257, 641, 65537, 274177, 6700417, 67280421310721]


def xor128(state, count):
    """Step the published generator: ``t = x ^ (x << 11); w ^ (w >> 19) ^ t ^ (t >> 8)``."""
    x, y, z, w = (int(word) for word in state)
    words = []
    for _ in range(count):
        t = (x ^ (x << 11)) & 0xFFFF_FFFF
        x, y, z = y, z, w
        w = (w ^ (w >> 19)) ^ (t ^ (t >> 8))
        words.append(w)
    return words, [x, y, z, w]


def summed(state, count):
    """Add each word of the published generator to the one before it."""
    words = [int(state[-1]), *xor128(state, count)[0]]
    return [(older + newer) % 2**32 for older, newer in itertools.pairwise(words)]


# Matrices over GF(2) as 128 columns, each an integer whose bit 32 * i + j is bit j of word i.


def to_integer(state):
    return sum(int(word) << 32 * i for i, word in enumerate(state))


def to_state(integer):
    return [integer >> 32 * i & 0xFFFF_FFFF for i in range(4)]


def apply(matrix, vector):
    total = 0
    for column in matrix:
        if vector & 1:
            total ^= column
        vector >>= 1
    return total


def multiply(a, b):
    return [apply(a, column) for column in b]


IDENTITY = [1 << i for i in range(128)]


@pytest.fixture(scope="module")
def powers():
    """Matrices of 2**0, 2**1, ... 2**128 steps."""
    step = [to_integer(xor128(to_state(unit), 1)[1]) for unit in IDENTITY]
    matrices = [step]
    for _ in range(128):
        matrices.append(multiply(matrices[-1], matrices[-1]))
    return matrices


def test_first_words_are_the_published_ones():
    assert xor128(MARSAGLIA, 10)[0] == FIRST_WORDS
    words = MARSAGLIA.copy()
    for expected in FIRST_WORDS:
        words.append(next_word(words[-4], words[-1]))
        assert words[-1] == expected
    sums = [3790362909, 4159986896, 2959171728, 1839024730]  # by hand
    assert RandomBits(np.array(MARSAGLIA, np.uint32)).words(4).tolist() == sums


def test_the_step_obeys_its_polynomial():
    # Applied to the step it gives zero. That there is no shorter one follows from the period.
    for unit in IDENTITY:
        total, state = 0, to_state(unit)
        for i in range(129):
            if POLYNOMIAL >> i & 1:
                total ^= to_integer(state)
            state = xor128(state, 1)[1]
        assert total == 0


@pytest.mark.parametrize("state", [MARSAGLIA, [0, 0, 0, 1], [1 << 31, 0, 0, 0], [0xFFFF_FFFF] * 4])
def test_words_are_those_of_single_steps(state):
    found = RandomBits(np.array(state, np.uint32)).words(5000).tolist()
    expected = summed(state, 5000)
    for i, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        assert ours == theirs, f"word {i}"


def test_words_do_not_depend_on_how_they_are_asked_for():
    source = RandomBits(np.array(MARSAGLIA, np.uint32))
    counts = [0, 1, 3, 511, 512, 513, 0, 1024, 1, 2000]
    found = np.concatenate([source.words(count) for count in counts])
    assert found.tolist() == summed(MARSAGLIA, sum(counts))


@pytest.mark.parametrize("calls", [1, 2, 3, 7])
def test_words_are_those_of_single_steps_in_the_long_run(calls):
    source = RandomBits(np.array(MARSAGLIA, np.uint32))
    count = 70_000 // calls
    found = np.concatenate([source.words(count) for _ in range(calls)])
    assert found.tolist() == summed(MARSAGLIA, calls * count)


def test_only_the_lowest_bit_is_linear():
    # The known weakness, which docs/random_bits.md explains: the lowest bit has no carry.
    words = RandomBits(seed_state(1)).words(10_128)
    taps = [i for i in range(129) if POLYNOMIAL >> i & 1]
    sums = np.bitwise_xor.reduce([words[tap : tap + 10_000] for tap in taps])
    odd = np.array([(sums >> np.uint32(bit) & 1).mean() for bit in range(32)])
    assert odd[0] == 0
    # Elsewhere the carries count; five standard deviations.
    assert (np.abs(odd[1:] - 0.5) < 5 * 0.5 / 10_000**0.5).all(), odd


def test_factors_are_primes():
    assert math.prod(PRIMES) == 2**128 - 1
    for prime in PRIMES:
        divisors = np.arange(2, math.isqrt(prime) + 1)
        assert (prime % divisors != 0).all(), f"{prime} is not a prime"


def test_period_is_2_to_the_128_less_1(powers):
    # The order of the step divides 2**128 - 1 but none of its largest proper divisors.
    def power(exponent):
        product = IDENTITY
        for i in range(128):
            if exponent >> i & 1:
                product = multiply(powers[i], product)
        return product

    order = 2**128 - 1
    assert power(order) == IDENTITY
    assert powers[128] == powers[0]
    for prime in PRIMES:
        assert power(order // prime) != IDENTITY, f"period divides (2**128 - 1) / {prime}"


@pytest.mark.parametrize("log2_steps", [0, 1, 5, 31, 64, 96, 127])
def test_jump_matrix_is_a_power_of_the_step(powers, log2_steps):
    rows = jump_matrix(log2_steps)
    columns = [sum(int(bit) << i for i, bit in enumerate(column)) for column in rows.T]
    assert columns == powers[log2_steps]


@pytest.mark.parametrize("count, log2_steps", [(0, 5), (1, 0), (5, 0), (1, 10), (7, 9), (1000, 1)])
def test_a_jump_is_so_many_steps(count, log2_steps):
    state = np.array(MARSAGLIA, np.uint32)
    found = jump(state, count, log2_steps).tolist()
    assert found == xor128(MARSAGLIA, count << log2_steps)[1]
    assert state.tolist() == MARSAGLIA


def test_streams_lie_2_to_the_96_words_apart(powers):
    assert STREAM_JUMP == 96
    for seed in (0, 1, 2**64 - 1):
        state = to_integer(seed_state(seed))
        for stream in (1, 2, 3, 1000, 2**32 - 1):
            expected = state
            for i in range(32):
                if stream >> i & 1:
                    expected = apply(powers[96 + i], expected)
            assert to_integer(seed_state(seed, stream)) == expected, f"{seed}, stream {stream}"


def test_streams_do_not_overlap():
    # All 2**32 streams of 2**96 words fit the period but for the very last word. Here the first
    # words of some of them: no window of four words appears twice.
    streams = [0, 1, 2, 3, 2**16, 2**31, 2**32 - 1]
    states = set()
    for stream in streams:
        words = RandomBits(seed_state(7, stream)).words(4096)
        states |= {tuple(words[i : i + 4].tolist()) for i in range(4093)}
    assert len(states) == len(streams) * 4093
    assert 2**32 * 2**96 - (2**128 - 1) == 1


@pytest.mark.parametrize(
    "seed, outputs",
    [
        # splitmix64 as published, low word first.
        (0, [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]),
        (1234567, [6457827717110365317, 3203168211198807973]),
    ],
)
def test_seed_fills_the_state_by_splitmix64(seed, outputs):
    expected = [word for output in outputs for word in (output & 0xFFFF_FFFF, output >> 32)]
    assert seed_state(seed).tolist() == expected


@pytest.mark.parametrize("random_bits", [1, 3, 4, 7, 8, 11, 16, 24, 31, 32])
@pytest.mark.parametrize("lanes", [1, 2, 4, 5, 16, 32])
def test_lane_l_takes_the_bits_from_l_r_on(random_bits, lanes):
    count = 3 * lanes + lanes // 2  # the last beat is not full
    per_beat = -(-lanes * random_bits // 32)
    beats = -(-count // lanes)
    words = summed(MARSAGLIA, beats * per_beat + 1)
    expected = []
    for beat in range(beats):
        mine = words[beat * per_beat : (beat + 1) * per_beat]
        bits = sum(word << 32 * i for i, word in enumerate(mine))
        mask = (1 << random_bits) - 1
        expected += [bits >> lane * random_bits & mask for lane in range(lanes)]
    source = RandomBits(np.array(MARSAGLIA, np.uint32))
    assert source.elements(count, random_bits, lanes).tolist() == expected[:count]
    assert words_per_beat(lanes, random_bits) == per_beat
    # The beat that was not full has taken its words all the same.
    assert source.words(1).tolist() == words[-1:]


@pytest.mark.parametrize(
    "random_bits, all_lanes", [(8, [4, 8, 16, 64]), (4, [8, 16]), (16, [2, 6])]
)
def test_numbers_do_not_depend_on_the_lanes_where_beats_fill_words(random_bits, all_lanes):
    each = [
        RandomBits(seed_state(1)).elements(960, random_bits, lanes).tolist() for lanes in all_lanes
    ]
    assert all(numbers == each[0] for numbers in each)


@pytest.mark.parametrize("random_bits, lanes", [(8, 4), (11, 3)])
def test_no_elements_take_no_words(random_bits, lanes):
    source = RandomBits(np.array(MARSAGLIA, np.uint32))
    none = source.elements(0, random_bits, lanes)
    assert (none.shape, none.dtype) == ((0,), np.uint32)
    assert source.words(1).tolist() == summed(MARSAGLIA, 1)


@pytest.mark.parametrize(
    "count, random_bits, lanes, message",
    [
        (1, 0, 4, r"^Random bit count must be 1 to 32, not 0$"),
        (1, 33, 4, r"^Random bit count must be 1 to 32, not 33$"),
        (1, 8, 0, r"^Lane count must be at least 1, not 0$"),
        (-1, 8, 4, r"^Element count must not be negative, and -1 is$"),
    ],
)
def test_bad_elements(count, random_bits, lanes, message):
    with pytest.raises(InputError, match=message):
        RandomBits(seed_state(1)).elements(count, random_bits, lanes)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_bad_seed(seed):
    with pytest.raises(InputError, match=rf"^Seed must be 0 to 2\*\*64 - 1, not {seed}$"):
        seed_state(seed)


@pytest.mark.parametrize("stream", [-1, 2**32])
def test_bad_stream(stream):
    with pytest.raises(InputError, match=rf"^Stream must be 0 to 2\*\*32 - 1, not {stream}$"):
        seed_state(1, stream)


@pytest.mark.parametrize("state", [[0, 0, 0, 0], [1, 2, 3], [[1, 2, 3, 4]]])
def test_bad_state(state):
    message = r"^State must be four 32-bit words that are not all zero$"
    with pytest.raises(InputError, match=message):
        RandomBits(np.array(state, np.uint32))


# The stream for statistical test programs.

COMMAND = [sys.executable, "-m", "verif.numbers.random_stream"]


def test_stream_is_the_words_little_endian():
    run = subprocess.run([*COMMAND, "--seed", "5", "--words", "70000"], capture_output=True)
    expected = summed(seed_state(5), 70000)
    assert np.frombuffer(run.stdout, "<u4").tolist() == expected
    assert (run.returncode, run.stderr) == (0, b"wrote 70000 words\n")


def test_stream_ends_quietly_with_its_reader():
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        first = run.stdout.read(4)
        run.stdout.close()
        message = run.stderr.read()
    assert int.from_bytes(first, "little") == summed(seed_state(1), 1)[0]
    assert run.returncode == 0
    assert re.fullmatch(rb"wrote [0-9]+ words\n", message), message


def test_bad_seed_of_the_stream(capsys):
    with pytest.raises(SystemExit, match=r"^2$"):
        random_stream.main(["--seed", "-1"])
    assert capsys.readouterr().err.endswith("error: Seed must be 0 to 2**64 - 1, not -1\n")
