"""Minibatches drawn on the device: which examples, in which order, as arrays of one shape.

Every example is in exactly one minibatch of an epoch: after the whole ones comes a smaller one with the remainder.
What is done with a minibatch is not known here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..data.bags import Bags
from ..models import RaggedBags


class Batches(Protocol):
    """Data on the device, cut into `steps` minibatches of `batch` examples and one of the `rest` that remains."""

    size: int
    batch: int

    def order(self, key: Array | None) -> Array:
        """The numbers of the examples, (size,): `batch` after `batch` of them, shuffled where a key is given."""
        ...

    def take(self, which: Array) -> tuple:
        """The minibatch of the examples numbered by `which`: (batch,) or (rest,)."""
        ...


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DenseBatches:
    """Minibatches of arrays that have one row an example."""

    arrays: tuple
    size: int = jax.tree_util.field(metadata={"static": True}) if False else 0  # replaced below
    batch: int = 1
