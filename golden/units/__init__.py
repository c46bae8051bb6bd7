"""Twins of the dot-product units of the price list, in ``hdl/units``."""
