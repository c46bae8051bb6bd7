"""Tests of the bench of data sets."""
