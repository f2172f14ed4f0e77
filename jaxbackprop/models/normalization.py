"""The normalisation between an affine layer and its unit, with its scale, its shift and its running statistics."""

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Float

from ..layers import batch_norm, batch_norm_running, layer_norm, rms_norm

KINDS = ("layer", "rms", "batch")
MOMENTUM = 0.9
"""The share of the old running statistics that a step of batch norm keeps."""


class Norm(nnx.Module):
    """Layer, RMS or batch normalisation over the last axis: x (B, D) -> (B, D).

    In training mode batch norm uses the batch's own mean and variance and moves its running statistics towards them;
    in evaluation mode (`model.eval()`) it uses the running statistics.

    Raises:
        ValueError: a kind that is none of layer, rms, batch.
    """

    def __init__(self, kind: str, features: int):
        check_norm(kind)
        self.kind = kind
        self.scale = nnx.Param(jnp.ones(features))
        self.shift = None if kind == "rms" else nnx.Param(jnp.zeros(features))
        self.mean = nnx.BatchStat(jnp.zeros(features)) if kind == "batch" else None
        self.var = nnx.BatchStat(jnp.ones(features)) if kind == "batch" else None
        self.use_running_average = False

    def __call__(self, x: Float[Array, "B D"]) -> Float[Array, "B D"]:
        scale = self.scale[...]
        if self.shift is None:
            return rms_norm(x, scale)
        if self.mean is None or self.var is None:
            return layer_norm(x, scale, self.shift[...])
        if self.use_running_average:
            return batch_norm_running(x, self.mean[...], self.var[...], scale, self.shift[...])
        y, mean, var = batch_norm(x, scale, self.shift[...])
        self.mean[...] = MOMENTUM * self.mean[...] + (1 - MOMENTUM) * mean
        self.var[...] = MOMENTUM * self.var[...] + (1 - MOMENTUM) * var
        return y


def check_norm(kind: str) -> None:
    """A ValueError where this is no kind of normalisation."""
    if kind not in KINDS:
        raise ValueError(f"norm is {kind!r}; it is {', '.join(map(repr, KINDS))} or None.")
