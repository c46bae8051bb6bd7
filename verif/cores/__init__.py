"""Benches and tests of the cores that a user takes alone."""
