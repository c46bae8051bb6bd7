"""Formats, rounding and random bits against independent implementations."""
