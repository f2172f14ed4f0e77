"""Recurrent layers over time: the deltas run backward through time, the weight gradients are one product at the end.

Time is the first axis. A cell alone is a sequence of length 1.
"""

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from ..core.accumulation import accumulator_dtype, leading_sum, matmul_accumulating, outer_sum, to_accumulator
from ..core.rule import WithResiduals, rule


@rule(example_settings=({"unit": "sigmoid"},))
def rnn(
    x: Float[Array, "T *B D"],
    h: Float[Array, "*B H"],
    W: Float[Array, "D H"],
    U: Float[Array, "H H"],
    b: Float[Array, " H"],
    *,
    unit: str = "tanh",
) -> WithResiduals[Float[Array, "T *B H"]]:
    """A layer with a memory: its state is an affine layer and a unit of the input and the state before.

    Forward   h_t = unit(x_t W + h_{t-1} U + b)
    Backward  d_t = upstream_t + delta_{t+1} U^T arrives at h_t;  delta_t = d_t unit'(z_t), from the output
              dx = delta W^T,  dh_0 = delta_1 U^T
              dW = sum_t x_t^T delta_t,  dU = sum_t h_{t-1}^T delta_t,  db = sum_t delta_t: each one product, at the end
    Residuals x, h, W, U and all states, which are the value
    Source    Elman 1990, https://doi.org/10.1207/s15516709cog1402_1;
              Werbos 1990, "Backpropagation through time", https://doi.org/10.1109/5.58337

    In halves the deltas are rounded to the type of the states before they are added up over time and examples: where
    they cancel, dx, dW, dU and db lose digits, much as autodiff's do.

    Args:
        x: the inputs over time (T, *B, D).
        h: the first state (*B, H).
        W: weights of the input (D, H).
        U: weights of the state (H, H).
        b: bias (H,).
        unit: "tanh" or "sigmoid".

    Returns:
        The states h_1 to h_T.

    Raises:
        ValueError: another unit.
    """
    if unit not in _FROM_OUTPUT:
        raise ValueError(f"rnn: unit is {unit!r}; it is one of {', '.join(sorted(_FROM_OUTPUT))}.")
    dtype = jnp.result_type(x, h, W, U, b)

    def step(h, z):
        h = _ACTIVATED[unit](z + _times(h, U)).astype(dtype)
        return h, h

    states = lax.scan(step, h.astype(dtype), _times(x, W) + to_accumulator(b))[1]
    return states, (x, h, W, U, states)


@rnn.backward
def rnn_backward(residuals, upstream, *, unit):
    x, h, W, U, states = residuals

    def step(arriving, at_t):
        upstream, state = map(to_accumulator, at_t)
        delta = (upstream + arriving) * _FROM_OUTPUT[unit](state)
        return _times(delta.astype(states.dtype), U.T), delta.astype(states.dtype)

    dh, delta = lax.scan(step, jnp.zeros_like(h, accumulator_dtype(states.dtype)), (upstream, states), reverse=True)
    before = _before(h, states)
    return _times(delta, W.T), dh, outer_sum(x, delta), outer_sum(before, delta), leading_sum(delta)


