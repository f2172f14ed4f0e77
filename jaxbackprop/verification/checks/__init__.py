"""What every handwritten backward pass must obey. `registry.py` lists the checks; each is one function."""
