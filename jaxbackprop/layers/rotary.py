"""Rotary embedding: queries and keys are turned by angles that grow with their positions."""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from ..core.accumulation import accumulator_dtype, to_accumulator
from ..core.domains import Domain
from ..core.rule import WithResiduals, rule

position = Domain("an integer, not negative", lambda rng, shape, sizes: rng.integers(0, 100, shape))


@rule(domain={"positions": position}, example_settings=({"base": 100.0, "interleaved": True},))
def rotary(
    x: Float[Array, "*B T N 2*H"],
    positions: Int[Array, "*B T"] | None = None,
    *,
    base: float = 10_000.0,
    interleaved: bool = False,
) -> WithResiduals[Float[Array, "*B T N 2*H"]]:
    """Rotary position embedding: each pair of a head's numbers is turned, so that q . k depends on a distance alone.

    Forward   (a, b) -> (a cos w - b sin w, b cos w + a sin w),  w = position base^(-i/H) for pair i of H
              pair i is the numbers i and H + i, or interleaved 2i and 2i + 1
    Local     the rotation by w, a matrix whose transpose is the rotation by -w
    Backward  dx = upstream, turned back: (u, v) -> (u cos w + v sin w, v cos w - u sin w)
    Residuals the positions; cos w and sin w are computed again
    Source    Su et al. 2021, arXiv:2104.09864

    Angles are in float32 at least, and what is turned is rounded once.

    Args:
        x: queries or keys (*B, T, N, 2 H), N heads.
        positions: of each (*B, T); None for 0 to T - 1.
        base: the slowest pair turns by base^(1/H - 1) from one position to the next.
        interleaved: pairs are neighbours; else the two halves of a head make them.

    Raises:
        ValueError: a head has an odd number of numbers.
    """
    if x.shape[-1] % 2:
        raise ValueError(f"rotary: a head has {x.shape[-1]} numbers, which make no pairs.")
    positions = jnp.arange(x.shape[-3]) if positions is None else positions
    return _turned(x, positions, base, interleaved, 1), positions


@rotary.backward
def rotary_backward(positions, upstream, *, base, interleaved):
    return _turned(upstream, positions, base, interleaved, -1)


def _turned(x: Array, positions: Array, base: float, interleaved: bool, sign: int) -> Array:
    """`x` with its pairs turned by their angles, or by minus these."""
    H, dtype = x.shape[-1] // 2, accumulator_dtype(x.dtype)
    speeds = base ** (-jnp.arange(H, dtype=dtype) / max(H, 1))
    angles = (positions.astype(dtype)[..., None] * speeds)[..., None, :]  # (..., T, 1, H)
    cos, sin = jnp.cos(angles), sign * jnp.sin(angles)
    pairs = x.reshape(*x.shape[:-1], *((H, 2) if interleaved else (2, H)))
    axis = -1 if interleaved else -2
    a, b = (to_accumulator(pairs.take(i, axis)) for i in (0, 1))
    return jnp.stack([a * cos - b * sin, b * cos + a * sin], axis).reshape(x.shape).astype(x.dtype)
