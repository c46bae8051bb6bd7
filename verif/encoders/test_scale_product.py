# amaranth: UnusedElaboratable=no
"""Sums times a scale: exact, normalised, and in each width with a bit for all that is lost."""

import random

from amaranth import Module

from nibblegrad.hdl.array.structures import PLAIN
from nibblegrad.hdl.encoders.scale_product import ScaleProduct
from verif.array.lane import run_lane
from verif.support.simulation import simulate

WIDTHS = (3, 12, 26, 49)
INTERESTING = [0, 1, -1, 2, 3, 255, 256, -256, 2**31 - 1, -(2**31), 2**17 - 1, 2**17, -(2**16)]


def expected(number, bias, relu, factor, exponent, offset, width):
    """Compute sign, significand and exponent of a product, as the hardware has to give them."""
    total = number + bias
    sign = total < 0 and not relu
    magnitude = 0 if total < 0 and relu else abs(total)
    product = magnitude * factor
    if not product:
        return sign, 0, None
    length = product.bit_length()
    lost = max(length - width + 1, 0)
    # The top bits, and whether any bit below them is set.
    kept = product >> lost << max(width - 1 - length, 0)
    sticky = product & ((1 << lost) - 1) != 0
    return sign, kept << 1 | sticky, length - 1 + exponent - offset


def test_products_are_exact(request):
    rng = random.Random(request.config.getoption("seed"))
    module = Module()
    module.submodules.unit = unit = ScaleProduct(WIDTHS, PLAIN.multiplier_bits)

    def choose():
        return rng.choice(
            [rng.choice(INTERESTING), rng.randrange(-(2**31), 2**31), rng.randint(-9, 9)]
        )

    async def bench(ctx):
        for setting in range(60):
            relu = setting % 3 == 2
            # The scale has its top bit set.
            factor = rng.choice([1 << 15, (1 << 16) - 1, rng.randrange(1 << 15, 1 << 16)])
            exponent = rng.randrange(-128, 128)
            offsets = [rng.randrange(-256, 256) for _ in WIDTHS]
            for name, value in (
                ("relu", relu),
                ("factor_0", factor),
                ("factor_1", factor),
                ("exponent", exponent),
                *((f"offset_{k}", offset) for k, offset in enumerate(offsets)),
            ):
                ctx.set(getattr(unit, name), value)
            # Settings stand still while numbers are inside.
            await ctx.tick().repeat(ScaleProduct.latency)
            given = [(choose(), choose()) for _ in range(40)]
            for k in range(len(given) + ScaleProduct.latency):
                if k < len(given):
                    ctx.set(unit.number, given[k][0])
                    ctx.set(unit.bias, given[k][1])
                if k >= ScaleProduct.latency:
                    for which, width in enumerate(WIDTHS):
                        sign, significand, power = expected(
                            *given[k - ScaleProduct.latency],
                            relu,
                            factor,
                            exponent,
                            offsets[which],
                            width,
                        )
                        assert ctx.get(getattr(unit, f"significand_{which}")) == significand
                        if significand:
                            assert ctx.get(unit.sign) == sign
                            found = ctx.get(getattr(unit, f"exponent_{which}"))
                            # Ten bits, of which what follows looks at no more than the range.
                            assert (found - power) % 1024 == 0
                await ctx.tick()

    simulate(module, bench)


def test_each_number_has_a_scale_of_its_own(request):
    """Factor and exponent come later than the number, and belong to it."""
    rng = random.Random(request.config.getoption("seed"))
    unit = ScaleProduct(WIDTHS, PLAIN.multiplier_bits, own_scale=True)
    assert unit.scale_latency == 7
    offsets = [rng.randrange(-256, 256) for _ in WIDTHS]
    numbers = []
    for k in range(800):
        factor = rng.choice([1 << 15, (1 << 16) - 1, rng.randrange(1 << 15, 1 << 16)])
        numbers.append(
            {
                "number": rng.choice([rng.choice(INTERESTING), rng.randrange(-(2**31), 2**31)]),
                "bias": rng.choice([0, rng.choice(INTERESTING), rng.randint(-9, 9)]),
                "factor_0": factor,
                "factor_1": factor,
                "exponent": k % 256 - 128,
            }
        )
    settings = {f"offset_{k}": offset for k, offset in enumerate(offsets)}
    delays = dict.fromkeys(("factor_0", "factor_1", "exponent"), unit.scale_latency)
    names = ["sign"]
    names += [f"{what}_{k}" for k in range(len(WIDTHS)) for what in ("significand", "exponent")]
    got = run_lane(rng, unit, numbers, names, {**settings, "relu": 0}, delays)
    for given, (found_sign, *found) in zip(numbers, got, strict=True):
        for k, width in enumerate(WIDTHS):
            sign, significand, power = expected(
                given["number"], given["bias"], False, given["factor_0"], given["exponent"],
                offsets[k], width,
            )  # fmt: skip
            assert found[2 * k] == significand, given
            if significand:
                assert found_sign == sign, given
                assert (found[2 * k + 1] - power) % 1024 == 0, given
