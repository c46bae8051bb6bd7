"""Tests of the Verilog as text, and of the documents of registers."""
