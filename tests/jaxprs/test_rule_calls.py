"""A program is run compiled; its rules are counted, and tapped at a few calls, as if each step had been looked at."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from planted.formulas import by_hand

from jaxbackprop.gates.sigmoid_like import tanh
from jaxbackprop.jaxprs.compat import RULES
from jaxbackprop.jaxprs.evaluate import evaluate
from jaxbackprop.jaxprs.rule_calls import watch
from jaxbackprop.verification import audit

halve = by_hand(lambda x: x * 0.5, lambda s, u: (u * 0.5,))
wrong_when_large = by_hand(lambda x: jnp.sin(x), lambda s, u: (jnp.where(s[0] > 90, 0.9, 1) * u * jnp.cos(s[0]),))
x = np.array([0.3, 1.2, -0.7], np.float32)


def rare(x, steps, reverse=False):
    """`halve` at every seventh step and at the very last one; `tanh` at every step."""

    def body(carry, i):
        carry = lax.cond((i % 7 == 3) | (i == steps - 1), halve, lambda c: c + 0.1, carry)
        return tanh(carry), carry.sum()

    return lax.scan(body, x, jnp.arange(steps), reverse=reverse)


def by_walking(program, *args):
    """What each rule was called, counted step by step on the host."""
    calls = {}

    def hook(walk, eqn, inputs):
        if eqn.primitive.name in RULES:
            calls[id(eqn)] = calls.get(id(eqn), 0) + 1
        return walk.inside(eqn, inputs) if eqn.primitive.name in RULES else None

    with jax.disable_jit():
        evaluate(program, args, hook)
    return sorted(calls.values())


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("fun", ["scan", "jit", "vmap", "nested", "while"])
def test_what_is_counted_in_one_compiled_run_is_what_a_walk_counts(fun, reverse):
    def nested(x):
        return lax.scan(lambda c, _: (rare(c, 20, reverse)[0], None), x, None, length=18)

    def looped(x):
        return lax.while_loop(lambda c: tanh(c[1])[0] < 9 - c[0], lambda c: (c[0] + 0.2, halve(c[1])), (0.0, x))

    function = {
        "scan": lambda x: rare(x, 60, reverse), "jit": jax.jit(lambda x: rare(x, 60, reverse)), "nested": nested,
        "vmap": jax.vmap(lambda x: rare(x, 60, reverse)), "while": looped,
    }[fun]  # fmt: skip
    given = np.stack([x, -x]) if fun == "vmap" else x
    program = jax.make_jaxpr(function)(given)
    watched, broken = watch(program, [given])
    assert broken is None
    assert sorted(w.calls for w in watched if w.calls) == by_walking(program, given)
    assert sum(w.calls for w in watched) > 16


def test_the_first_the_middle_and_the_last_call_are_tapped():
    program = jax.make_jaxpr(lambda x: lax.scan(lambda c, _: (halve(c) + 1, None), x, None, length=100)[0])(x)
    ((found,), broken) = watch(program, [x])
    assert (found.calls, broken) == (100, None)
    first, middle, last = (np.asarray(given[0]) for given in found.inputs)
    np.testing.assert_array_equal(first, x)
    np.testing.assert_allclose(middle, 2 + (x - 2) / 2.0**50, rtol=1e-6)
    np.testing.assert_allclose(last, 2 + (x - 2) / 2.0**99, rtol=1e-6)


def test_a_rule_wrong_at_the_end_of_a_long_loop_is_caught():
    def program(x):
        return lax.scan(lambda c, _: (c + 1, wrong_when_large(c)), x, None, length=100)[1].sum()

    (site,) = audit(program, x).sites
    assert (site.calls, site.verdict) == (100, "wrong")


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
