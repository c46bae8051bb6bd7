"""Benches and tests of the dot-product units of the price list."""
