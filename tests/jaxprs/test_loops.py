"""Of a long loop `audit` evaluates a few iterations, and counts and judges as if it had evaluated them all."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from planted.formulas import by_hand

from jaxbackprop.gates.sigmoid_like import tanh
from jaxbackprop.jaxprs import loops
from jaxbackprop.verification import audit

halve = by_hand(lambda x: x * 0.5, lambda s, u: (u * 0.5,))
wrong_when_large = by_hand(lambda x: jnp.sin(x), lambda s, u: (jnp.where(s[0] > 90, 0.9, 1) * u * jnp.cos(s[0]),))
x = np.array([0.3, 1.2, -0.7], np.float32)


def found(fun, *args):
    return {s.name: (s.calls, s.verdict) for s in audit(fun, *args).sites}


def rare(x, steps, reverse=False):
    """`halve` at every seventh step and at the very last one; `tanh` at every step."""

    def body(carry, i):
        carry = lax.cond((i % 7 == 3) | (i == steps - 1), halve, lambda c: c + 0.1, carry)
        return tanh(carry), carry.sum()

    return lax.scan(body, x, jnp.arange(steps), reverse=reverse)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("fun", ["scan", "jit", "vmap", "nested", "while"])
def test_a_leap_counts_what_a_walk_counts(fun, reverse, monkeypatch):
    def nested(x):
        return lax.scan(lambda c, _: (rare(c, 20, reverse)[0], None), x, None, length=18)

    def looped(x):
        return lax.while_loop(lambda c: tanh(c[1])[0] < 9 - c[0], lambda c: (c[0] + 0.2, halve(c[1])), (0.0, x))

    program = {
        "scan": lambda x: rare(x, 60, reverse), "jit": jax.jit(lambda x: rare(x, 60, reverse)), "nested": nested,
        "vmap": jax.vmap(lambda x: rare(x, 60, reverse)), "while": looped,
    }[fun]  # fmt: skip
    given = np.stack([x, -x]) if fun == "vmap" else x
    leaping = found(program, given)
    monkeypatch.setattr(loops, "LONG", 10**9)
    assert leaping == found(program, given)
    assert sum(calls for calls, _ in leaping.values()) > 16


def test_a_leap_gives_the_outputs_of_the_loop_and_its_state_at_any_step():
    def body(carry, i):
        carry = lax.cond(i % 7 == 3, halve, lambda c: c + 0.1, carry)
        return tanh(carry), carry.sum()

    steps = np.arange(100, dtype=np.int32)
    (eqn,) = jax.make_jaxpr(lambda x, i: lax.scan(body, x, i))(x, steps).jaxpr.eqns
    loop = loops.Loop(eqn)
    carry, sums = loop.survey([x, steps]).outputs
    expected, rows = lax.scan(body, x, steps)
    np.testing.assert_allclose(carry, expected, rtol=1e-6)
    np.testing.assert_allclose(sums, rows, rtol=1e-6)
    before, step = loop.inputs_of([x, steps], 40)
    assert step == 40
    np.testing.assert_allclose(before, lax.scan(body, x, steps[:40])[0], rtol=1e-6)


def test_a_rule_wrong_at_the_end_of_a_long_loop_is_caught():
    def program(x):
        return lax.scan(lambda c, _: (c + 1, wrong_when_large(c)), x, None, length=100)[1].sum()

    (site,) = audit(program, x).sites
    assert (site.calls, site.verdict) == (100, "WRONG")


def test_a_rule_called_once_in_the_midst_of_a_long_loop_is_judged():
    def program(x):
        return lax.scan(lambda c, i: (lax.cond(i == 617, halve, lambda c: c + 1, c), None), x, jnp.arange(1000))[
            0
        ].sum()

    (site,) = audit(program, x).sites
    assert (site.calls, site.verdict) == (1, "right")


def test_a_hundred_times_as_many_steps_cost_no_more_than_a_few_seconds():
    def seconds(steps):
        start = time.process_time()
        (site, *_) = [s for s in audit(lambda x: rare(x, steps)[0].sum(), x).sites if "tanh" in s.name]
        assert (site.calls, site.verdict) == (steps, "right")
        return time.process_time() - start

    seconds(1000)
    assert seconds(100_000) < seconds(1000) + 5
