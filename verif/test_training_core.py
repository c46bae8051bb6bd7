# amaranth: UnusedElaboratable=no
"""The training core: hardware against model."""

import pytest

from gen.config import parse

CONFIGS = {
    "4x4x8": "",
    "4x4x8 float32 radix 4": "wide_format = 'float32'\nfmt = 'fp4_radix4'\nmax_terms = 2048\n",
}
SMALL = """
activation_words = 40
weight_words = 40
gradient_words = 40
bias_words = 32
partial_sum_strips = 256
"""


@pytest.mark.parametrize("name", CONFIGS)
def test_rtl_matches_golden(sim, name):
    text = f"[modules.core]\ncore = 'training_core'\n{SMALL}{CONFIGS[name]}"
    sim(parse(text)["core"].build(), "training_core", {"config": text, "name": name})
