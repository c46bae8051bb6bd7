"""Nibblegrad: an open generator of 4-bit neural-network training cores."""
