"""Tests of networks, recipes and trainer."""
