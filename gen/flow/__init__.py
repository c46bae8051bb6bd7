"""Synthesis, placement and routing with open tools, and what is built on them."""
