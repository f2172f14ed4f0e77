"""Models made smaller by product quantization."""
