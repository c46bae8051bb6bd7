"""From a configuration to files: Verilog, file lists, summaries; and the command line."""
