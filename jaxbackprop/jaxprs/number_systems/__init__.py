"""Jaxprs in arithmetic that JAX does not have."""
