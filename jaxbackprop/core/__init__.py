"""What a rule is: its signature, its domains and example inputs, its behaviour under `vmap` and forward mode."""
