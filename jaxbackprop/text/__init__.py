"""Bag-of-words text classification at fastText's level: its model, its files, its names, hand-derived deltas."""
