"""Normalisation: centre, divide by the spread, scale and shift; per example (layer, RMS) or per feature (batch).

Every sum is taken in float32 at least, whatever the inputs are. Running averages of statistics belong to the model.
"""

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from ..core.accumulation import leading_sum, to_accumulator
from ..core.domains import positive
from ..core.rule import WithResiduals, rule


@rule(example_settings=({"eps": 0.1},))
def layer_norm(
    x: Float[Array, "*B D"], scale: Float[Array, " D"], shift: Float[Array, " D"], *, eps: float = 1e-5
) -> WithResiduals[Float[Array, "*B D"]]:
    """Layer normalisation: centre each example, divide by its spread, scale and shift.

    Forward   n = (x - m) r,  m = mean x,  r = (mean (x - m)^2 + eps)^(-1/2),  y = n scale + shift
    Backward  delta = upstream scale arrives at n; it reaches x directly, through m and through r:
              dx = r (delta - mean delta - n mean(delta n))
              dscale = sum_B upstream n,  dshift = sum_B upstream
    Residuals x, scale, and m and r of each example; n is computed again
    Source    Ba, Kiros, Hinton 2016, arXiv:1607.06450

    A constant row gives shift. A large mean beside a small spread costs no digits: what is subtracted is the mean
    and then the mean of what is left.
    """
    centre = _centre(x, -1)
    r = _reciprocal_deviation(_centred(x, centre), eps, -1)
    n = _centred(x, centre) * r
    return (n * scale + shift).astype(jnp.result_type(x, scale, shift)), (x, centre, r, scale)


@layer_norm.backward
def layer_norm_backward(residuals, upstream):
    x, centre, r, scale = residuals  # (*B, D) (*B, 1) (*B, 1) (D,)
    n, upstream = _centred(x, centre) * r, to_accumulator(upstream)
    upstream_n = upstream * n
    through_m, through_r = _mean_of_product(upstream, scale), n * _mean_of_product(upstream_n, scale)
    dx = r * (upstream * scale - through_m - through_r)
    return dx, leading_sum(upstream_n), leading_sum(upstream)


@rule(example_settings=({"eps": 0.1},))
def rms_norm(
    x: Float[Array, "*B D"], scale: Float[Array, " D"], *, eps: float = 1e-6
) -> WithResiduals[Float[Array, "*B D"]]:
    """Root-mean-square normalisation: layer normalisation without a centre and without a shift.

    Forward   n = x r,  r = (mean x^2 + eps)^(-1/2),  y = n scale
    Backward  delta = upstream scale arrives at n; it reaches x directly and through r:
              dx = r (delta - n mean(delta n)),  dscale = sum_B upstream n
    Residuals x, scale, and r of each example; n is computed again
    Source    Zhang, Sennrich 2019, arXiv:1910.07467

    Beside its arrays it takes two numbers an example, r and that mean, where autodiff takes three; dx needs both.
    """
    r = _reciprocal_deviation(to_accumulator(x), eps, -1)
    return (to_accumulator(x) * r * scale).astype(jnp.result_type(x, scale)), (x, r, scale)


@rms_norm.backward
def rms_norm_backward(residuals, upstream):
    x, r, scale = residuals
    n, upstream = to_accumulator(x) * r, to_accumulator(upstream)
    upstream_n = upstream * n
    through_r = n * _mean_of_product(upstream_n, scale)
    return r * (upstream * scale - through_r), leading_sum(upstream_n)


@rule(example_settings=({"eps": 0.1},))
def rms_norm_residual(
    x: Float[Array, "*B D"], stream: Float[Array, "*B D"], scale: Float[Array, " D"], *, eps: float = 1e-6
) -> WithResiduals[tuple[Float[Array, "*B D"], Float[Array, "*B D"]]]:
    """A layer's output is added to the residual stream, and the sum is normalised for the next layer.

    Forward   t = x + stream,  y = rms_norm(t) = n scale,  n = t r,  r = (mean t^2 + eps)^(-1/2)
    Backward  t goes to the norm and to the layers behind it, so its two gradients add up; both terms of t get the sum:
              dx = dstream = r (delta - n mean(delta n)) + upstream_t,  delta = upstream_y scale
              dscale = sum_B upstream_y n
    Residuals t, which is a value, scale, and r of each example
    Source    Zhang, Sennrich 2019, arXiv:1910.07467; He et al. 2016, arXiv:1603.05027 (the norm before each layer)

    In narrow types t is rounded once, and the rounded t is normalised. The stream may have a wider type than x; y has
    the type of x and scale.

    Args:
        x: output of the layer (*B, D).
        stream: the residual stream before it (*B, D).
        scale: (D,).
        eps: added to the mean of squares.

    Returns:
        y (*B, D), and the new stream (*B, D).
    """
    new = (to_accumulator(x) + to_accumulator(stream)).astype(jnp.result_type(x, stream))
    y, residuals = rms_norm.forward(to_accumulator(new), scale, eps=eps)
    return (y.astype(jnp.result_type(x, scale)), new), (new, *residuals[1:])


@rms_norm_residual.backward
def rms_norm_residual_backward(residuals, upstream):
    of_y, of_stream = upstream
    dx, dscale = rms_norm_backward(residuals, of_y)
    dx = dx + to_accumulator(of_stream)
    return dx, dx, dscale


