"""Circuits from expressions such as `(x + y) * z`."""
