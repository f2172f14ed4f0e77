"""Training of the tables."""
