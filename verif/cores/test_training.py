"""The tensors of real training steps, through the Verilog of the default configuration."""

import pickle

import pytest

from nibblegrad.gen import config
from nibblegrad.golden.training.trainer import RECIPES, Settings, record_steps
from verif.support.marks import slow

SEED = 3
SETTINGS = Settings(hidden=(32,), batch=32)
EPOCHS = 4
# The digits, and what both layers draw per image: more than enough words to search.
WORDS = EPOCHS * 1500 * 32
# The beats of the FP4 quantiser in the default configuration.
LOAD_LANES = config.load(config.DEFAULT)["fp4_quantizer"].lanes


@pytest.fixture(scope="session")
def steps(tmp_path_factory):
    """Record the first, middle and last epoch of a training by each 4-bit recipe."""
    folder = tmp_path_factory.mktemp("steps")
    paths = {}
    for name in ("luq", "two_phase"):
        calls = record_steps(
            RECIPES[name], EPOCHS, settings=SETTINGS, seed=SEED, load_lanes=LOAD_LANES
        )
        paths[name] = folder / name
        paths[name].write_bytes(pickle.dumps(calls))
    return paths


GRADIENTS = ["output_gradient"]
FORWARD = ["weights", "activations"]
PRODUCTS = ["output", "input_gradient", "weight_gradient"]


@pytest.mark.parametrize(
    "module, recipe, operation, tensors",
    [
        ("quantizer", "luq", "quantize", FORWARD),
        ("fp4_quantizer", "luq", "quantize_fp4", GRADIENTS),
        slow("two_phase_quantizer", "two_phase", "quantize_fp4", GRADIENTS),
        ("shift_multiply_array", "luq", "matmul", PRODUCTS),
        slow("shift_multiply_array radix 4", "two_phase", "matmul", PRODUCTS),
        ("scale_multiplier", "luq", "scale_to_float", PRODUCTS),
        slow("scale_multiplier", "two_phase", "scale_to_float", PRODUCTS),
    ],
)
def test_training_steps_match(sim, steps, module, recipe, operation, tensors):
    name, _, radix = module.partition(" ")
    if radix:
        parameters = config.CORES["shift_multiply_array"].config(fmt="fp4_radix4", max_terms=2048)
    else:
        parameters = config.load(config.DEFAULT)[name]
    sizes = {size: getattr(parameters, size, None) for size in ("lanes", "rows", "columns")}
    sim(
        parameters.build(),
        "training",
        {
            "core": f"training, {recipe}: {module}",
            "steps": str(steps[recipe]),
            "operation": operation,
            "bins": [*(f"{epoch} epoch" for epoch in ("first", "middle", "last")), *tensors],
            "training_seed": SEED,
            "words": WORDS,
            **sizes,
        },
    )