@rule
def lstm(
    x: Float[Array, "T *B D"],
    h: Float[Array, "*B H"],
    c: Float[Array, "*B H"],
    W: Float[Array, "D 4*H"],
    U: Float[Array, "H 4*H"],
    b: Float[Array, " 4*H"],
) -> WithResiduals[tuple[Float[Array, "T *B H"], Float[Array, "*B H"]]]:
    """Long short-term memory: a cell that is added to, not multiplied, and three gates around it.

    Forward   i, f, o = sigmoid, g = tanh of the four parts (i, f, g, o) of x_t W + h_{t-1} U + b
              c_t = f c_{t-1} + i g,  h_t = o tanh c_t
    Backward  dh_t = upstream_t + what the next step sends;  dc_t = the next step's dc f + dh_t o (1 - tanh^2 c_t)
              delta_t = (dc_t g i (1 - i), dc_t c_{t-1} f (1 - f), dc_t i (1 - g^2), dh_t tanh(c_t) o (1 - o))
              to the step before: delta_t U^T at h, dc_t f at c
              dx = delta W^T,  dW = sum_t x_t^T delta_t,  dU = sum_t h_{t-1}^T delta_t,  db = sum_t delta_t,
              each one product over all of time at the end, where autodiff adds a product at every step
    Residuals x, h, c, W, U, the gates, the cells and the states (the value)
    Source    Hochreiter, Schmidhuber 1997, https://doi.org/10.1162/neco.1997.9.8.1735; Gers et al. 2000 (f),
              https://doi.org/10.1162/089976600300015015. The order of the gates is torch's and flax's

    In halves the deltas are rounded to the type of the states before they are added up over time and examples: where
    they cancel, dx, dW, dU and db lose digits, much as autodiff's do.

    Args:
        x: the inputs over time (T, *B, D).
        h: the first state (*B, H).
        c: the first cell (*B, H).
        W: weights of the input (D, 4H).
        U: weights of the state (H, 4H).
        b: bias (4H,).

    Returns:
        The states h_1 to h_T, and the last cell; the last state is the last of the states.
    """
    dtype = jnp.result_type(x, h, c, W, U, b)

    def step(carry, z):
        h, c = carry
        i, f, g, o = _lstm_gates(z + _times(h, U))
        c = f * c + i * g  # a sum over time: not rounded from step to step
        h = (o * jnp.tanh(c)).astype(dtype)
        return (h, c), (h, c.astype(dtype), jnp.concatenate([i, f, g, o], -1).astype(dtype))

    (_, last), (states, cells, gates) = lax.scan(
        step, (h.astype(dtype), to_accumulator(c.astype(dtype))), _times(x, W) + to_accumulator(b)
    )
    return (states, last.astype(dtype)), (x, h, c, W, U, states, cells, gates)


@lstm.backward
def lstm_backward(residuals, upstream):
    x, h, c, W, U, states, cells, gates = residuals
    upstream_h, upstream_c = upstream

    # What does not wait for the next step is done for all of time at once: the step is left with six multiplications.
    i, f, g, o = jnp.split(to_accumulator(gates), 4, -1)
    out = jnp.tanh(to_accumulator(cells))
    to_cell = o * (1 - out) * (1 + out)
    parts = g * i * (1 - i), to_accumulator(_before(c, cells)) * f * (1 - f), i * (1 - g) * (1 + g), out * o * (1 - o)

    def step(arriving, at_t):
        dh, dc = arriving
        upstream, to_cell, to_gates, f = at_t
        dh = dh + to_accumulator(upstream)
        dc = dc + dh * to_cell
        delta = (jnp.concatenate([dc, dc, dc, dh], -1) * to_gates).astype(states.dtype)
        return (_times(delta, U.T), dc * f), delta

    start = jnp.zeros_like(h, accumulator_dtype(states.dtype)), to_accumulator(upstream_c)
    over_time = upstream_h, to_cell, jnp.concatenate(parts, -1), f
    (dh, dc), delta = lax.scan(step, start, over_time, reverse=True)
    dU = outer_sum(_before(h, states), delta)
    return _times(delta, W.T), dh, dc, outer_sum(x, delta), dU, leading_sum(delta)


