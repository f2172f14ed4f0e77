"""The lecture's network: two hidden layers and one score."""

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Bool, Float

from ..gates import reshape
from ..layers import affine, affine_unit
from ..losses import max_margin
from .initializers import check_unit, weights_before, xavier


class TwoLayerScorer(nnx.Module):
    """s = U^T f(W2 f(W1 x + b1) + b2): x (B, features) -> one score an example (B,).

    It learns from pairs: the score of a true example shall lead that of a corrupt one by a margin.

    Args:
        features: numbers an example.
        hidden: the sizes of the two hidden layers.
        unit: the name of the unit f.
        margin: how far the true score shall lead.
        rngs: where the weights come from.

    Raises:
        ValueError: no such unit, not two hidden sizes.
    """

    def __init__(
        self,
        features: int,
        hidden: tuple[int, int],
        *,
        unit: str = "sigmoid",
        margin: float = 1.0,
        rngs: nnx.Rngs,
    ):
        if len(hidden) != 2:
            raise ValueError(f"TwoLayerScorer: hidden is {tuple(hidden)}; it is the sizes of two layers.")
        check_unit("TwoLayerScorer", unit)
        self.features, self.hidden, self.unit, self.margin = features, tuple(hidden), unit, margin
        first, second = hidden
        self.W1 = nnx.Param(weights_before(unit, rngs.params(), features, first))
        self.b1 = nnx.Param(jnp.zeros(first))
        self.W2 = nnx.Param(weights_before(unit, rngs.params(), first, second))
        self.b2 = nnx.Param(jnp.zeros(second))
        self.U = nnx.Param(xavier(rngs.params(), second, 1))

    def __call__(self, x: Float[Array, "*B D"]) -> Float[Array, "*B"]:
        a1 = affine_unit(x, self.W1[...], self.b1[...], unit=self.unit)
        a2 = affine_unit(a1, self.W2[...], self.b2[...], unit=self.unit)
        return reshape(affine(a2, self.U[...]), shape=a2.shape[:-1])

    def loss_and_correct(
        self, x: Float[Array, "B D"], corrupt: Float[Array, "B D"]
    ) -> tuple[Float[Array, " B"], Bool[Array, " B"]]:
        """max(0, margin + s_c - s) of each pair, and whether the true example scores higher."""
        s, s_c = self(x), self(corrupt)
        return max_margin(s, s_c, margin=self.margin), s > s_c
