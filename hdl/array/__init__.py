"""The multiplier-free array: lanes, trees, accumulators, dot products, structures."""
