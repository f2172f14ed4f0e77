"""fastText's model: a text is the mean of the vectors of its words and n-grams; an affine layer classifies it."""

from typing import NamedTuple

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Bool, Float, Int

from ..layers import affine, embedding_bag, ragged_embedding_bag
from ..losses import softmax_cross_entropy
from .initializers import lecun


class RaggedBags(NamedTuple):
    """Bags of unequal length, one behind the other: bag b is ids[starts[b] : starts[b + 1]], the last to the end.

    ids     (T,) rows of the table; -1 fills up and counts for nothing
    starts  (B,) where each bag begins
    """

    ids: Int[Array, " T"]
    starts: Int[Array, " B"]


class BagOfWords(nnx.Module):
    """The mean of a text's rows of a table, then an affine layer: ids (B, L) padded with -1 -> scores (B, classes).

    The table starts at zero, so that an n-gram which training never saw says nothing; what tells the classes apart at
    the start is the affine layer. Takes `RaggedBags` as well: the same answer without the padding.

    Args:
        rows: rows of the table: words, and buckets of n-grams.
        dim: the length of a row.
        classes: how many scores.
        pool: "mean" or "sum" of the rows.
        rngs: where the weights come from.

    Raises:
        ValueError: a size below 1.

    Source  Joulin, Grave, Bojanowski, Mikolov 2016, arXiv:1607.01759
    """

    def __init__(self, rows: int, dim: int, classes: int, *, pool: str = "mean", rngs: nnx.Rngs):
        if min(rows, dim, classes) < 1:
            raise ValueError(f"BagOfWords: rows is {rows}, dim {dim}, classes {classes}; each must be at least 1.")
        self.rows, self.dim, self.classes, self.pool = rows, dim, classes, pool
        self.table = nnx.Param(jnp.zeros((rows, dim)))
        self.W = nnx.Param(lecun(rngs.params(), dim, classes))
        self.b = nnx.Param(jnp.zeros(classes))

    def __call__(self, ids: Int[Array, "B L"] | RaggedBags) -> Float[Array, "B C"]:
        if isinstance(ids, RaggedBags):
            h = ragged_embedding_bag(self.table[...], ids.ids, ids.starts, pool=self.pool)
        else:
            h = embedding_bag(self.table[...], ids, pool=self.pool)
        return affine(h, self.W[...], self.b[...])

    def loss_and_correct(
        self, ids: Int[Array, "B L"] | RaggedBags, y: Int[Array, " B"]
    ) -> tuple[Float[Array, " B"], Bool[Array, " B"]]:
        """The loss of each text, and whether its highest score is the true class's."""
        scores = self(ids)
        return softmax_cross_entropy(scores, y), scores.argmax(-1) == y
