"""The random generator: xorshift128 with an addition, several words per cycle."""

# Ref: George Marsaglia, "Xorshift RNGs", Journal of Statistical Software 8(14), 2003
# Ref: Mutsuo Saito and Makoto Matsumoto, "XORSHIFT-ADD (XSadd): A variant of XORSHIFT", 2014

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.stream import Signature as Stream
from amaranth.lib.wiring import In, Out

from nibblegrad.golden.numbers import random_bits
from nibblegrad.hdl.base.contracts import promise
from nibblegrad.hdl.base.parameters import check_integer

__all__ = ["STATE_WORDS", "RandomBits"]

STATE_WORDS = 4


class RandomBits(wiring.Component):
    """Random numbers for the lanes of a beat.

    Each transfer on ``o`` brings one number per lane; the sequence is that of
    :meth:`nibblegrad.golden.numbers.random_bits.RandomBits.elements`. A number is offered in every
    cycle but while a seed is being loaded: 4 transfers on ``i_seed``, then three cycles to make the
    first words. The words on offer come from registers; the latency is 0.

    The state is one beat ahead of what is on offer, so that neither the steps nor what uses the
    numbers has the addition in its path.

    Parameters
    ----------
    lanes : int
        Count of numbers in a beat, 1 to 1024.
    bits : int
        Width of a number, 1 to 32.
    seed, stream : int
        Seed of the sequence after reset and number of its stream; see
        :func:`nibblegrad.golden.numbers.random_bits.seed_state`.

    Members
    -------
    i_seed : ``In(stream.Signature(32))``
        Words of a new state, the oldest first. Always ready. To be loaded between tensors: the
        first one takes back what ``o`` offers.
    o : ``Out(stream.Signature(ArrayLayout(bits, lanes)))``
        Random numbers.
    seed_error : ``Out(1)``
        Sticky: a state of zeros was loaded, and replaced by 0, 0, 0, 1.
    """

    latency = 0

    def __init__(self, lanes, bits, seed=1, stream=0):
        check_integer("Lane count", lanes, 1, 1024)
        check_integer("Random bit count", bits, 1, 32)
        check_integer("Seed", seed, 0, 2**64 - 1)
        check_integer("Stream", stream, 0, 2**32 - 1)
        self._lanes = lanes
        self._bits = bits
        self._start = random_bits.seed_state(seed, stream)
        super().__init__(
            {
                "i_seed": In(Stream(32)),
                "o": Out(Stream(data.ArrayLayout(bits, lanes))),
                "seed_error": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()

        count = random_bits.words_per_beat(self._lanes, self._bits)
        start = self._start
        first = random_bits.RandomBits(start).words(count)
        offered = [Signal(32, init=int(word), name=f"offered_{k}") for k, word in enumerate(first)]

        # The newest words of the linear sequence: the next beat's, the one before them, and at
        # least the four that are the state.
        kept = max(count + 1, STATE_WORDS)
        linear = [int(word) for word in start]
        for _ in range(2 * count):
            linear.append(random_bits.next_word(linear[-STATE_WORDS], linear[-1]))
        words = [Signal(32, init=w, name=f"word_{k}") for k, w in enumerate(linear[-kept:])]

        following = list(words[-STATE_WORDS:])
        for k in range(count):
            mixed = Signal(32, name=f"mixed_{k}")
            word = Signal(32, name=f"next_{k}")
            oldest, newest = following[-STATE_WORDS], following[-1]
            m.d.comb += [
                mixed.eq(oldest ^ (oldest << 11)),
                word.eq(newest ^ (newest >> 19) ^ mixed ^ (mixed >> 8)),
            ]
            following.append(word)

        loaded = Signal(range(STATE_WORDS))
        judging = Signal()  # all words of a seed are there; are they zeros?
        priming = Signal(2)  # two steps until the first words are on offer: 0b11, 0b01, 0
        any_set = Signal()
        valid = Signal(init=1)  # none of loaded, judging and priming is set
        m.d.comb += [
            self.i_seed.ready.eq(1),
            self.o.valid.eq(valid),
            self.o.payload.as_value().eq(Cat(offered)),
        ]
        m.d.sync += judging.eq(0)
        with m.If(judging & ~any_set):
            m.d.sync += self.seed_error.eq(1)
        with m.If(self.i_seed.valid):
            m.d.sync += [
                Cat(words).eq(Cat(*words[1:], self.i_seed.payload)),
                loaded.eq(loaded + 1),
                judging.eq(loaded.all()),
                priming.eq(0),
                valid.eq(0),
                any_set.eq((any_set & loaded.any()) | self.i_seed.payload.any()),
            ]
        # Neither happens while the words are judged, which comes last to be out of the way.
        with m.Elif(priming[0] | (valid & self.o.ready)):
            m.d.sync += [
                Cat(words).eq(Cat(*following[-kept:])),
                priming.eq(priming >> 1),
                valid.eq(~priming[1]),
            ]
            beat = words[-count - 1 :]
            for word, older, newer in zip(offered, beat[:-1], beat[1:], strict=True):
                m.d.sync += word.eq(older + newer)
        with m.Elif(judging):
            m.d.sync += priming.eq(0b11)
            with m.If(~any_set):
                m.d.sync += words[-1].eq(1)

        return m

    def admit(self, m):
        """Tell by a register whether numbers are on offer.

        Behind a pipeline that never stalls, a beat enters only then: it finds some when it takes
        them, cycles later, unless a seed is loaded while it is inside.
        """
        ready = Signal(name="random_ready")
        m.d.sync += ready.eq(self.o.valid)
        return ready

    def connect(self, m, core, taken):
        """Wire seed and error to the members of ``core``, which draws a beat when ``taken``."""
        what = "no seed is loaded while anything is inside that takes random bits"
        promise(m, what, ~taken | self.o.valid)
        m.d.comb += [self.o.ready.eq(taken), core.seed_error.eq(self.seed_error)]
        wiring.connect(m, self.i_seed, wiring.flipped(core.i_seed))
