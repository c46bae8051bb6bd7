"""Formats, rounding and random bits: the numbers that everything is made of."""
