"""Every fault planted on purpose is found and named; no right rule is rejected, however odd."""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from planted import Planted, judge, mutations, odd, written
from planted.written import by_hand

from jaxbackprop.verify.point import Point
from jaxbackprop.verify.report import Verification
from jaxbackprop.verify.subject import Subject
from jaxbackprop.verify.target import target
from jaxbackprop.verify.verdict import LAWS

PRECISIONS = ("float64", "float32")


@cache
def wrong() -> list[Planted]:
    return [*mutations(), *written()]


@cache
def answers(dtype: str) -> list[tuple[Planted, Verification]]:
    return [(case, judge(case, dtype)) for case in wrong()]


def test_there_are_enough_of_them():
    assert len(wrong()) >= 120
    assert len(odd()) >= 60
    assert len({case.name for case in [*wrong(), *odd()]}) == len(wrong()) + len(odd())


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_every_wrong_rule_is_caught(dtype: str):
    assert [case.name for case, found in answers(dtype) if found.verdict in ("right", "undecided")] == []


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_the_cause_is_named_for_nine_wrong_rules_in_ten(dtype: str):
    unnamed = [(case.name, found.likely_cause) for case, found in answers(dtype) if not case.named(found.likely_cause)]
    assert len(unnamed) <= 0.1 * len(wrong()), unnamed


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_no_right_rule_is_rejected(dtype: str):
    found = [(case.name, judge(case, dtype)) for case in odd()]
    assert [(name, f.failures[0].name, f.failures[0].detail) for name, f in found if not f.passed] == []


x = np.array([0.7, -1.2, 0.4])


def _kept(u: Any) -> Any:
    _kept.last = u  # type: ignore[attr-defined]
    return u


def _drawn(x: Any) -> Any:
    return x * float(np.random.default_rng().uniform(1, 2))


LARGE_TABLE = jnp.ones(5000)

BROKEN: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "forward_pass": (by_hand(jnp.sin, lambda s, u: (u * jnp.cos(s[0]),), lambda x: (jnp.sin(x) + 1e-3, (x,))), (x,)),
    "gradient": (by_hand(jnp.sin, lambda s, u: (-u * jnp.cos(s[0]),)), (x,)),
    "precision": (by_hand(jnp.sin, lambda s, u: ((u.astype(jnp.float16) * jnp.cos(s[0])).astype(u.dtype),)), (x,)),
    "linear_in_the_upstream": (by_hand(jnp.sin, lambda s, u: (jnp.clip(u, -0.5, 0.5) * jnp.cos(s[0]),)), (x,)),
    "same_value_when_differentiated": (by_hand(_drawn, lambda s, u: (u,)), (x,)),
    "vmap": (
        by_hand(lambda x, w: (x * w, w * w), lambda s, u: (u[0] * s[1], u[0] * s[0] + 2 * s[1] * u[1])),
        (x, x + 1),
    ),
    "second_order": (by_hand(jnp.sin, lambda s, u: (u * lax.stop_gradient(jnp.cos(s[0])),)), (x,)),
    "other_points": (by_hand(jax.nn.sigmoid, lambda s, u: (u * jnp.exp(s[0]) / (1 + jnp.exp(s[0])) ** 2,)), (x,)),
    "nothing_leaks": (by_hand(lambda x: x, lambda s, u: (u + 0 * LARGE_TABLE.sum() * LARGE_TABLE[:3],)), (x,)),
}


@pytest.mark.parametrize("law", BROKEN)
def test_a_law_is_broken_by_a_rule_that_is_wrong_on_purpose(law: str):
    fun, args = BROKEN[law]
    verdicts = list(LAWS[law].verdicts(Subject(target(fun), Point(args))))
    assert any(v.passed is False for v in verdicts), [v.detail for v in verdicts]


@pytest.mark.parametrize("law", BROKEN)
def test_a_law_is_kept_by_a_right_rule(law: str):
    right = by_hand(jnp.sin, lambda s, u: (u * jnp.cos(s[0]),))
    verdicts = list(LAWS[law].verdicts(Subject(target(right), Point((x,)))))
    assert all(v.passed for v in verdicts), [v.detail for v in verdicts]