@rule
def gru(
    x: Float[Array, "T *B D"],
    h: Float[Array, "*B H"],
    W: Float[Array, "D 3*H"],
    U: Float[Array, "H 3*H"],
    b: Float[Array, " 3*H"],
) -> WithResiduals[Float[Array, "T *B H"]]:
    """Gated recurrent unit: the new state is a mean of the old one and a proposal, and the gate is the weight.

    Forward   r, z = sigmoid of the first two parts (r, z, n) of x_t W + b + h_{t-1} U
              n = tanh(the third of x_t W + b + r m),  m the third of h_{t-1} U,  h_t = z h_{t-1} + (1 - z) n
    Backward  d_t = upstream_t + what the next step sends
              dn = d_t (1 - z) (1 - n^2),  dr = dn m r (1 - r),  dz = d_t (h_{t-1} - n) z (1 - z)
              at x W + b: delta_t = (dr, dz, dn);  at h U: epsilon_t = (dr, dz, dn r)
              to the step before: d_t z + epsilon_t U^T
              dx = delta W^T,  dW = sum_t x_t^T delta_t,  dU = sum_t h_{t-1}^T epsilon_t,  db = sum_t delta_t,
              each one product over all of time at the end
    Residuals x, h, W, U, the gates r, z, n, the part m, and the states (the value)
    Source    Cho et al. 2014, arXiv:1406.1078; the reset gate after the product, as in torch and cuDNN, whose second
              bias (of m) this one does not have

    In halves the deltas are rounded to the type of the states before they are added up over time and examples: where
    they cancel, dx, dW, dU and db lose digits, much as autodiff's do.

    Args:
        x: the inputs over time (T, *B, D).
        h: the first state (*B, H).
        W: weights of the input (D, 3H).
        U: weights of the state (H, 3H).
        b: bias (3H,).

    Returns:
        The states h_1 to h_T.
    """
    dtype = jnp.result_type(x, h, W, U, b)

    def step(h, from_x):
        (r, z, n), (from_r, from_z, m) = jnp.split(from_x, 3, -1), jnp.split(_times(h.astype(dtype), U), 3, -1)
        r, z = jax.nn.sigmoid(r + from_r), jax.nn.sigmoid(z + from_z)
        n = jnp.tanh(n + r * m)
        h = z * h + (1 - z) * n  # a mean over time: not rounded from step to step
        return h, (h.astype(dtype), jnp.concatenate([r, z, n, m], -1).astype(dtype))

    states, gates = lax.scan(step, to_accumulator(h.astype(dtype)), _times(x, W) + to_accumulator(b))[1]
    return states, (x, h, W, U, states, gates)


@gru.backward
def gru_backward(residuals, upstream):
    x, h, W, U, states, gates = residuals

    def step(arriving, at_t):
        upstream, gates, before = map(to_accumulator, at_t)
        r, z, n, m = jnp.split(gates, 4, -1)
        d = arriving + upstream
        dn = d * (1 - z) * (1 - n) * (1 + n)
        dr, dz = dn * m * r * (1 - r), d * (before - n) * z * (1 - z)
        delta = jnp.concatenate([dr, dz, dn], -1).astype(states.dtype)
        epsilon = jnp.concatenate([dr, dz, dn * r], -1).astype(states.dtype)
        return d * z + _times(epsilon, U.T), (delta, epsilon)

    before = _before(h, states)
    start = jnp.zeros_like(h, accumulator_dtype(states.dtype))
    dh, (delta, epsilon) = lax.scan(step, start, (upstream, gates, before), reverse=True)
    return _times(delta, W.T), dh, outer_sum(x, delta), outer_sum(before, epsilon), leading_sum(delta)


_ACTIVATED = {"tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid}
_FROM_OUTPUT = {"tanh": lambda a: (1 - a) * (1 + a), "sigmoid": lambda a: a * (1 - a)}


def _times(x: Array, W: Array) -> Array:
    """x W in the accumulator type, not rounded: it is added to before it is stored."""
    return matmul_accumulating(x, W)


def _lstm_gates(z: Array) -> tuple[Array, Array, Array, Array]:
    i, f, g, o = jnp.split(z, 4, -1)
    return jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)


def _before(first: Array, states: Array) -> Array:
    """The state that each step starts from."""
    return jnp.concatenate([first[None].astype(states.dtype), states[:-1]])[: states.shape[0]]