@rule(example_settings=({"eps": 0.1},))
def batch_norm(
    x: Float[Array, "*B D"], scale: Float[Array, " D"], shift: Float[Array, " D"], *, eps: float = 1e-5
) -> WithResiduals[tuple[Float[Array, "*B D"], Float[Array, " D"], Float[Array, " D"]]]:
    """Batch normalisation in training: centre each feature over the batch, divide by its spread, scale and shift.

    Forward   m = mean_B x,  v = mean_B (x - m)^2,  r = (v + eps)^(-1/2),  n = (x - m) r,  y = n scale + shift
    Backward  dscale = sum_B upstream_y n,  dshift = sum_B upstream_y
              delta = upstream_y scale arrives at n; it reaches x directly, through m and through r. Of N examples the
              means of delta and of delta n are those of dshift and dscale, times scale:
              dx = r scale (upstream_y - dshift / N - n dscale / N) + (upstream_m + 2 (x - m) upstream_v) / N
    Residuals x, scale, and m and r of each feature; n is computed again
    Source    Ioffe, Szegedy 2015, arXiv:1502.03167

    Args:
        x: examples (*B, D); statistics are taken over all axes but the last.
        scale: (D,).
        shift: (D,).
        eps: added to the variance.

    Returns:
        y (*B, D), the mean (D,) and the biased variance (D,), the last two in float32 at least, for running averages.
        A batch of one gives y = shift, an empty batch mean 0 and variance 0.
    """
    axes = tuple(range(x.ndim - 1))
    centre = _centre(x, axes)
    centred = _centred(x, centre)
    v = _mean(centred**2, axes)
    r = lax.rsqrt(v + eps)
    y = (centred * r * scale + shift).astype(jnp.result_type(x, scale, shift))
    return (y, (centre[0] + centre[1]).reshape(-1), v.reshape(-1)), (x, centre, r, scale)


@batch_norm.backward
def batch_norm_backward(residuals, upstream):
    x, centre, r, scale = residuals  # (*B, D) (1s, D) (1s, D) (D,)
    upstream_y, upstream_m, upstream_v = map(to_accumulator, upstream)
    centred, N = _centred(x, centre), _count(x, tuple(range(x.ndim - 1)))
    n = centred * r
    dscale, dshift = leading_sum(upstream_y * n), leading_sum(upstream_y)
    through_y = r * scale * (upstream_y - dshift / N - n * (dscale / N))
    return through_y + (upstream_m + 2 * centred * upstream_v) / N, dscale, dshift


@rule(domain={"var": positive}, example_settings=({"eps": 0.1},))
def batch_norm_running(
    x: Float[Array, "*B D"],
    mean: Float[Array, " D"],
    var: Float[Array, " D"],
    scale: Float[Array, " D"],
    shift: Float[Array, " D"],
    *,
    eps: float = 1e-5,
) -> WithResiduals[Float[Array, "*B D"]]:
    """Batch normalisation at test time: each example by the statistics that training has gathered.

    Forward   r = (var + eps)^(-1/2),  n = (x - mean) r,  y = n scale + shift
    Backward  dx = r scale upstream,  dmean = -sum_B dx,  dvar = -r^2/2 scale sum_B upstream n
              dscale = sum_B upstream n,  dshift = sum_B upstream
    Residuals x, mean, scale, r
    Source    Ioffe, Szegedy 2015, arXiv:1502.03167
    """
    r = lax.rsqrt(to_accumulator(var) + eps)
    n = (to_accumulator(x) - to_accumulator(mean)) * r
    return (n * scale + shift).astype(jnp.result_type(x, mean, var, scale, shift)), (x, mean, scale, r)


@batch_norm_running.backward
def batch_norm_running_backward(residuals, upstream):
    x, mean, scale, r = residuals
    upstream, slope = to_accumulator(upstream), r * scale
    n = (to_accumulator(x) - to_accumulator(mean)) * r
    dscale, dshift = leading_sum(upstream * n), leading_sum(upstream)
    return slope * upstream, -slope * dshift, -0.5 * r**2 * scale * dscale, dscale, dshift


def _count(x: Array, axes: int | tuple[int, ...]) -> int:
    """How many numbers a mean over `axes` is taken of; 1 where there are none."""
    axes = (axes,) if isinstance(axes, int) else axes
    count = 1
    for axis in axes:
        count *= x.shape[axis]
    return max(count, 1)


def _mean(x: Array, axes: int | tuple[int, ...]) -> Array:
    return x.sum(axes, keepdims=True) / _count(x, axes)


def _mean_of_product(x: Array, scale: Array) -> Array:
    """The mean of x scale along the last axis, (*B, 1): the product is not written down."""
    return jnp.matmul(x, to_accumulator(scale), precision=lax.Precision.HIGHEST)[..., None] / _count(x, -1)


def _centre(x: Array, axes: int | tuple[int, ...]) -> tuple[Array, Array]:
    """The mean, and the mean of what is left: a large mean is not representable more finely than its own last digit."""
    first = _mean(to_accumulator(x), axes)
    return first, _mean(to_accumulator(x) - first, axes)


def _centred(x: Array, centre: tuple[Array, Array]) -> Array:
    return (to_accumulator(x) - centre[0]) - centre[1]


def _reciprocal_deviation(x: Array, eps: float, axes: int | tuple[int, ...]) -> Array:
    return lax.rsqrt(_mean(x**2, axes) + eps)
