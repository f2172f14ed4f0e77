"""Over finite fields a program takes JAX's branches, moves what JAX moves, and its rational results are exact.

Inputs are small fractions, so that what JAX answers in float64 says which fraction each result is; its residues must be
those of the number that the program computed.
"""

import itertools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxbackprop.jaxprs.number_systems.finite_field import (
    Draw,
    Field,
    Numbers,
    OtherDraw,
    Unknown,
    in_finite_field,
)
from jaxbackprop.jaxprs.number_systems.finite_field.constants import Constant, recognised
from jaxbackprop.jaxprs.number_systems.finite_field.modular import PRIMES, Squares

rng = np.random.default_rng(0)


def small(*shape: int) -> np.ndarray:
    """Different quarters between -8 and 8, none of them zero."""
    count = math.prod(shape)
    chosen = rng.permutation([k / 4 for k in range(-32, 33) if k])[:count]
    return chosen.reshape(shape)


def run(fun: Callable, args: tuple, unknown: bool = False) -> tuple[Field, list[Any], list[Any]]:
    """The field, what it answers and what JAX answers; floats are constants or unknowns."""
    draw = Draw(3)
    with jax.enable_x64(True):
        program = jax.make_jaxpr(fun)(*args)
        expected = [np.asarray(x) for x in jax.tree.leaves(jax.jit(fun)(*args))]
    while True:
        field = Field(draw)
        floats = [i for i, x in enumerate(args) if np.asarray(x).dtype.kind == "f"]
        given: list[Any] = [np.asarray(x) for x in args]
        made = field.inputs([args[i] for i in floats]) if unknown else [field.constant(args[i]) for i in floats]
        for i, x in zip(floats, made, strict=True):
            given[i] = x
        try:
            return field, in_finite_field(field, program, given), expected
        except OtherDraw as other:
            draw.again(other)


A, B, V, T = small(4, 3), small(3, 5), small(7), small(2, 3, 4)
IDS = np.array([2, 0, 2, 1], np.int32)
WILD = np.array([[0, 2], [3, 1], [9, 0], [-2, 1]], np.int32)

