"""The cores that a user takes alone."""
