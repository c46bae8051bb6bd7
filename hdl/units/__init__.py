"""The other dot products of the price list."""
