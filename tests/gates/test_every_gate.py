"""Every gate and unit has, at its example inputs, the value of a plain NumPy formula."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxbackprop.gates  # noqa: F401  (registers them)
from jaxbackprop.core.example_inputs import examples
from jaxbackprop.core.rule import rules

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


CASES = [pytest.param(rule, e, id=f"{name}-{e.label}") for name, rule in GATES.items() for e in examples(rule)]


def test_every_gate_has_a_formula_here():
    assert set(FORMULAS) == set(GATES)


@pytest.mark.parametrize(("rule", "example"), CASES)
def test_the_value_is_that_of_a_plain_formula(rule, example):
    with jax.enable_x64(True):
        agrees(
            rule(*example.cast(np.float64), **example.settings), FORMULAS[rule.name](*example.args, **example.settings)
        )
