"""What is known of the true derivative, one source a file. `decide.py` has the order in which they are trusted."""
