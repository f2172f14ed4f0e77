"""A table of rows and what its optimizer remembers of each, changed one row at a time or some rows at once.

Row-wise: one rate a row, not a number. A row that nobody names is neither read nor written, and remembers as it was.
"""

import os
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Int

Optimizer = Literal["sgd", "adagrad", "adam"]
Held = Array | np.ndarray  # on the device, or about to be
# XLA compiles a loop to one function where its body moves few bytes: fewer than 1,024 in JAX 0.10, any number in 0.12.
# A loop beyond that is interpreted operation by operation, five times slower. Measured by bisection over row lengths.
# LIMIT among XLA's flags, set before JAX starts, lifts it in 0.10: million rows/s a core on IMDB with bigrams at
# dim 10, 50, 100: 34, 30, 14 in 0.12; 30, 13, 4 in 0.10; 38, 27, 14 there with the flag; a fastText thread: 6, 4, 3.
LIMIT = "xla_cpu_small_while_loop_byte_threshold"
# LLVM unrolls the loop over a short row before it makes vectors of loops, and adds its numbers one at a time. ROLLED
# keeps it from that. Nanoseconds a row read and changed, without and with it: 19 and 13 (langid75, dim 16), 15 and 9
# (IMDB, 10 in 16), 21 and 13 (with bigrams). Longer rows stay loops anyhow, and the rest is a tenth slower with it.
ROLLED = "xla_cpu_disable_loop_unrolling"
SHORT = 48
BUDGET = 228  # numbers a body may move: four bytes each, less what its counters take
TOGETHER = 8  # rows a turn: 36 million rows/s at 10 numbers a row, beside 31 by 4 and 21 by 1

BETA1, BETA2, TINY = 0.9, 0.999, 1e-8


def limited() -> bool:
    """Whether XLA interprets a loop whose body moves many bytes."""
    return jax.__version_info__ < (0, 12) and LIMIT not in os.environ.get("XLA_FLAGS", "")


def flags(dim: int) -> str:
    """What to add to XLA_FLAGS before JAX starts, in a process that is there to train rows of `dim` numbers."""
    wanted = [f"{LIMIT}=1048576"] if limited() else []
    wanted += [f"{ROLLED}=true"] if dim <= SHORT and ROLLED not in os.environ.get("XLA_FLAGS", "") else []
    return f"--xla_backend_extra_options={','.join(wanted)}" if wanted else ""


class Rows(NamedTuple):
    """A table, and what is remembered of its rows.

    rows                 (V, D)
    second_moment        adagrad: (V, 1) the sum of the squares of a row's gradients; adam: (V, 2) their running mean,
                         and how often the row was met; sgd: None. The square of a gradient is the mean of the squares
                         of its D numbers.
    first_moment         adam: (V, D) the running mean of a row's gradients; else None
    learning_rate_scale  sgd: (V, 1) by how much each row's learning rate is multiplied; None: by nothing
    """

    rows: Float[Array, "V D"]
    second_moment: Float[Array, "V N"] | None = None
    first_moment: Float[Array, "V D"] | None = None
    learning_rate_scale: Float[Array, "V 1"] | None = None


class Tables(NamedTuple):
    """The two tables of a model: a row a word or n-gram, and a row a label (or a node of the tree)."""

    input: Rows
    output: Rows


def init_slots(rows: Float[Array, "V D"], optimizer: Optimizer) -> Rows:
    """A table with what its optimizer needs, nothing seen yet."""
    if optimizer == "sgd":
        return Rows(rows)
    if optimizer == "adagrad":
        return Rows(rows, jnp.zeros((len(rows), 1), jnp.float32))
    return Rows(rows, jnp.zeros((len(rows), 2), jnp.float32), jnp.zeros(rows.shape, jnp.float32))


def update_slots(part: Array, gradient: Array, square: Array, *, first_moment: bool) -> Array:
    """What `second_moment` or `first_moment` holds of some rows after they met `gradient`, whose square is `square`.

    Update  adagrad  s += g^2
            adam     s = b2 s + (1 - b2) g^2,  t += 1;  d = b1 d + (1 - b1) g
    """
    if first_moment:
        return BETA1 * part + (1 - BETA1) * gradient
    if part.shape[-1] == 1:
        return part + square
    return jnp.concatenate([BETA2 * part[..., :1] + (1 - BETA2) * square, part[..., 1:] + 1], -1)


def step(gradient: Array, lr: Array, second_moment: Array | None, first_moment: Array | None) -> Array:
    """What is added to some rows that met `gradient`, where `second_moment` and `first_moment` already know of it.

    Update  sgd      -lr g
            adagrad  -lr g / sqrt(s)
            adam     -lr d / (1 - b1^t) / sqrt(s / (1 - b2^t))
    Source  Duchi, Hazan, Singer 2011; Kingma, Ba 2015, arXiv:1412.6980; one accumulator a row: Gupta et al. 2014

    A row's t counts the times it was met: a rare row is corrected as the young row it is.
    """
    if second_moment is None:
        return -lr * gradient
    if first_moment is None:
        return -lr * gradient * lax.rsqrt(second_moment + TINY**2)
    mean, t = second_moment[..., :1], second_moment[..., 1:]
    return -lr * first_moment * (jnp.sqrt(1 - BETA2**t) / (1 - BETA1**t) * lax.rsqrt(mean + TINY**2))


def at(x: Held, k: Array) -> Array:
    """Number k of a vector; k must be inside."""
    return lax.dynamic_slice(x, (k,), (1,))[0]


