"""Every gate and unit at its example inputs: values by plain formulas, gradients by autodiff, every transformation."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxbackprop.gates  # noqa: F401  (registers them)
from jaxbackprop.examples import Example, examples
from jaxbackprop.rule import Rule, rules

GATES = {name: rule for name, rule in rules().items() if rule.__module__.startswith("jaxbackprop.gates.")}


def sigma(z):
    return 1 / (1 + np.exp(-z))


def softmax_formula(z, axis):
    return np.exp(z) / np.exp(z).sum(axis, keepdims=True)


def gelu_formula(z, approximate):
    if approximate:
        return z / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))
    return z / 2 * (1 + np.vectorize(math.erf, otypes=[float])(z / math.sqrt(2)))


FORMULAS: dict[str, Callable] = {
    "abs": np.abs,
    "add": np.add,
    "clip": np.clip,
    "concatenate": np.concatenate,
    "copy": lambda x, times: (x,) * times,
    "cos": np.cos,
    "div": np.divide,
    "elu": lambda z, alpha: np.where(z > 0, z, alpha * (np.exp(z) - 1)),
    "exp": np.exp,
    "gather": lambda x, index: np.take(x, index, axis=0),
    "gelu": gelu_formula,
    "hard_tanh": lambda z: np.minimum(np.maximum(z, -1), 1),
    "leaky_relu": lambda z, negative_slope: np.maximum(z, 0) + negative_slope * np.minimum(z, 0),
    "log": np.log,
    "log_softmax": lambda z, axis: np.log(softmax_formula(z, axis)),
    "matmul": np.matmul,
    "max": np.maximum,
    "maxout": partial(np.max, axis=-1),
    "min": np.minimum,
    "mul": np.multiply,
    "neg": np.negative,
    "power": np.power,
    "prelu": lambda z, slope: np.maximum(z, 0) + slope * np.minimum(z, 0),
    "reciprocal": np.reciprocal,
    "reduce_max": np.max,
    "reduce_mean": np.mean,
    "reduce_sum": np.sum,
    "relu": lambda z: z * (z > 0),
    "reshape": np.reshape,
    "selu": lambda z: 1.0507009873554805 * np.where(z > 0, z, 1.6732632423543772 * (np.exp(z) - 1)),
    "sigmoid": sigma,
    "silu": lambda z: z * sigma(z),
    "sin": np.sin,
    "softmax": softmax_formula,
    "softplus": lambda z: np.log(1 + np.exp(z)),
    "softsign": lambda z: z / (1 + np.abs(z)),
    "sqrt": np.sqrt,
    "square": np.square,
    "sub": np.subtract,
    "tanh": lambda z: 2 * sigma(2 * z) - 1,
    "transpose": np.transpose,
    "where": np.where,
}


def agrees(found: Any, expected: Any, dtype: Any = np.float64) -> None:
    """Equal but for roundings: within 10 units u |e| + u rms(e), the spread that right rules were measured to have.

    Where all of e is zero but for roundings, these are roundings of what was drawn, and that has size 1.
    """
    u = float(jnp.finfo(dtype).eps)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for f, e in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        f, e = np.asarray(f, np.float64), np.asarray(e, np.float64)
        assert f.shape == e.shape
        assert np.all(np.isfinite(f))
        size = np.sqrt(np.mean(e**2)) if e.size else 0
        allowed = 10 * u * (np.abs(e) + (size if size > u else 1))
        assert np.all(np.abs(f - e) <= allowed), f"{f}\n{e}"


def split(args: Any) -> tuple[list, Callable]:
    """The floating-point leaves of `args`, and the function that puts others in their place."""
    leaves, tree = jax.tree.flatten(args)
    floats = [jnp.issubdtype(x.dtype, jnp.floating) for x in leaves]

    def rebuild(found):
        drawn = iter(found)
        return tree.unflatten(next(drawn) if is_float else x for x, is_float in zip(leaves, floats, strict=True))

    return [x for x, is_float in zip(leaves, floats, strict=True) if is_float], rebuild


def random_like(tree: Any, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), x.dtype), tree)


def gradients(fun: Callable, args: Any, upstream: Any) -> tuple[Any, list]:
    """The value, and the gradient of every floating-point leaf of the arguments."""
    floats, rebuild = split(args)
    value, pull = jax.vjp(lambda floats: fun(*rebuild(floats)), floats)
    return value, pull(upstream)[0]


def second_order(fun: Callable, args: Any, upstream: Any, direction: list) -> Any:
    """The gradient, by every leaf and by the upstream gradient, of <direction, gradient>."""
    floats, rebuild = split(args)

    def along(floats, upstream):
        gradient = gradients(fun, rebuild(floats), upstream)[1]
        return sum(jnp.vdot(d, g) for d, g in zip(direction, gradient, strict=True))

    return jax.grad(along, (0, 1))(floats, upstream)


def at(rule: Rule, example: Example, dtype: Any = np.float64, seed: int = 0) -> tuple[Callable, Callable, Any, Any]:
    """The rule by hand and by autodiff at the settings of an example, its arguments, a random upstream gradient."""
    args = example.cast(dtype)
    by_hand, by_autodiff = (partial(fun, **example.settings) for fun in (rule, rule.primal))
    return by_hand, by_autodiff, args, random_like(jax.eval_shape(by_hand, *args), seed)


def every_order_agrees_with_autodiff(rule: Rule, example: Example) -> None:
    with jax.enable_x64(True):
        *both, args, upstream = at(rule, example)
        direction = random_like(split(args)[0], seed=1)

        @jax.jit
        def all_of(args):
            return [(gradients(fun, args, upstream), second_order(fun, args, upstream, direction)) for fun in both]

        agrees(*all_of(args))


def every_transformation_agrees(rule: Rule, example: Example, other: Example) -> None:
    """jit, checkpoint, vmap over all and over each argument alone, scan, and the transpose of the backward pass."""
    with jax.enable_x64(True):
        by_hand, by_autodiff, args, upstream = at(rule, example)
        *_, more_args, more_upstream = at(rule, other, seed=1)
        floats, rebuild = split(args)
        direction = random_like(floats, seed=2)
        leaves, tree = jax.tree.flatten(args)
        whole = partial(gradients, by_hand)
        eager = whole(args, upstream)

        def stack(*trees):
            return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)

        @jax.jit
        def pairs(args, upstream):
            yielded = [(whole(args, upstream), eager), (gradients(jax.checkpoint(by_hand), args, upstream), eager)]
            each = stack(eager, whole(more_args, more_upstream))
            both = stack((args, upstream), (more_args, more_upstream))
            yielded.append((jax.vmap(whole)(*both), each))
            yielded.append((jax.lax.scan(lambda _, xs: (0, whole(*xs)), 0, both)[1], each))
            for i, (x, y) in enumerate(zip(leaves, jax.tree.leaves(more_args), strict=True)):

                def alone(x, i=i):
                    return whole(tree.unflatten([*leaves[:i], x, *leaves[i + 1 :]]), upstream)

                yielded.append((jax.vmap(alone)(jnp.stack([x, y])), stack(eager, alone(y))))
            forward = jax.linear_transpose(lambda u: gradients(by_hand, rebuild(floats), u)[1], upstream)(direction)
            pushed = jax.jvp(lambda floats: by_autodiff(*rebuild(floats)), (floats,), (direction,))[1]
            return [*yielded, (forward[0], pushed)]

        for found, expected in pairs(args, upstream):
            agrees(found, expected)


def labelled(rule: Rule, seed: int = 0) -> dict[str, Example]:
    return {example.label: example for example in examples(rule, seed=seed)}


CASES = [pytest.param(rule, e, id=f"{name}-{e.label}") for name, rule in GATES.items() for e in examples(rule)]


def test_every_gate_has_a_formula_here():
    assert set(FORMULAS) == set(GATES)


@pytest.mark.parametrize(("rule", "example"), CASES)
def test_the_value_is_that_of_a_plain_formula(rule, example):
    with jax.enable_x64(True):
        agrees(
            rule(*example.cast(np.float64), **example.settings), FORMULAS[rule.name](*example.args, **example.settings)
        )


@pytest.mark.parametrize(("rule", "example"), CASES)
def test_first_and_second_order_agree_with_autodiff(rule, example):
    every_order_agrees_with_autodiff(rule, example)


@pytest.mark.parametrize("name", GATES)
def test_every_transformation_gives_the_same_gradient(name):
    first, second = labelled(GATES[name]), labelled(GATES[name], seed=1)
    label = next(label for label in ("row", "nested", "plain") if label in first)
    every_transformation_agrees(GATES[name], first[label], second[label])


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("name", GATES)
def test_lower_precision_keeps_its_dtype_and_its_digits(name, dtype):
    """Beside the same rule in float64, at the rounded inputs and the rounded upstream gradient."""
    example = next(e for e in examples(GATES[name]) if e.label in ("row", "nested", "plain"))
    by_hand, _, args, upstream = at(GATES[name], example, dtype)
    found = gradients(by_hand, args, upstream)
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype(dtype)}
    with jax.enable_x64(True):
        _, by_autodiff, *_ = at(GATES[name], example)
        args, upstream = jax.tree.map(lambda x: x.astype(jnp.float64) if x.dtype == dtype else x, (args, upstream))
        agrees(found, jax.jit(partial(gradients, by_autodiff))(args, upstream), dtype)
