"""Bench and test of the bridge between a host and the training core."""
