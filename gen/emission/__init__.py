"""From components to Verilog and documents of registers."""
