"""Tests of what every core is made of."""
