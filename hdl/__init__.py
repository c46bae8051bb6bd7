"""The cores, one component per module, each with a golden model of the same name."""
