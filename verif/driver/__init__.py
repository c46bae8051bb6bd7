"""Tests of what turns layers into commands, and of the clock."""
