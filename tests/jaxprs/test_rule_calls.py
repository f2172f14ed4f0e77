"""A program is run compiled; its rules are counted, and looked at in a few calls, as if each step had been watched."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, mlir
from planted.formulas import by_hand
from rules_in_programs import PROGRAMS
from rules_in_programs import RULES as KINDS

from jaxbackprop.gates.sigmoid_like import tanh
from jaxbackprop.jaxprs.compat import RULES
from jaxbackprop.jaxprs.evaluate import evaluate
from jaxbackprop.jaxprs.inputs import Inputs
from jaxbackprop.jaxprs.rule_calls import find
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
    found = find(function, Inputs((given,)))
    assert found.error is None
    expected = by_walking(jax.make_jaxpr(function)(given), given)
    # One call of a mapped rule is a call for each example.
    assert sorted(rule.calls for rule in found.rules if rule.calls) == [
        n * (2 if fun == "vmap" else 1) for n in expected
    ]
    assert sum(expected) > 16


def test_the_first_the_middle_and_the_last_call_are_kept():
    def program(x):
        return lax.scan(lambda c, _: (halve(c) + 1, None), x, None, length=100)[0]

    found = find(program, Inputs((x,)))
    (rule,) = found.rules
    assert (rule.calls, rule.undifferentiated, found.error) == (100, 100, None)
    first, middle, last = (np.asarray(sample.args[0]) for sample in rule.samples)
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


def test_a_hundred_thousand_steps_are_all_counted():
    (site, *_) = [s for s in audit(lambda x: rare(x, 100_000)[0].sum(), x).sites if "tanh" in s.name]
    assert (site.calls, site.verdict) == (100_000, "right")


def test_a_function_that_cannot_be_traced_as_one_program_is_run_as_it_is():
    given = jnp.asarray(x)

    def step(v):
        value, slope = jax.jit(jax.value_and_grad(lambda v: tanh(v).sum()))(v)
        return v - slope if value > 0 else tanh(v)

    found = find(step, Inputs((given,)))
    (rule,) = found.rules
    assert (rule.differentiated, rule.undifferentiated, found.whole) == (1, 0, False)
    np.testing.assert_array_equal(rule.samples[0].args[0], x)
    (rule,) = find(step, Inputs((-given,))).rules
    assert (rule.differentiated, rule.undifferentiated) == (1, 1)


def test_the_program_is_left_as_it_was():
    """Its results, its compiled programs, its arguments: also where it gives them away."""
    traced = []

    @functools.partial(jax.jit, donate_argnums=0)
    def step(v):
        traced.append(1)
        return v - 0.1 * jax.grad(lambda v: tanh(v).sum())(v)

    before = step(jnp.asarray(x))
    given = jnp.asarray(x)
    for arguments in (given,), (given, "as it is"):  # a string is static: traced, and run as it is
        find(lambda v, *_: step(v), Inputs(arguments))
    count = len(traced)
    assert not given.is_deleted()
    np.testing.assert_array_equal(step(given), before)
    assert len(traced) == count


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_rule_is_found_inside_every_derivative(name):
    """Each counted, with values, by the operands of the derivative; a factory's right and wrong ones told apart."""
    make, calls, absent = PROGRAMS[name]
    kinds = [kind for kind in KINDS if kind not in absent]
    fun, args = make([KINDS[kind](factor) for kind in kinds for factor in (1.0, 1.1)])
    found = find(fun, Inputs(args))
    counts = {kind: [r.differentiated for r in found.rules if r.name == kind] for kind in kinds}
    linear = counts.pop("linear_call", [calls, calls])  # what it is linear in is not looked at: a loop may be left
    assert len(linear) == 2
    assert 1 <= min(linear) <= calls
    assert counts == {kind: [calls, calls] for kind in counts}
    assert {r.name for r in found.rules if not r.samples} == set()
    assert (found.not_examined, found.error) == ((), None)


sine = by_hand(jnp.sin, lambda s, u: (u * jnp.cos(s[0]),))


def test_one_line_that_makes_rules_of_any_two_functions_makes_different_rules():
    made = {name: by_hand(f, lambda s, u: (u,)) for name, f in (("sin", jnp.sin), ("exp", jnp.exp))}
    assert len(find(lambda v: made["sin"](made["exp"](v)), Inputs((x,))).rules) == 2
    negated = by_hand(jnp.sin, lambda s, u: (-u * jnp.cos(s[0]),))
    assert len(find(lambda v: negated(sine(v)), Inputs((x,))).rules) == 2


def test_one_rule_is_one_however_it_is_called():
    def everywhere(v):
        mapped = jax.vmap(sine)(v) + jax.vmap(jax.vmap(sine))(v[None])[0]
        looped = lax.scan(lambda c, row: (c, sine(row)), 0.0, v)[1]
        return mapped + looped + jax.checkpoint(jax.jit(sine))(v) + sine(v[:1]).sum() + sine(v.astype(jnp.float16))

    (rule,) = find(everywhere, Inputs((x,))).rules
    assert rule.calls == 3 + 3 + 3 + 1 + 1 + 1
    assert {np.shape(sample.args[0]) for sample in rule.samples} <= {(), (1,), (3,)}


def test_where_values_and_tangents_mix_each_array_has_a_tap_of_its_own():
    """A foreign primitive is bound with a tangent: its transpose rule must not find the other operand unknown."""
    product = Primitive("product_of_two")
    product.def_impl(jnp.multiply)
    product.def_abstract_eval(lambda a, b: b)
    mlir.register_lowering(product, mlir.lower_fun(jnp.multiply, multiple_results=False))

    def transposed(upstream, a, b):
        assert not ad.is_undefined_primal(a)
        return [None, product.bind(a, upstream)]

    ad.primitive_transposes[product] = transposed
    scaled = jax.custom_jvp(lambda a, v: a * v)
    scaled.defjvp(lambda p, t: (p[0] * p[1], product.bind(p[0], t[1])))
    found = find(jax.jit(jax.grad(lambda v: scaled(jnp.cos(x), v).sum())), Inputs((x,)))
    assert {rule.kind: rule.calls for rule in found.rules} == {"custom_jvp": 1, "primitive": 1}
    (rule,) = (rule for rule in found.rules if rule.kind == "primitive")
    np.testing.assert_allclose(rule.samples[0].args[0], np.cos(x), rtol=1e-6)


def test_a_rule_that_is_called_for_its_shapes_alone_is_not_in_the_program():
    def program(v):
        return jnp.ones(jax.eval_shape(sine, v).shape) * halve(v)

    assert [rule.calls for rule in find(program, Inputs((x,))).rules] == [1]
