"""Tests of the command ``cycles``."""
