"""Circuits: any JAX function as gates and wires, with values and gradients."""

from .circuit import Circuit as Circuit
from .trace import trace as trace
