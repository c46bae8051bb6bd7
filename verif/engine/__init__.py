"""Benches and tests of the training core and its parts."""
