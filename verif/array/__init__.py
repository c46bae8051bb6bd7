"""Tests of lanes and cells of the array."""
