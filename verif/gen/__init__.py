"""Tests of configurations, files and the command line."""
