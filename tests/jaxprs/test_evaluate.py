"""The evaluator answers what JAX answers, lets a hook see every equation, and carries a state through loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxbackprop.jaxprs.evaluate import compiled, evaluate

x = np.linspace(-1, 2, 6, dtype=np.float32).reshape(2, 3)


@jax.custom_vjp
def doubled(x):
    return 2 * x


doubled.defvjp(lambda x: (2 * x, None), lambda _, u: (7 * u,))  # wrong on purpose: the rule is seen in its derivative


def collatz(n):
    def step(state):
        n, count = state
        return jnp.where(n % 2 == 0, n // 2, 3 * n + 1), count + 1

    return lax.while_loop(lambda state: state[0] != 1, step, (n, 0))[1]


def looped(x):
    def step(carry, row):
        return jnp.sin(carry) + row, carry * row

    return lax.scan(step, jnp.ones(3, x.dtype), x, reverse=True)


PROGRAMS = {
    "arithmetic": (lambda x: jnp.tanh(x @ x.T) + 1, x),
    "scan": (looped, x),
    "while": (collatz, np.int32(7)),
    "while, mapped": (jax.vmap(collatz), np.arange(1, 9, dtype=np.int32)),
    "cond": (lambda x: lax.cond(x.sum() > 0, jnp.sin, lambda x: 3.0 * x, x), x),
    "switch": (lambda x: lax.switch(1, [jnp.sin, jnp.cos, jnp.exp], x), x),
    "a rule": (lambda x: doubled(x) + jax.nn.relu(x), x),
    "jit and remat": (jax.jit(jax.checkpoint(lambda x: jnp.sin(jnp.cos(x)))), x),
    "a random key": (lambda key: jax.random.normal(key, (3,)), jax.random.key(3)),
    "a linear solve": (lambda x: jnp.linalg.solve(x @ x.T + jnp.eye(2), x), x),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_it_answers_what_jax_answers(name: str):
    function, arg = PROGRAMS[name]
    program = jax.make_jaxpr(function)(arg)
    expected = jax.tree.leaves(function(arg))
    for found in (evaluate(program, [arg]), compiled(lambda a: evaluate(program, [a]), arg)(arg)):
        for one, two in zip(found, expected, strict=True):
            assert one.dtype == two.dtype
            np.testing.assert_allclose(one, two, rtol=2e-6)


def test_under_x64_a_program_keeps_the_types_it_was_traced_with():
    program = jax.make_jaxpr(lambda x: lax.fori_loop(0, 3, lambda i, x: x * 0.5 + i, x))(x)
    with jax.enable_x64(True):
        (found,) = evaluate(program, [x])
    assert found.dtype == np.float32


def test_a_hook_sees_every_equation_also_inside_loops_and_branches():
    seen = []
    program = jax.make_jaxpr(lambda x: lax.cond(x.sum() > 0, lambda x: looped(x)[1], jnp.cos, x))(x)
    evaluate(program, [x], lambda walk, eqn, inputs: seen.append(eqn.primitive.name))
    assert {"reduce_sum", "cond", "cos", "scan", "sin"} <= set(seen)


def test_a_rule_stays_whole_unless_a_hook_goes_inside():
    program = jax.make_jaxpr(lambda x: lax.scan(lambda c, _: (doubled(c), None), x, None, length=2)[0])(x)

    def without_rules(walk, eqn, inputs):
        return walk.inside(eqn, inputs) if eqn.primitive.name == "custom_vjp_call" else None

    def slope(*hook):
        return jax.grad(lambda x: evaluate(program, [x], *hook)[0].sum())(x)

    assert np.all(slope() == 49)
    assert np.all(slope(without_rules) == 4)


def test_a_state_is_carried_through_loops_and_branches():
    def step(c, i):
        return lax.cond(i % 2 == 0, jnp.sin, lambda c: jnp.sin(jnp.sin(c)), c), None

    program = jax.make_jaxpr(lambda x: lax.scan(step, x, jnp.arange(5))[0])(x)

    def counted(x):
        counts = []

        def count(walk, eqn, inputs):
            walk.state = walk.state + (eqn.primitive.name == "sin")
            if eqn.primitive.name == "scan":
                outputs = walk.inside(eqn, inputs)
                counts.append(walk.state)
                return outputs

        evaluate(program, [x], count, state=0)
        return counts[0]

    assert jax.jit(counted)(x) == 7


def test_a_while_loop_counts_as_often_as_it_turns():
    program = jax.make_jaxpr(lambda n: lax.while_loop(lambda n: n < 100, lambda n: n * 2, n))(np.int32(3))
    counts = []

    def count(walk, eqn, inputs):
        if eqn.primitive.name == "while":
            outputs = walk.inside(eqn, inputs)
            counts.append(walk.state)
            return outputs
        walk.state = walk.state + (eqn.primitive.name == "mul")

    evaluate(program, [np.int32(3)], count, state=0)
    assert counts[0] == 6  # 6 12 24 48 96 192


def test_a_narrow_type_is_rounded_at_every_step_of_a_compiled_program():
    one = jnp.bfloat16(1)
    program = compiled(lambda x: (x + jnp.bfloat16(2**-9)) - x, one)
    assert program(one) == 0
