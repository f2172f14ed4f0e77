"""Gates that route: they send a wire's gradient on to some of their inputs, to all, or to none, unscaled.

Here because a comparison decides, not arithmetic. The largest of a whole axis is `shaping.reduce_max`; units that
choose (`maxout`, `softmax`) are in `softmax`.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..core.accumulation import to_accumulator
from ..core.domains import within
from ..core.rule import WithResiduals, rule


@rule(example_settings=({"times": 1}, {"times": 3}), formula=lambda x, times: (x,) * times)
def copy(x: Float[Array, "..."], *, times: int = 2) -> WithResiduals[tuple[Float[Array, "..."], ...]]:
    """The fork, where one wire feeds several gates: an adder on the way back.

    Forward   f_1 = ... = f_times = x
    Local     df_i/dx = 1
    Backward  dx = sum_i upstream_i
    Source    CS231n notes, "Backpropagation, intuitions", https://cs231n.github.io/optimization-2/
              ("gradients add up at forks")

    Raises:
        ValueError: `times` is below 1.
    """
    if times < 1:
        raise ValueError(f"copy: times is {times}; a fork has at least one branch.")
    return (x,) * times, None


@copy.backward
def copy_backward(residuals, upstreams):
    return sum(to_accumulator(upstream) for upstream in upstreams)


def _sign(x: Array, y: Array | float = 0) -> Array:
    """1 where x > y, -1 where x < y, else 0, in one byte."""
    return (x > y).astype(jnp.int8) - (x < y).astype(jnp.int8)


@rule(kinks=lambda x: x, formula=np.abs)
def abs(x: Float[Array, "..."]) -> WithResiduals[Float[Array, "..."]]:
    """The absolute value: passes the gradient with the sign of its input.

    Forward   f = |x|
    Local     df/dx = sign x
    Backward  dx = sign x upstream
    Kink      x = 0: we answer 0, midway between -1 and 1 (jnp.abs answers 1)
    Source    |x| is x or -x
    """
    return jnp.abs(x), _sign(x)  # one byte a number


@abs.backward
def abs_backward(sign, upstream):
    return sign * upstream


def _to_the_winner(order: Array, upstream: Array) -> Array:
    """All of `upstream` where order is 1, half of it where 0 (a tie), nothing where -1."""
    return jnp.where(order == 0, upstream / 2, jnp.where(order > 0, upstream, 0))


@rule(kinks=lambda x, y: x - y, broadcasts=True, formula=np.maximum)
def max(x: Float[Array, "*x"], y: Float[Array, "*y"]) -> WithResiduals[Float[Array, "*xy"]]:
    """The max gate, a router: the larger input receives the whole gradient, the other one nothing.

    Forward   f = max(x, y)
    Local     df/dx = 1 where x > y, else 0,  df/dy = 1 where y > x, else 0
    Backward  dx = upstream where x > y, else 0,  dy = upstream where y > x, else 0
    Kink      x = y: each gets half, as with jnp.maximum; never both the whole, which would double the gradient
    Source    CS231n notes, "Backpropagation, intuitions", https://cs231n.github.io/optimization-2/

    It keeps one byte a number, an eighth of what autodiff keeps. On one core it takes autodiff's time; on two, at some
    16,000 numbers, 1 to 1.8 times that: for so little work XLA's threads are sometimes in each other's way.
    """
    return jnp.maximum(x, y), _sign(x, y)


@max.backward
def max_backward(order, upstream):
    return _to_the_winner(order, upstream), _to_the_winner(-order, upstream)


@rule(kinks=lambda x, y: x - y, broadcasts=True, formula=np.minimum)
def min(x: Float[Array, "*x"], y: Float[Array, "*y"]) -> WithResiduals[Float[Array, "*xy"]]:
    """The min gate, a router: the smaller input receives the whole gradient, the other one nothing.

    Forward   f = min(x, y)
    Local     df/dx = 1 where x < y, else 0,  df/dy = 1 where y < x, else 0
    Backward  dx = upstream where x < y, else 0,  dy = upstream where y < x, else 0
    Kink      x = y: each gets half, as with jnp.minimum; never both the whole
    Source    min(x, y) = -max(-x, -y)
    """
    return jnp.minimum(x, y), _sign(y, x)


@min.backward
def min_backward(order, upstream):
    return _to_the_winner(order, upstream), _to_the_winner(-order, upstream)


@rule(broadcasts=True, formula=np.where)
def where(
    condition: Bool[Array, "*c"], x: Float[Array, "*x"], y: Float[Array, "*y"]
) -> WithResiduals[Float[Array, "*cxy"]]:
    """The switch: the condition says which input passes, and that one receives the gradient.

    Forward   f = x where condition, else y
    Local     df/dx = 1 where condition, else 0,  df/dy = the reverse
    Backward  dx = upstream where condition, else 0,  dy = upstream where not condition, else 0
    Source    f is one of its inputs, elementwise

    A NaN or an infinity in the input that is not chosen reaches neither the value nor this gate's gradients; whatever
    computed it must still return zero for a zero upstream gradient.
    """
    return jnp.where(condition, x, y), condition


@where.backward
def where_backward(condition, upstream):
    return jnp.where(condition, upstream, 0), jnp.where(condition, 0, upstream)


def _nearer_bound(x: Array, low: Array, high: Array) -> Array:
    return jnp.minimum(jnp.abs(x - low), jnp.abs(x - high))


@rule(
    domain={"low": within(-1.0, -0.3), "high": within(0.3, 1.0)}, kinks=_nearer_bound, broadcasts=True, formula=np.clip
)
def clip(
    x: Float[Array, "*x"], low: Float[Array, "*low"], high: Float[Array, "*high"]
) -> WithResiduals[Float[Array, "*clipped"]]:
    """The limiter: passes what lies between its bounds; beyond one, the bound is the value and receives the gradient.

    Forward   f = min(max(x, low), high), which is high wherever low > high
    Local     df/dx = 1 where low <= x <= high,  df/dlow = 1 where x < low,  df/dhigh = 1 beyond high, else 0
    Backward  dx, dlow, dhigh = upstream for the one that f is, 0 for the other two
    Kink      x = low or x = high: x receives all of it, so that a number just clipped can still move (jnp.clip splits)
    Source    max and min in a row; a router of three
    """
    raised = jnp.maximum(x, low)
    side = (raised > high).astype(jnp.int8) - ((x < low) & (raised <= high)).astype(jnp.int8)
    return jnp.minimum(raised, high), side


@clip.backward
def clip_backward(side, upstream):
    dx, dlow, dhigh = (jnp.where(side == s, upstream, 0) for s in (0, -1, 1))
    return dx, dlow, dhigh
