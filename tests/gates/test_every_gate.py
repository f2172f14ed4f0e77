"""Every gate and unit has, at its example inputs, the value of the plain NumPy formula that it declares."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbackprop.core.example_inputs import examples
from jaxbackprop.core.rule import rules

GATES = {name: rule for name, rule in rules().items() if rule.__module__.startswith("jaxbackprop.gates.")}


def agrees(actual: Any, expected: Any, label: str) -> None:
    """Equal but for roundings: within 10 units u |e| + u rms(e), the spread that right rules were measured to have.

    Where all of e is zero but for roundings, these are roundings of what was drawn, and that has size 1.
    """
    u = float(jnp.finfo(np.float64).eps)
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        a, e = np.asarray(a, np.float64), np.asarray(e, np.float64)
        assert a.shape == e.shape
        assert np.all(np.isfinite(a))
        size = np.sqrt(np.mean(e**2)) if e.size else 0
        allowed = 10 * u * (np.abs(e) + (size if size > u else 1))
        assert np.all(np.abs(a - e) <= allowed), f"{label}: {a}\n{e}"


@pytest.mark.parametrize("name", GATES)
def test_the_value_is_that_of_the_declared_formula(name):
    rule = GATES[name]
    assert rule.formula is not None, f"{name}: declare its formula in NumPy, @rule(formula=...)"
    with jax.enable_x64(True):
        for example in examples(rule):
            actual = rule(*example.cast(np.float64), **example.settings)
            agrees(actual, rule.formula(*example.args, **example.settings), example.label)
