"""The checks of verification, by the question that they ask."""
