"""Tests of the repository itself: its pages, its rules, its Makefile."""
