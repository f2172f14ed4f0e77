"""Two programs are proved to be one function, or refuted with the element, or what stopped it is named."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxbackprop.jaxprs.number_systems.finite_field import Draw, Field, in_finite_field
from jaxbackprop.verification.oracles import finite_field
from jaxbackprop.verification.oracles.finite_field import Answer, prove

X = np.array([0.7, -1.3, 2.1, 0.4])


def answer(one: Callable, other: Callable, *args: Any) -> Answer:
    with jax.enable_x64(True):
        return prove(jax.make_jaxpr(one)(*args), jax.make_jaxpr(other)(*args), args)


def test_equal_formulas_are_proved_with_a_chance_of_error_below_the_bound():
    found = answer(jax.nn.softmax, lambda x: jnp.exp(x) / jnp.exp(x).sum(), X)
    assert found.verdict == "proved"
    assert found.chance < -50


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        (lambda x: x * (1 + 1e-12), lambda x: x),
        (lambda x: jnp.exp(x) * (1 + 1e-12) + x, lambda x: jnp.exp(x) + x),
        (lambda x: jax.nn.sigmoid(x) + 1e-14 * x, jax.nn.sigmoid),
    ],
)
def test_a_fault_that_no_float64_tolerance_sees_is_refuted(wrong: Callable, right: Callable):
    found = answer(wrong, right, X)
    assert found.verdict == "refuted"
    assert found.differs[0].where.all()


def test_the_elements_that_differ_are_named():
    found = answer(lambda x: (x + 1, jnp.where(x > 0, x, 2 * x)), lambda x: (1 + x, x), X)
    (element,) = found.differs
    assert (element.output, element.index) == (1, (1,))
    assert element.where.tolist() == [False, True, False, False]
    assert (element.one, element.other) == (-2.6, -1.3)


def test_it_is_about_the_branches_that_were_taken():
    absolute, identity = jnp.abs, lambda x: x
    assert answer(absolute, identity, np.abs(X)).verdict == "proved"
    assert answer(absolute, identity, -np.abs(X)).verdict == "refuted"
    both = answer(absolute, lambda x: jnp.where(x > 0, x, -x), X)
    assert both.verdict == "proved"
    assert all(sides == {True, False} for sides in both.sides.values())
    assert both.region != answer(absolute, lambda x: jnp.where(x > 0, x, -x), -X).region


def test_a_tie_is_named():
    found = answer(
        lambda x: jax.grad(lambda x: x.max())(x), lambda x: (jnp.arange(4) == jnp.argmax(x)) * 1.0, np.ones(4)
    )
    assert found.verdict == "refuted"
    assert "reduce_max" in found.ties
    assert answer(lambda x: x.max() + x, lambda x: x + x.max(), X).ties == ()


def test_what_stops_it_is_named():
    assert answer(lambda x: jnp.linalg.eigvalsh(jnp.outer(x, x)), lambda x: x, X).why == "eigh"
    assert "too many" in answer(lambda x: jnp.outer(x, x).sum(), lambda x: x.sum() ** 2, np.ones(3000)).why
    unknown = answer(lambda x: jnp.sin(2 * x), lambda x: 2 * jnp.sin(x) * jnp.cos(x), X)
    assert unknown.verdict == "not decided"  # an identity that is not known, and floats that agree: no refutation
    assert "sin" in unknown.why
    assert answer(lambda x: jnp.sin(2 * x), lambda x: 2 * jnp.sin(x), X).verdict == "refuted"


def test_an_output_that_is_not_known_stops_only_itself():
    found = answer(lambda x: (x + x, jnp.linalg.eigvalsh(jnp.outer(x, x))), lambda x: (3 * x, x), X)
    assert found.verdict == "refuted"


def test_integers_and_keys_stay_what_they_are():
    ids, key = np.array([2, 0, 2]), jax.random.key(3)
    gathered = answer(lambda x, i: x[i].sum(), lambda x, i: x[0] + 2 * x[2], X, ids)
    assert gathered.verdict == "proved"
    dropped = lambda x, k: jnp.where(jax.random.bernoulli(k, 0.5, x.shape), x * 2, 0)  # noqa: E731
    assert answer(dropped, lambda x, k: dropped(2 * x, k) / 2, X, key).verdict == "proved"


def test_the_bound_of_schwartz_and_zippel_holds():
    """x (x - 1) ... (x - 15), of degree 16, vanishes at 16 points of a field: for few of very many draws."""
    with jax.enable_x64(True):
        program = jax.make_jaxpr(lambda x: jnp.prod(x - jnp.arange(16.0), axis=-1, keepdims=True))(np.ones((1, 1)))
    field = Field(Draw(1, 5), exponents=False)
    (unknown,) = field.inputs([np.array([[0.5]])])
    (value,) = in_finite_field(field, program, [unknown])
    assert value.degree.top == 16
    roots = Field(Draw(1, 5), exponents=False).constant(np.arange(16.0)).r[0]
    for root in range(16):
        (value,) = in_finite_field(field, program, [field.constant(np.array([[float(root)]]))])
        assert (value.r == 0).all()
    assert len(set(roots.tolist())) == 16


def test_a_high_degree_asks_for_more_repetitions(monkeypatch: pytest.MonkeyPatch):
    taken = []

    class Counted(Draw):
        def __post_init__(self) -> None:
            taken.append(self.repetitions)
            super().__post_init__()

    monkeypatch.setattr(finite_field, "Draw", Counted)
    one, other = (lambda x: lax.integer_pow(x, 60_000)), (lambda x: lax.integer_pow(x * x, 30_000))
    found = answer(one, other, X / 4)
    assert found.verdict == "proved"
    assert found.chance < -50
    assert taken[0] < taken[-1]


def test_a_formula_of_many_roots_is_decided():
    norm = lambda x: x / jnp.sqrt((x * x).sum(-1, keepdims=True) + 1)  # noqa: E731
    other = lambda x: x * jax.lax.rsqrt((x * x).sum(-1, keepdims=True) + 1)  # noqa: E731
    assert answer(norm, other, np.random.default_rng(0).normal(size=(20, 3))).verdict == "proved"
