"""The multi-layer perceptron: affine layers with a unit between them."""

from collections.abc import Sequence
from itertools import pairwise

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Bool, Float, Int

from ..core.rule import rules
from ..layers import affine, affine_unit, dropout
from ..losses import softmax_cross_entropy
from .initializers import check_unit, weights_before, xavier
from .normalization import Norm, check_norm


class MLP(nnx.Module):
    """Affine layers with a unit between them: x (B, features) -> scores (B, classes).

    Weights start as the unit wants: Xavier for one that saturates, He for a rectified one, LeCun for SELU; the last
    layer, which no unit follows, as Xavier says. Normalisation stands between an affine layer and its unit, dropout
    after the unit. `model.eval()` switches dropout off and batch norm to its running statistics.

    Args:
        features: numbers an example.
        hidden: the sizes of the hidden layers; an empty sequence makes a linear classifier.
        classes: how many scores.
        unit: the name of a unit of one input.
        dropout: the share of each hidden layer that is silenced in training.
        norm: "layer", "rms", "batch" or None.
        smoothing: label smoothing of the loss.
        rngs: where the weights and the dropout keys come from.

    Raises:
        ValueError: no such unit or norm, a size below 1, dropout outside 0..1.
    """

    def __init__(
        self,
        features: int,
        hidden: Sequence[int],
        classes: int,
        *,
        unit: str = "relu",
        dropout: float = 0.0,
        norm: str | None = None,
        smoothing: float = 0.0,
        rngs: nnx.Rngs,
    ):
        self.features, self.hidden, self.classes = features, tuple(hidden), classes
        self.unit, self.dropout, self.norm, self.smoothing = unit, dropout, norm, smoothing
        sizes = [features, *self.hidden, classes]
        if min(sizes) < 1:
            raise ValueError(f"MLP: the sizes of the layers are {sizes}; each must be at least 1.")
        if not 0 <= dropout <= 1:
            raise ValueError(f"MLP: dropout is {dropout}; it is the share of units silenced, from 0 to 1.")
        check_unit("MLP", unit)
        if norm is not None:
            check_norm(norm)
        W = [weights_before(unit, rngs.params(), *size) for size in pairwise(sizes[:-1])]
        self.W = nnx.List(nnx.Param(w) for w in [*W, xavier(rngs.params(), *sizes[-2:])])
        self.b = nnx.List(nnx.Param(jnp.zeros(n)) for n in sizes[1:])
        self.norms = nnx.List(Norm(norm, n) for n in self.hidden if norm is not None)
        self.keys = rngs.dropout.fork() if dropout else None
        self.deterministic = False

    def __call__(self, x: Float[Array, "B D"]) -> Float[Array, "B C"]:
        *hidden, (W, b) = zip(self.W, self.b, strict=True)
        for layer, (W_l, b_l) in enumerate(hidden):
            if self.norm is None:
                x = affine_unit(x, W_l[...], b_l[...], unit=self.unit)
            else:
                x = rules()[self.unit](self.norms[layer](affine(x, W_l[...], b_l[...])))
            if self.keys is not None and not self.deterministic:
                x = dropout(x, self.keys(), rate=self.dropout)
        return affine(x, W[...], b[...])

    def loss_and_correct(
        self, x: Float[Array, "B D"], y: Int[Array, " B"]
    ) -> tuple[Float[Array, " B"], Bool[Array, " B"]]:
        """The loss of each example, and whether its highest score is the true class's."""
        scores = self(x)
        return softmax_cross_entropy(scores, y, smoothing=self.smoothing), scores.argmax(-1) == y
