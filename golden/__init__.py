"""The truth: what every core computes, to the bit, in NumPy.

Nothing in this package imports the hardware. Real numbers that the hardware holds exactly are
held exactly here, as ``float64``; each function says why that is enough.
"""
