"""Float32: nothing is 4-bit. What every other method is compared with."""

from nibblegrad.golden.training.layers import Dense
from nibblegrad.golden.training.recipes import Method, Recipe

__all__ = ["METHOD"]

METHOD = Method(Recipe("float32", Dense), forward="float32", backward="float32", rank=0)
