"""Tests of the flow to FPGAs: synthesis, placement, advice."""
