"""Search for settings, and for a model of a given size."""
