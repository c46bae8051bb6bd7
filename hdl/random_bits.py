"""The random generator: xorshift128, several words per cycle."""

# Ref: George Marsaglia, "Xorshift RNGs", Journal of Statistical Software 8(14), 2003

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden import random_bits

__all__ = ["RandomBits"]

STATE_WORDS = 4


class RandomBits(wiring.Component):
    """Random numbers for the lanes of a beat.

    Each transfer on ``o`` brings one number per lane; the sequence is that of
    :meth:`golden.random_bits.RandomBits.elements`. A number is offered in every cycle but while
    a seed is being loaded: 4 transfers on ``i_seed``, then one cycle to make the first words. The
    words on offer come from registers; the latency is 0.

    Parameters
    ----------
    lanes : int
        Count of numbers in a beat.
    bits : int
        Width of a number, 1 to 32.
    seed : int
        Seed of the sequence after reset; see :func:`golden.random_bits.seed_state`.

    Members
    -------
    i_seed : ``In(stream.Signature(32))``
        Words of a new state, the oldest first. Always ready. To be loaded between tensors.
    o : ``Out(stream.Signature(ArrayLayout(bits, lanes)))``
        Random numbers.
    seed_error : ``Out(1)``
        Sticky: a state of zeros was loaded, and replaced by 0, 0, 0, 1.
    """

    latency = 0

    def __init__(self, lanes, bits, seed=1):
        self._lanes = lanes
        self._bits = bits
        self._seed = seed
        super().__init__(
            {
                "i_seed": In(stream.Signature(32)),
                "o": Out(stream.Signature(data.ArrayLayout(bits, lanes))),
                "seed_error": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()

        count = random_bits.words_per_beat(self._lanes, self._bits)
        kept = max(count, STATE_WORDS)
        # The newest words: those on offer, and at least the four that are the state.
        start = random_bits.seed_state(self._seed)
        first = [*start, *random_bits.RandomBits(start).words(count)][-kept:]
        words = [Signal(32, init=int(w), name=f"word_{k}") for k, w in enumerate(first)]

        following = list(words[-STATE_WORDS:])
        for k in range(count):
            mixed = Signal(32, name=f"mixed_{k}")
            word = Signal(32, name=f"next_{k}")
            m.d.comb += mixed.eq(following[-STATE_WORDS] ^ (following[-STATE_WORDS] << 11))
            newest = following[-1]
            m.d.comb += word.eq(newest ^ (newest >> 19) ^ mixed ^ (mixed >> 8))
            following.append(word)

        loaded = Signal(range(STATE_WORDS))
        priming = Signal()
        any_set = Signal()
        m.d.comb += [
            self.i_seed.ready.eq(1),
            self.o.valid.eq(~priming & ~loaded.any()),
            self.o.payload.as_value().eq(Cat(words[-count:])),
        ]
        with m.If(self.i_seed.valid):
            m.d.sync += [
                Cat(words).eq(Cat(*words[1:], self.i_seed.payload)),
                loaded.eq(loaded + 1),
                priming.eq(loaded == STATE_WORDS - 1),
                any_set.eq((any_set & loaded.any()) | self.i_seed.payload.any()),
            ]
            with m.If((loaded == STATE_WORDS - 1) & ~any_set & ~self.i_seed.payload.any()):
                m.d.sync += [words[-1].eq(1), self.seed_error.eq(1)]
        with m.Elif(priming | (self.o.valid & self.o.ready)):
            m.d.sync += [
                Cat(words).eq(Cat(*following[-kept:])),
                priming.eq(0),
            ]

        return m
