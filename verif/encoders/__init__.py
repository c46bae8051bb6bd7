"""Tests of encoders and scale product."""
