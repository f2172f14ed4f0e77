"""The models' gradients come from the hand-derived rules alone, and the test that says so can fail."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from jaxbackprop.models import MLP, BagOfWords, RaggedBags, TwoLayerScorer, WindowClassifier
from jaxbackprop.training.fit import prepare
from jaxbackprop.training.optimizer import make_optimizer

X = jnp.asarray(np.random.default_rng(0).normal(size=(6, 4)), jnp.float32)
Y = jnp.array([0, 1, 2, 0, 1, 2])
WINDOWS = jnp.array([[0, 1, 2], [3, 4, -1]])


def outside_rules(function: Callable, params: Any) -> set[str]:
    """The primitives outside any hand-written rule through which a gradient would flow from the number that
    `function(params)` returns to `params`: those on a path of floating-point values from the one to the other.
    """
    closed = jax.make_jaxpr(function)(params)
    return _walk(closed.jaxpr, [_is_number(v) for v in closed.jaxpr.invars], [True])[0]


def _walk(jaxpr: Jaxpr, from_params: list[bool], to_result: list[bool]) -> tuple[set[str], list[bool]]:
    """What stands on the paths through `jaxpr`, and which of its outputs depend on the parameters."""
    depends = dict(zip(jaxpr.invars, from_params, strict=True))
    for eqn in jaxpr.eqns:
        arrives = [not isinstance(v, Literal) and depends.get(v, False) for v in eqn.invars]
        inner = _called(eqn)
        leaves = _walk(inner, arrives, [True] * len(eqn.outvars))[1] if inner else [any(arrives)] * len(eqn.outvars)
        depends |= {v: leaf and _is_number(v) for v, leaf in zip(eqn.outvars, leaves, strict=True)}
    wanted = {v for v, w in zip(jaxpr.outvars, to_result, strict=True) if w and not isinstance(v, Literal)}
    found: set[str] = set()
    for eqn in reversed(jaxpr.eqns):
        to_here = [v in wanted and depends[v] for v in eqn.outvars]
        arrives = [not isinstance(v, Literal) and depends.get(v, False) for v in eqn.invars]
        if not any(to_here) or not any(arrives):
            continue
        inner = _called(eqn)
        if inner:
            found |= _walk(inner, arrives, to_here)[0]
        elif eqn.primitive.name != "custom_vjp_call":
            found.add(eqn.primitive.name)
        wanted |= {v for v, a in zip(eqn.invars, arrives, strict=True) if a}
    return found, [not isinstance(v, Literal) and depends.get(v, False) for v in jaxpr.outvars]


def _called(eqn: Any) -> Jaxpr | None:
    if eqn.primitive.name not in ("jit", "pjit"):
        return None
    body = eqn.params["jaxpr"]
    return body.jaxpr if isinstance(body, ClosedJaxpr) else body


def _is_number(v: Any) -> bool:
    return jnp.issubdtype(v.aval.dtype, jnp.inexact)


def objective(model: nnx.Module, batch: tuple, *, l2: float = 0.1) -> tuple[Callable, Any]:
    """What fit minimises, as a function of the parameters."""
    program, state = prepare(model, None, make_optimizer("sgd", lambda step: 0.1), l2)
    return (lambda params: program.objective(params, state.others, batch)[0]), state.params


def mlp(**settings: Any) -> tuple[nnx.Module, tuple]:
    return MLP(4, [5, 5], 3, rngs=nnx.Rngs(0), **settings), (X, Y)


CASES = {
    "mlp": mlp(),
    "mlp, tanh, smoothing": mlp(unit="tanh", smoothing=0.1),
    "mlp, batch norm, dropout": mlp(norm="batch", dropout=0.5),
    "mlp, layer norm": mlp(norm="layer", unit="gelu"),
    "mlp, rms norm": mlp(norm="rms", unit="selu"),
    "two-layer scorer": (TwoLayerScorer(4, (5, 3), rngs=nnx.Rngs(0)), (X, X[::-1])),
    "window classifier": (WindowClassifier(6, 4, 3, 5, rngs=nnx.Rngs(0)), (WINDOWS, WINDOWS[::-1])),
    "window classifier, own corruption": (WindowClassifier(6, 4, 3, 5, rngs=nnx.Rngs(0)), (WINDOWS,)),
    "bag of words, padded": (BagOfWords(6, 4, 3, rngs=nnx.Rngs(0)), (WINDOWS, Y[:2])),
    "bag of words, ragged": (
        BagOfWords(6, 4, 3, rngs=nnx.Rngs(0)),
        (RaggedBags(jnp.array([0, 1, 2, -1]), jnp.array([0, 1])), Y[:2]),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_no_gradient_flows_outside_a_rule(case: str):
    assert outside_rules(*objective(*CASES[case])) == set()


class Leaky(MLP):
    """A perceptron through which gradients flow by autodiff: a tanh and a product behind the scores."""

    def assess(self, x, y):
        losses, right = super().assess(x, y)
        return jax.jit(jnp.tanh)(losses) * 2, right


def test_the_test_sees_a_gradient_that_leaves_the_rules():
    assert outside_rules(*objective(Leaky(4, [5], 3, rngs=nnx.Rngs(0)), (X, Y))) == {"tanh", "mul"}


def test_the_test_passes_over_what_carries_no_gradient():
    """A number that is not on the way to the result, a comparison, and one that no parameter reaches."""

    def function(params):
        jnp.sin(params["w"]).sum()
        return (params["w"] > 0).sum() + jnp.cos(jnp.arange(3.0)).sum()

    assert outside_rules(function, {"w": jnp.ones(3)}) == set()
