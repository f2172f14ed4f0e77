"""Sums at the length they are used at: what loses digits is found, and its twin that adds up in float32 is right.

A third of the pairs; experiments/sums_that_lose_digits.py judges all of them.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from planted.formulas import by_hand
from planted.sums import Twins, lookup, one_by_one, twins

import jaxbackprop as jbp

TWINS = twins()
PARTS = 3
CHECK = {"checks": ["accumulation"], "sizes": (3072,)}

table = np.arange(12.0).reshape(4, 3) / 7 - 0.6
ids = np.array([0, 2, 1, 0, 3], np.int32)


def test_there_are_forty_of_them_each_with_a_name_of_its_own():
    assert len({t.name for t in TWINS}) == len(TWINS) >= 40


@pytest.mark.parametrize("part", range(PARTS))
def test_a_sum_that_loses_digits_is_found_and_its_twin_is_right(part: int):
    def verdict(fun, twin: Twins) -> str:
        return jbp.verify(fun, *twin.args, **CHECK).verdict

    chosen = TWINS[part :: 3 * PARTS]
    assert [t.name for t in chosen if verdict(t.wrong, t) != "imprecise"] == []
    assert [t.name for t in chosen if verdict(t.right, t) != "right"] == []


def scattered(s, u):
    return jnp.zeros_like(s[0]).at[s[1]].add(u), None


def test_what_autodiff_loses_as_well_passes_unless_strict():
    embedding = by_hand(lookup, scattered)
    found = jbp.verify(embedding, table, ids, **CHECK)
    assert found.passed
    assert found.verdict == "imprecise"
    (check,) = found.checks
    assert "scatter-add adds 3,072 terms in bfloat16" in check.detail
    assert "accumulate in float32" in check.detail
    assert check.units is not None
    assert check.units > 16
    assert not jbp.verify(embedding, table, ids, strict=True, **CHECK).passed


def test_what_loses_more_than_autodiff_fails():
    def row_by_row(s, u):
        return u, one_by_one(jnp.zeros_like(u[0]), jnp.add, u)

    found = jbp.verify(by_hand(lambda x, b: x + b, row_by_row), table, table[0], **CHECK)
    assert not found.passed
    assert found.verdict == "imprecise"
    assert "sums lose more in bfloat16" in found.likely_cause


def test_the_lengths_are_those_that_are_given():
    rule = jbp.rules()["layer_norm"]
    (check,) = jbp.verify(rule, checks=["accumulation"], sizes=(96, 384)).checks
    assert "at 384 terms" in check.detail
    assert jbp.verify(rule, checks=["accumulation"], sizes=()).checks == ()


def test_arguments_that_are_long_already_are_judged_as_they_are():
    repeated = by_hand(
        lambda x: jnp.broadcast_to(x, (2048, *x.shape)), lambda s, u: (one_by_one(jnp.zeros_like(u[0]), jnp.add, u),)
    )
    found = jbp.verify(repeated, table[0], **CHECK)
    assert found.verdict == "imprecise"


def test_what_adds_nothing_up_or_cannot_grow_is_not_judged():
    assert jbp.verify(jbp.rules()["tanh"], **CHECK).checks == ()
    of_three = by_hand(lambda x: x.sum() * jnp.ones(2), lambda s, u: (jnp.broadcast_to(u.sum(), (3,)),))
    assert jbp.verify(of_three, table[0], **CHECK).checks == ()


def test_a_length_that_a_library_refuses_with_an_exception_of_its_own_is_no_failure():
    class OtherShape(Exception):
        pass

    def of_four_rows(table, ids):
        if table.shape[0] != 4:
            raise OtherShape
        return table[ids]

    found = jbp.verify(by_hand(of_four_rows, scattered), table, ids, **CHECK)
    assert found.passed
    assert "scatter-add adds 3,072 terms" in found.checks[0].detail


def test_a_loop_written_out_in_python_is_not_written_out_ten_thousand_times():
    def backward(s, u):
        total = jnp.zeros_like(u[0])
        for row in u:
            total = total + row
        return u, total

    (check,) = jbp.verify(by_hand(lambda x, b: x + b.sum() * jnp.ones_like(b), backward), table, table[0]).failures[:1]
    assert check.name != "time limit"


@pytest.mark.parametrize("dtype", [jnp.float8_e4m3fn, jnp.float8_e5m2])
def test_a_cast_to_float8_with_its_gradient_doubled_fails(dtype):
    def cast(x):
        return x.astype(dtype).astype(x.dtype)

    x = np.linspace(-2, 2, 12, dtype=np.float32)
    assert jbp.verify(by_hand(cast, lambda s, u: (u,)), x, checks=["gradient", "precision"]).passed
    assert not jbp.verify(by_hand(cast, lambda s, u: (2 * u,)), x, checks=["gradient"]).passed


def test_arguments_in_float8_are_judged_in_that_type_too():
    def doubled(s, u):
        return ((4 if u.dtype.itemsize == 1 else 2) * s[0] * u,)

    x = jnp.linspace(0.3, 2, 12).astype(jnp.float8_e4m3fn)
    right = jbp.verify(by_hand(lambda x: x * x, lambda s, u: (2 * s[0] * u,)), x, checks=["precision"])
    wrong = jbp.verify(by_hand(lambda x: x * x, doubled), x, checks=["precision"])
    assert right.passed
    assert [c.name for c in right.checks][-1] == "float8_e4m3fn"
    assert [c.name for c in wrong.failures] == ["float8_e4m3fn"]


def test_the_cause_of_a_sum_that_cancels_is_that_it_was_rounded():
    def rounded_first(s, u):
        p = jax.nn.softmax(s[0].astype(jnp.promote_types(u.dtype, jnp.float32)))
        through = lax.reduce_precision((p * u).sum(-1, keepdims=True), 8, jnp.finfo(u.dtype).nmant)
        return ((p * (u - through)).astype(u.dtype),)

    def softmax(x):
        return jax.nn.softmax(x.astype(jnp.promote_types(x.dtype, jnp.float32))).astype(x.dtype)

    (check,) = jbp.verify(by_hand(softmax, rounded_first), table, **CHECK).checks
    assert check.imprecise
    assert "nearly alike" in check.detail
    assert "keep in float32 what is added up" in check.detail