RATIONAL: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "arithmetic": (lambda x: (x + 1) * x - x / 4 - (-x) + x**3 + jnp.square(x), (A,)),
    "divisions": (lambda x, y: (x / y, x**-2, 1 / y), (V, V[::-1])),
    "the remainder": (lambda x: (lax.rem(x, 1.25), x % 1.25, x // 1.25), (A,)),
    "steps": (
        lambda x: (jnp.floor(x), jnp.ceil(x), jnp.round(x), lax.round(x, lax.RoundingMethod(0)), jnp.sign(x)),
        (A,),
    ),
    "casts": (
        lambda x: (x.astype(int), x.astype(bool), x.astype(jnp.float32) * 2, (x > 0) + x, x.astype(jnp.int8)),
        (A,),
    ),
    "choices": (
        lambda x, y: (jnp.maximum(x, y), jnp.minimum(x, y), jnp.where(x > y, x, 2 * y), jnp.abs(x)),
        (V, V[::-1]),
    ),
    "bounds": (lambda x: (jnp.clip(x, -1, 2), lax.clamp(-0.5, x, 3.0)), (A,)),
    "reductions": (
        lambda x: (x.sum(0), x.mean((0, 2)), x.max(1), x.min(), jnp.prod(x, 1), x.argmax(1), x.argmin(), x.var(0)),
        (T,),
    ),
    "none to reduce": (lambda x: (x.sum(0), x.prod(0)), (np.zeros((0, 3)),)),
    "running": (
        lambda x: [f(x, axis=a) for f in (lax.cumsum, lax.cumprod, lax.cummax, lax.cummin) for a in (0, 1)],
        (A,),
    ),
    "running backwards": (lambda x: [f(x, axis=0, reverse=True) for f in (lax.cumsum, lax.cummax)], (A,)),
    "shapes": (
        lambda x: (
            x.T,
            x.reshape(2, 6),
            x[None],
            x.ravel(order="F"),
            jnp.flip(x, 0),
            x[1:3, ::2],
            x[:, ::-2],
            jnp.squeeze(x[None], 0),
        ),
        (A,),
    ),
    "together": (
        lambda x, y: (
            jnp.concatenate([x, y.T], 0),
            jnp.stack([x, x]),
            jnp.split(x, 2),
            jnp.tile(x, 2),
            jnp.roll(x, 1, 0),
        ),
        (A, small(3, 2)),
    ),
    "broadcasts": (
        lambda x: (x + x[:, :1], jnp.broadcast_to(x[0], (2, 4, 3)), lax.broadcast_in_dim(x, (4, 2, 3), (0, 2))),
        (A,),
    ),
    "sorting": (
        lambda x, y: (
            jnp.sort(x),
            jnp.argsort(x),
            lax.sort((x, y), num_keys=1),
            lax.top_k(x, 3),
            jnp.sort(x, descending=True),
            jnp.median(x),
        ),
        (V, V[::-1]),
    ),
    "sorting rows": (lambda x: (jnp.sort(x, 0), lax.sort((jnp.round(x), x), num_keys=2, dimension=0)), (A,)),
    "matrices": (
        lambda a, b: (a @ b, a.T @ a, jnp.dot(a[0], a[1]), jnp.einsum("ij,jk->ki", a, b), jnp.outer(a[0], b[0])),
        (A, B),
    ),
    "batches": (
        lambda t: (jnp.einsum("bij,bkj->bik", t, t), jnp.einsum("bij,bij->b", t, t), jnp.einsum("bij,kij->bk", t, t)),
        (T,),
    ),
    "indices": (
        lambda x, i: (
            x[i],
            x[i, 1],
            x[1, i % 3],
            x[:, i % 3],
            x[i[:, None], i[None] % 3],
            jnp.take_along_axis(x, i[:, None] % 3, 1),
            x[i[0]],
        ),
        (A, IDS),
    ),
    "indices out of bounds": (
        lambda x, i: [x.at[i + 2].get(mode=m, fill_value=7.0) for m in ("fill", "clip")],
        (A, IDS),
    ),
    "added at indices": (lambda x, i: [x.at[i + 1].add(x, mode=m) for m in ("drop", "clip")], (A, IDS)),
    "written at indices": (
        lambda x, i: (
            x.at[i].set(1.5),
            x.at[i, 1].set(0),
            x.at[i].max(0.2),
            x.at[i].min(0.2),
            x.at[i].multiply(3.0),
            x.at[1:3, ::2].set(0.5),
            x.at[i[:2]].add(-1),
        ),
        (A, IDS),
    ),
    "segments": (
        lambda x, i: (jax.ops.segment_sum(x, i, 3), jax.ops.segment_max(x, i, 3), jax.ops.segment_prod(x, i, 3)),
        (A, IDS),
    ),
    "dynamic": (
        lambda x, i: (
            lax.dynamic_slice(x, (i[0], i[3]), (3, 2)),
            lax.dynamic_slice(x, (i[0] - 9, i[0] + 9), (2, 2)),
            lax.dynamic_update_slice(x, x[:2, :2], (i[0], i[0] + 9)),
        ),
        (A, IDS),
    ),
    "padding": (
        lambda x: [
            lax.pad(x, 0.5, c) for c in (((1, 2, 0), (0, 1, 0)), ((-1, 2, 1), (0, -1, 2)), ((0, 0, 3), (-2, -1, 0)))
        ],
        (A,),
    ),
    "mapped": (
        lambda x, i: (jax.vmap(lambda r, k: r[k] * r)(x, i % 3), jax.vmap(lambda r, k: r.at[k].add(2.0))(x, i % 3)),
        (A, IDS),
    ),
    "scans": (
        lambda x: (
            lax.scan(lambda c, v: (c * v + 1, c - v), x[0], x),
            lax.scan(lambda c, v: (c + v, c), x[0], x, reverse=True),
            lax.map(lambda v: v * v, x),
        ),
        (A,),
    ),
    "loops": (
        lambda x: (
            lax.while_loop(lambda c: c.sum() < 50, lambda c: c * 1.5 + 1, jnp.abs(x)),
            lax.fori_loop(0, 3, lambda i, c: c * x + i, x),
        ),
        (V,),
    ),
    "branches": (
        lambda x, i: (
            lax.cond(x.sum() > 0, lambda v: 2 * v, lambda v: v / 2, x),
            lax.switch(i[3], [jnp.negative, jnp.square, jnp.abs], x),
        ),
        (V, IDS),
    ),
    "windows": (
        lambda x: [
            lax.reduce_window(x, s, f, (2, 2), (1, 2), p)
            for (s, f), p in itertools.product(
                ((0.0, lax.add), (-jnp.inf, lax.max), (jnp.inf, lax.min)), ("VALID", "SAME")
            )
        ],
        (small(5, 6),),
    ),
    "dilated windows": (
        lambda x: lax.reduce_window(x, 0.0, lax.add, (2, 3), (2, 1), ((1, 0), (0, 2)), (2, 1), (1, 2)),
        (small(5, 6),),
    ),
    "pooling's gradient": (
        lambda x: jax.grad(lambda x: (lax.reduce_window(x, -jnp.inf, lax.max, (2, 2), (2, 1), "SAME") ** 2).sum())(x),
        (small(5, 6),),
    ),
    "a reversed gradient": (jax.grad(lambda x: (jnp.sort(x)[::2] ** 2).sum() + jnp.cumsum(x)[3] * x.max()), (V,)),
    "checkpoint": (jax.grad(lambda x: jax.checkpoint(lambda y: (y * y) ** 2)(x).sum()), (V,)),
    "integers": (
        lambda i: (
            (i - 5) // 2,
            (i - 5) % 3,
            lax.div(i - 5, jnp.int32(2)),
            lax.rem(i - 5, jnp.int32(3)),
            i << 2,
            (i - 5) >> 1,
            lax.shift_right_logical(i - 5, jnp.int32(28)),
            i ^ 3,
            ~i,
            i & 1 | 2,
            i.sum(),
            jnp.cumsum(i),
            i.argmax(),
            jnp.sort(i),
            i[::-1],
            i > 1,
            (i > 1).any(),
            i[i],
            jnp.clip(i, 0, 1),
            lax.population_count(i),
            i / 4,
        ),
        (IDS,),
    ),
}


def agree(fun: Callable, args: tuple) -> None:
    field, found, expected = run(fun, args)
    for mine, true in zip(found, expected, strict=True):
        if not isinstance(mine, Numbers):
            np.testing.assert_array_equal(np.asarray(mine), true)
            continue
        assert mine.shape == true.shape
        np.testing.assert_allclose(mine.value, true, rtol=1e-12, atol=1e-13)
        finite = np.isfinite(true)
        for k in range(field.k):
            fractions = [Fraction(float(v)).limit_denominator(30_000) for v in true[finite]]
            assert mine.s is not None
            for residues, m in ((mine.r, field.p.m[k]), (mine.s, field.q.m[k])):
                exact = [x.numerator * pow(x.denominator, -1, int(m)) % int(m) for x in fractions]
                assert residues[k][finite].tolist() == exact, (mine.value, true)


@pytest.mark.parametrize("name", RATIONAL)
def test_rational_results_are_those_that_jax_answers(name: str):
    agree(*RATIONAL[name])


def cases_of_gather() -> list[tuple[Any, tuple[int, ...], tuple[int, ...]]]:
    numbers = lax.GatherDimensionNumbers
    return [
        (numbers((0, 1), (), (0, 1)), (2, 2), (4, 2)),
        (numbers((1, 2), (), (0, 1)), (2, 2), (4, 2)),
        (numbers((0,), (1,), (0, 1)), (2, 1), (4, 2)),
        (numbers((1,), (0,), (1, 0)), (1, 2), (4, 2)),
        (numbers((), (0, 1), (1, 0)), (1, 1), (4, 2)),
        (numbers((0,), (0,), (0,)), (1, 3), (4, 1)),
        (numbers((1,), (), (1,), (0,), (0,)), (1, 2), (4, 1)),
        (numbers((1,), (), (1,), (0,), (1,)), (1, 2), (2, 4, 1)),
    ]


@pytest.mark.parametrize("mode", ["fill", "clip"])
@pytest.mark.parametrize("case", range(8))
def test_gather_and_scatter_land_where_jaxs_do(case: int, mode: str):
    """All kinds of dimension numbers, indices out of bounds among them; the scatter is the gather's transpose."""
    numbers, sizes, shape = cases_of_gather()[case]
    if case == 6:
        sizes, numbers = (1, 2), lax.GatherDimensionNumbers((1,), (), (1,), (0,), (0,))
    if case == 7:
        numbers = lax.GatherDimensionNumbers((2,), (), (1,), (0,), (1,))
    indices = np.resize(WILD.reshape(-1), shape).astype(np.int32)

    def gathered(x: Any, i: Any) -> Any:
        return lax.gather(x, i, numbers, sizes, mode=mode, fill_value=0.5)

    def transposed(x: Any, i: Any) -> Any:
        out, pull = jax.vjp(lambda x: gathered(x, i), x)
        return pull(jnp.arange(1.0, 1 + out.size).reshape(out.shape))

    agree(gathered, (A, indices))
    agree(transposed, (A, indices))


@pytest.mark.parametrize("groups", ["none", "features", "batch"])
def test_convolutions_are_jaxs(groups: str):
    layouts = ("NCHW", "OIHW", "NCHW"), ("NHWC", "HWIO", "NHWC"), ("NCHW", "OIHW", "CNHW")
    settings = [
        ((1, 1), "SAME", (1, 1), (1, 1)),
        ((2, 1), ((1, 2), (0, 1)), (2, 1), (1, 2)),
        ((1, 2), ((0, 0), (2, -1)), (1, 2), (2, 1)),
        ((1, 1), ((-1, 0), (0, 0)), (1, 1), (2, 1)),
    ]
    image, kernel = rng.integers(1, 9, (2, 4, 5, 4)) / 2, rng.integers(1, 9, (4, 4, 3, 2)) / 2
    kernel = kernel[:, :2] if groups == "features" else kernel
    for layout, (strides, padding, dilation, apart) in zip((*layouts, layouts[0]), settings, strict=True):
        number = lax.conv_dimension_numbers(image.shape, kernel.shape, layouts[0])
        order = lax.conv_dimension_numbers((1,) * 4, (1,) * 4, layout)
        x, k = (np.transpose(a, np.argsort(spec)) for a, spec in ((image, order.lhs_spec), (kernel, order.rhs_spec)))
        del number

        def convolved(x: Any, k: Any, order: Any = order, s: Any = (strides, padding, dilation, apart)) -> Any:
            feature, batch = (2 if groups == name else 1 for name in ("features", "batch"))
            return lax.conv_general_dilated(x, k, s[0], s[1], s[2], s[3], order, feature, batch)

        agree(convolved, (x, k))
        if strides == (2, 1):
            agree(jax.grad(lambda x, k: (convolved(x, k) ** 2).sum(), (0, 1)), (x, k))


def cholesky(x: Any, y: Any) -> Any:
    return jnp.linalg.cholesky(positive(x))


def positive(x: Any) -> Any:
    """A symmetric matrix whose eigenvalues are positive."""
    return jnp.outer(x, x) + jnp.diag(x * x + 1)


def square(x: Any, y: Any) -> Any:
    return jnp.outer(x, y) + jnp.diag(x) + y


TRIANGLES = list(itertools.product((True, False), repeat=4))


def triangles(x: Any, y: Any) -> list[Any]:
    a, b, made = square(x, y), jnp.stack([x, y], 1), []
    for left, lower, transposed, unit in TRIANGLES:
        right = b if left else b.T
        made.append(
            lax.linalg.triangular_solve(
                a, right, left_side=left, lower=lower, transpose_a=transposed, unit_diagonal=unit
            )
        )
    return made


def solved(x: Any, y: Any) -> list[Any]:
    """What each solution of `triangles` is multiplied by, times the solution."""
    a, made = square(x, y), []
    for (left, lower, transposed, unit), found in zip(TRIANGLES, triangles(x, y), strict=True):
        t = jnp.tril(a) if lower else jnp.triu(a)
        t = t - jnp.diag(jnp.diag(t)) + jnp.eye(4) if unit else t
        t = t.T if transposed else t
        made.append(t @ found if left else (found @ t).T)
    return made


def tridiagonal(x: Any, y: Any) -> Any:
    low, high = x.at[0].set(0), y.at[-1].set(0)
    found = lax.linalg.tridiagonal_solve(low, x * y + 30, high, jnp.stack([x, y], 1))
    return (jnp.diag(low[1:], -1) + jnp.diag(x * y + 30) + jnp.diag(high[:-1], 1)) @ found


SAME: dict[str, tuple[Callable, Callable]] = {
    "exp of a sum": (lambda x, y: jnp.exp(x + y), lambda x, y: jnp.exp(x) * jnp.exp(y)),
    "exp and log": (lambda x, y: jnp.exp(y - jnp.log(jnp.exp(x) + 1)), lambda x, y: jnp.exp(y) * jax.nn.sigmoid(-x)),
    "exp of many logs": (
        lambda x, y: jnp.exp(jnp.outer(x, y) - jnp.logaddexp(jnp.outer(x, y), 0)),
        lambda x, y: jax.nn.sigmoid(jnp.outer(x, y)),
    ),
    "log of exp": (lambda x, y: jnp.log(jnp.exp(x) / jnp.exp(y)), lambda x, y: x - y),
    "softplus": (
        lambda x, y: jnp.log1p(jnp.exp(x)) + y * 0,
        lambda x, y: jnp.maximum(x, 0) + jnp.log1p(jnp.exp(-jnp.abs(x))),
    ),
    "tanh": (lambda x, y: jnp.tanh(x) + y, lambda x, y: 2 * jax.nn.sigmoid(2 * x) - 1 + y),
    "hyperbolic": (lambda x, y: jnp.cosh(x) ** 2 - jnp.sinh(x) ** 2 + y, lambda x, y: 1 + y),
    "circular": (lambda x, y: jnp.sin(x) ** 2 + jnp.cos(x) ** 2 + jnp.tan(y), lambda x, y: 1 + jnp.sin(y) / jnp.cos(y)),
    "symmetric": (
        lambda x, y: lax.erf(-x) + jnp.cos(-y) + jnp.sin(-x),
        lambda x, y: jnp.cos(y) - lax.erf(x) - jnp.sin(x),
    ),
    "erfc": (lambda x, y: lax.erfc(x) + y, lambda x, y: 1 + lax.erf(-x) + y),
    "roots": (lambda x, y: jnp.sqrt(x * x + 1) * lax.rsqrt(x * x + 1) + y, lambda x, y: 1 + y),
    "a root's power": (lambda x, y: (x * x + 1) ** 1.5 + y, lambda x, y: (x * x + 1) * jnp.sqrt(x * x + 1) + y),
    "powers": (lambda x, y: jnp.exp(x) ** y, lambda x, y: jnp.exp(x * y)),
    "cube roots": (lambda x, y: jnp.cbrt(x) ** 3 + y, lambda x, y: x + y),
    "powers of two": (lambda x, y: jnp.exp2(x + 1) + y, lambda x, y: 2 * jnp.exp(x * math.log(2)) + y),
    "gelu": (
        lambda x, y: jax.vjp(lambda x: jax.nn.gelu(x, approximate=False), x)[1](y)[0],
        lambda x, y: y * ((1 + lax.erf(x / math.sqrt(2))) / 2 + x * jnp.exp(-x * x / 2) / math.sqrt(2 * math.pi)),
    ),
    "Cholesky": (lambda x, y: cholesky(x, y) @ cholesky(x, y).T, lambda x, y: positive(x)),
    "solving": (lambda x, y: square(x, y) @ jnp.linalg.solve(square(x, y), y), lambda x, y: y),
    "an inverse": (lambda x, y: jnp.linalg.inv(square(x, y)) @ square(x, y) @ x, lambda x, y: x),
    "a determinant": (lambda x, y: jnp.linalg.det(positive(x)), lambda x, y: jnp.prod(jnp.diag(cholesky(x, y))) ** 2),
    "triangles": (solved, lambda x, y: [jnp.stack([x, y], 1)] * 16),
    "tridiagonal": (tridiagonal, lambda x, y: jnp.stack([x, y], 1)),
    "digamma": (
        lambda x, y: lax.digamma(jnp.abs(x) + 3) + y,
        lambda x, y: lax.digamma(jnp.abs(x) + 2) + 1 / (jnp.abs(x) + 2) + y,
    ),
    "logsumexp": (lambda x, y: jnp.exp(y - jax.nn.logsumexp(x)), lambda x, y: jnp.exp(y) / jnp.exp(x).sum()),
    "log softmax": (lambda x, y: jnp.log(jax.nn.softmax(x)) + y, lambda x, y: jax.nn.log_softmax(x) + y),
}


@pytest.mark.parametrize("name", SAME)
def test_known_identities_hold_for_unknowns(name: str):
    one, two = SAME[name]
    _, found, true = run(lambda x, y: (one(x, y), two(x, y)), (V[:4], V[3:]), unknown=True)
    half = len(found) // 2
    for x, y, a, b in zip(found[:half], found[half:], true[:half], true[half:], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(x.value, a, rtol=1e-9, atol=1e-9)
        assert np.array_equal(x.r, y.r)


def test_unknowns_that_differ_have_different_residues():
    functions = [lambda x: x, lambda x: x * (1 + 1e-12), jnp.exp, jnp.sin, jnp.cos, lax.erf, jnp.log1p, jnp.sqrt,
                 jnp.tanh, lambda x: x * x, lambda x: x**1.25, jnp.cbrt, lax.digamma, lax.lgamma]  # fmt: skip
    _, found, _ = run(lambda x: [f(x) for f in functions], (np.abs(V[:3]) + 1,), unknown=True)
    for one, other in itertools.combinations(found, 2):
        assert (one.r != other.r).all()


@pytest.mark.parametrize(
    ("fun", "name"),
    [
        (lambda x: jnp.linalg.eigh(x + x.T)[0], "eigh"),
        (lambda x: jnp.linalg.svd(x)[1], "svd"),
        (lambda x: jnp.linalg.qr(x)[0], "qr"),
        (lambda x: jnp.abs(jnp.fft.fft(x)), "complex"),
        (lambda x: lax.nextafter(x, 2 * x), "nextafter"),
    ],
)
def test_what_is_not_implemented_is_named(fun: Callable, name: str):
    _, found, _ = run(fun, (small(3, 3),))
    assert isinstance(found[0], Unknown)
    assert name in found[0].why


def test_what_is_not_known_spreads_no_further_than_it_must():
    _, found, _ = run(lambda x: (x * 2, jnp.linalg.eigh(x + x.T)[0].sum()), (small(3, 3),))
    assert isinstance(found[0], Numbers)
    assert isinstance(found[1], Unknown)


def test_a_division_by_zero_is_no_number():
    _, (x, y), _ = run(lambda x: (x / (x - x), x / (x - x)), (V,), unknown=True)
    assert (x.r != y.r).all()
    assert "division by zero" in x.unsure


def test_ties_are_seen_and_equal_formulas_are_none():
    field, _, _ = run(lambda x: jnp.maximum(x[0], x[1]) + jnp.abs(x[2]), (np.array([1.5, 1.5, 2.0]),), unknown=True)
    assert field.decisions.ties == {"max"}
    field, _, _ = run(lambda x: jnp.maximum(2 * x, x + x) + jnp.where(x == x, x, 0), (V,), unknown=True)
    assert field.decisions.ties == set()
    field, _, _ = run(jax.nn.relu, (np.array([0.0, 1.0]),), unknown=True)
    assert "max" in field.decisions.ties


def test_the_primes_make_exp_a_homomorphism_and_roots_multiply():
    squares = Squares(range(len(PRIMES)))
    for p, a, b in PRIMES:
        assert p == 2 * a * b + 1
        assert all(pow(2, n - 1, n) == 1 and all(n % d for d in range(2, 300)) for n in (p, a, b))
        assert 2**31 <= p < 2**32
        assert all(pow(n, a * b, p) == 1 for n in (2, 3, 5, 7, 11, 13))
    s = squares.q.of(rng.integers(0, 2**63, (len(PRIMES), 50)).astype(np.uint64))
    t = squares.q.of(rng.integers(0, 2**63, (len(PRIMES), 50)).astype(np.uint64))
    x, y = squares.exp(s), squares.exp(t)
    assert np.array_equal(squares.exp(squares.q.add(s, t)), squares.p.mul(x, y))
    assert np.array_equal(squares.log(x), s)
    root = squares.root(x)
    assert np.array_equal(squares.p.mul(root, root), x)
    assert np.array_equal(squares.root(squares.p.mul(x, y)), squares.p.mul(root, squares.root(y)))
    assert np.array_equal(squares.p.mul(x, squares.p.inverse(x)), np.ones_like(x))


@pytest.mark.parametrize("shape", [(1, 2, 3, 4), (2, 70, 50, 60)])
def test_products_of_matrices_are_those_of_integers(shape: tuple[int, ...]):
    moduli = Squares(range(2)).p
    b, m, n, o = shape
    x, y = (rng.integers(0, 2**31, s).astype(np.uint64) for s in ((2, b, m, n), (2, b, n, o)))
    for k in range(2):
        expected = x[k].astype(object) @ y[k].astype(object) % int(moduli.m[k])
        assert (moduli.matmul(x, y)[k] == expected).all()


@pytest.mark.parametrize(
    ("value", "means"),
    [
        (0.1, "1/10"), (3 * 0.044715, "26829/200000"), (1 / 3, "1/3"), (0.01 - 1, "-99/100"), (1 + 1e-12, None),
        (math.sqrt(2 / math.pi), "1 2 root of pi^-1"), (2 / math.sqrt(math.pi), "2 root of pi^-1"),
        (-1 / math.sqrt(12), "-1/6 3"), (math.pi / 180, "1/180 root of pi^2"), (1 / math.sqrt(2), "1/2 2"),
        (math.log(2), "1 log"), (0.5 * math.log(2 * math.pi), "1/2 log"), (1 / math.log(2), "1 log^-1"),
        (1.0507009873554805 * 1.6732632423543772, "1 selu's alpha selu's scale"), (math.sqrt(2) * (1 + 1e-12), None),
    ],
)  # fmt: skip
def test_a_constant_is_what_it_was_rounded_from(value: float, means: str | None):
    found = recognised(value)
    if means is None:
        assert not found.powers
        assert float(found.fraction) == value
        return
    words = [str(found.fraction), *(str(n) + (f"^{k}" if k != 1 else "") for n, k in found.powers)]
    words += [] if found.log_of is None else ["log" if found.log_power == 1 else "log^-1"]
    assert " ".join(words) == means


def test_any_other_number_is_exactly_itself():
    numbers = rng.normal(size=400) * 10.0 ** rng.integers(-8, 8, 400)
    found = [recognised(float(v)) for v in numbers]
    assert all(isinstance(c, Constant) and not c.powers and c.log_of is None for c in found)
    assert sum(float(c.fraction) != v for c, v in zip(found, numbers, strict=True)) == 0


def test_constants_written_in_32_bits_are_recognised_as_well():
    assert recognised(float(np.float32(math.sqrt(2 / math.pi))), single=True).powers == ((2, 1), ("root of pi", -1))
    assert str(recognised(float(np.float32(0.044715)), single=True).fraction) == "8943/200000"
    assert str(recognised(float(np.float32(1 / 3)), single=True).fraction) == "1/3"