def change_one_by_one(
    table: Rows, first: Array, last: Array, vector: Float[Array, "1 D"], met: Callable, lr: Array
) -> Rows:
    """The table after some rows met a multiple of `vector` each; nothing but those rows is read or written.

    met(k) -> the row's number and the factor, for k = first, ..., last - 1. One part of the table after the other, so
    that no loop writes what it reads twice, which would be a copy of the table.
    """
    square, (_, width) = (vector**2).mean(), fitting(vector.shape[1], lambda at_once, width: 4 * width)

    def change(part: Array, new: Callable) -> Array:
        def one(k: Array, part: Array) -> Array:
            i, factor = met(k)

            def piece(column: Array, part: Array) -> Array:
                old = lax.dynamic_slice(part, (i, column), (1, width))
                gradient = factor * lax.dynamic_slice(vector, (jnp.uint32(0), column), (1, width))
                return lax.dynamic_update_slice(part, new(old, i, column, gradient), (i, column))

            return over_columns(piece, part, vector.shape[1], width)

        return lax.fori_loop(first, last, one, part)

    def see(k: Array, second_moment: Array) -> Array:
        i, factor = met(k)
        return lax.dynamic_update_slice(
            second_moment,
            update_slots(row(second_moment, i), factor, factor**2 * square, first_moment=False),
            (i, jnp.uint32(0)),
        )

    second_moment, first_moment = table.second_moment, table.first_moment
    if second_moment is not None:
        second_moment = lax.fori_loop(first, last, see, second_moment)
    if first_moment is not None:
        first_moment = change(
            first_moment, lambda old, i, column, gradient: update_slots(old, gradient, square, first_moment=True)
        )

    def moved(old: Array, i: Array, column: Array, gradient: Array) -> Array:
        of_drift = None if first_moment is None else lax.dynamic_slice(first_moment, (i, column), (1, width))
        return old + step(gradient, lr, None if second_moment is None else row(second_moment, i), of_drift)

    return Rows(change(table.rows, moved), second_moment, first_moment)


def row(table: Array, i: Array) -> Array:
    """Row i, (1, D)."""
    return lax.dynamic_slice(table, (i, jnp.uint32(0)), (1, table.shape[1]))


def over_columns(body: Callable, carry, columns: int, width: int):
    """`body(column, carry)` for every `width`-th column."""
    if width == columns:
        return body(jnp.uint32(0), carry)
    return lax.fori_loop(
        jnp.uint32(0), jnp.uint32(columns // width), lambda k, carry: body(k * jnp.uint32(width), carry), carry
    )


def fitting(columns: int, moved: Callable[[int, int], int]) -> tuple[int, int]:
    """How many rows a turn of a loop takes, and how many of their columns, so that the loop becomes one function.

    moved(rows, width) -> how many numbers a turn then moves.
    """
    if not limited():
        return TOGETHER, columns
    least = 1 if moved(1, 1) == moved(2, 1) else 2  # one row a turn only where more of them move no more
    fits = [
        (at_once, columns // parts)
        for parts in range(1, max(columns // 16, 1) + 1)
        for at_once in (TOGETHER, 4, 2, 1)
        if columns % parts == 0 and at_once >= least and moved(at_once, columns // parts) <= BUDGET
    ]
    # whole rows where they fit; else as many numbers a turn as there can be, and rather of many rows
    return max(fits, key=lambda fit: (fit[1] == columns, fit[0] * fit[1], fit[0]), default=(1, columns))


def change_rows(
    table: Rows,
    ids: Int[Array, " T"],
    gradients: Float[Array, "T D"],
    lr: Array,
    *,
    learning_rate_scale: Array | None = None,
) -> Rows:
    """The table after its rows `ids` met `gradients`, all at once; a row named more than once meets their sum.

    Ids outside the table are dropped. `learning_rate_scale` (T,) scales a gradient under sgd; adagrad and adam divide
    by what they have seen, the squares of this very step included, and take it whole.
    """
    kept = {"mode": "drop", "wrap_negative_indices": False}

    def taken(part: Array) -> Array:
        return part.at[ids].get(mode="fill", fill_value=0, wrap_negative_indices=False)

    if table.second_moment is None:
        scaled = gradients if learning_rate_scale is None else learning_rate_scale[:, None] * gradients
        scaled = scaled if table.learning_rate_scale is None else taken(table.learning_rate_scale) * scaled
        return table._replace(rows=table.rows.at[ids].add(step(scaled, lr, None, None), **kept))
    squares = (gradients**2).mean(-1, keepdims=True)
    if table.first_moment is None:
        second_moment = table.second_moment.at[ids].add(squares, **kept)
        return Rows(table.rows.at[ids].add(step(gradients, lr, taken(second_moment), None), **kept), second_moment)
    # each part as if nothing had been met, alike wherever a row is named; then what was met is added up
    nothing = jnp.zeros((), gradients.dtype)
    second_moment = table.second_moment.at[ids].set(
        update_slots(taken(table.second_moment), nothing, nothing, first_moment=False), **kept
    )
    second_moment = second_moment.at[ids].add(jnp.pad((1 - BETA2) * squares, ((0, 0), (0, 1))), **kept)
    first_moment = table.first_moment.at[ids].set(
        update_slots(taken(table.first_moment), nothing, nothing, first_moment=True), **kept
    )
    first_moment = first_moment.at[ids].add((1 - BETA1) * gradients, **kept)
    moved = taken(table.rows) + step(gradients, lr, taken(second_moment), taken(first_moment))
    return Rows(table.rows.at[ids].set(moved, **kept), second_moment, first_moment)
