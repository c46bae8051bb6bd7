"""The Verilated training core as a shared library, called from NumPy."""
