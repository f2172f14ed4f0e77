"""The one place that knows JAX's intermediate representation."""
