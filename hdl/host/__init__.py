"""The bridge between a host and the training core."""
