"""A training kept as it goes: on disk (storage.py), and what of it is kept and restored (manager.py)."""
