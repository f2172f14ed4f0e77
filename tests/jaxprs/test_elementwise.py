"""Elementwise functions are recognized by their programs; of very many numbers a sample is judged, as is noted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from planted.formulas import by_hand

from jaxbackprop.jaxprs import elementwise
from jaxbackprop.jaxprs.elementwise import is_elementwise
from jaxbackprop.verification import audit, verify

x = np.linspace(-2, 2, 12).reshape(3, 4).astype(np.float32)
elu = by_hand(lambda x: jnp.where(x > 0, x, jnp.expm1(x)), lambda s, u: (jnp.where(s[0] > 0, u, u * jnp.exp(s[0])),))


@pytest.mark.parametrize(
    ("function", "args", "known"),
    [
        (elu, (x,), True),
        (jax.nn.gelu, (x,), True),
        (jnp.multiply, (x, x), True),
        (lambda x, k: x * k, (x, np.int32(2)), True),
        (jnp.cumsum, (x,), False),
        (lambda x: x[::-1], (x,), False),
        (lambda x: x - x.mean(), (x,), False),
        (lambda x: x + jnp.arange(4.0), (x,), False),
        (lambda x: x * jnp.asarray(np.ones((3, 4), np.float32)), (x,), False),
        (lambda x, slope: jnp.where(x > 0, x, slope * x), (x, np.float32(0.1)), False),
        (lambda x: x + jax.random.normal(jax.random.key(0), x.shape), (x,), False),
    ],
)
def test_each_element_is_computed_by_itself_or_not(function, args, known):
    assert is_elementwise(function, function, args) is known


@pytest.fixture
def few(monkeypatch):
    """As if a thousand numbers were very many."""
    monkeypatch.setattr(elementwise, "LARGE", 1000)
    monkeypatch.setattr(elementwise, "SAMPLED", 200)


@pytest.mark.usefixtures("few")
def test_of_very_many_numbers_a_sample_is_judged_and_its_probability_is_noted():
    many = np.random.default_rng(0).normal(size=(100, 30)).astype(np.float32)
    wrong = by_hand(jnp.tanh, lambda s, u: (u * (1 - jnp.tanh(s[0])),))
    noted = "judged at 200 of its 3,000 numbers, drawn at random"
    found = verify(elu, many, checks=["gradient"])
    assert found.passed
    assert noted in str(found)
    assert not verify(wrong, many, checks=["gradient"]).passed
    for rule, passed in ((elu, True), (wrong, False)):
        (site,) = audit(jax.jit(jax.grad(lambda x, rule=rule: rule(x).sum())), many, checks=["gradient"]).sites
        assert site.passed is passed
        assert noted in str(site.verification)
    total = verify(by_hand(jnp.cumsum, lambda s, u: (jnp.cumsum(u[::-1])[::-1],)), many[0], checks=["gradient"])
    assert total.passed
    assert "judged at" not in str(total)
