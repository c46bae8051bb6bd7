"""Twins of the cores that a user takes alone, in ``hdl/cores``."""
