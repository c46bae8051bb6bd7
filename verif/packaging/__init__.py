"""Tests of what lies beside the Verilog, by the programs that read it."""
