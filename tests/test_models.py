"""What all models have in common: their gradients come from our rules alone, and are right."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

import jaxbackprop as jbp
from jaxbackprop.gates import reduce_mean
from jaxbackprop.jaxprs.compat import ClosedJaxpr, Jaxpr, Literal
from jaxbackprop.models import RaggedBags

KEY = jax.random.key(0)
X = jax.random.normal(KEY, (6, 5))
Y = jnp.array([0, 1, 2, 0, 1, 2])
IDS = jnp.array([[0, 1, 2], [2, 2, -1], [3, -1, -1], [4, 0, 1], [1, 2, 3], [-1, -1, -1]])


def made():
    rngs = nnx.Rngs(0)
    yield "MLP", jbp.MLP(5, [4, 3], 3, rngs=rngs), (X, Y)
    yield "MLP, dropout", jbp.MLP(5, [4], 3, dropout=0.5, rngs=rngs), (X, Y)
    for norm in ("layer", "rms", "batch"):
        yield f"MLP, {norm} norm", jbp.MLP(5, [4], 3, norm=norm, unit="tanh", rngs=rngs), (X, Y)
    yield "TwoLayerScorer", jbp.TwoLayerScorer(5, (4, 3), rngs=rngs), (X, X[::-1])
    yield "WindowClassifier", jbp.WindowClassifier(7, 2, 3, 4, rngs=rngs), (IDS,)
    yield "BagOfWords", jbp.BagOfWords(7, 2, 3, rngs=rngs), (IDS, Y)
    yield "BagOfWords, ragged", jbp.BagOfWords(7, 2, 3, rngs=rngs), (RaggedBags(IDS.ravel(), jnp.arange(0, 18, 3)), Y)


MODELS = list(made())


def in_float64(model):
    """The model with all its floating-point numbers in float64."""
    graph, state = nnx.split(model)
    wide = jax.tree.map(lambda x: x.astype(jnp.float64) if jnp.issubdtype(x.dtype, jnp.floating) else x, state)
    return nnx.merge(graph, wide)


def loss_of(model, batch):
    """The mean loss as a function of the parameters, and the parameters."""
    graph, params, others = nnx.split(model, nnx.Param, ...)

    def loss(params):
        # A copy: a traced model would keep its random keys.
        return reduce_mean(nnx.merge(graph, params, jax.tree.map(lambda x: x, others)).loss_and_correct(*batch)[0])

    return loss, params


def is_floating(aval) -> bool:
    return jnp.issubdtype(aval.dtype, jnp.floating)


def outside_rules(jaxpr: Jaxpr, live: list[bool]) -> list[str]:
    """The primitives beside our rules on a floating-point way from the `live` inputs to the outputs."""
    known = {v for v, on in zip(jaxpr.invars, live, strict=True) if on}
    needed = {v for v in jaxpr.outvars if not isinstance(v, Literal)}
    for eqn in reversed(jaxpr.eqns):
        if needed.intersection(eqn.outvars):
            needed |= {v for v in eqn.invars if not isinstance(v, Literal)}
    found = []
    for eqn in (eqn for eqn in jaxpr.eqns if needed.intersection(eqn.outvars)):
        arriving = [not isinstance(v, Literal) and v in known for v in eqn.invars]
        floating = [v for v in eqn.outvars if is_floating(v.aval)]
        if not any(arriving) or not floating:
            continue
        known |= set(floating)
        inner = eqn.params.get("jaxpr") if eqn.primitive.name in ("jit", "pjit") else None
        if inner is not None:
            found += outside_rules(inner.jaxpr if isinstance(inner, ClosedJaxpr) else inner, arriving)
        elif eqn.primitive.name != "custom_vjp_call":
            found.append(eqn.primitive.name)
    return found


@pytest.mark.parametrize(("model", "batch"), [m[1:] for m in MODELS], ids=[m[0] for m in MODELS])
def test_no_differentiable_primitive_stands_outside_a_rule(model, batch):
    loss, params = loss_of(model, batch)
    jaxpr = jax.make_jaxpr(loss)(params).jaxpr
    assert outside_rules(jaxpr, [True] * len(jaxpr.invars)) == []


def test_a_primitive_outside_a_rule_is_found():
    class Leaking(jbp.MLP):
        def __call__(self, x):
            return jnp.tanh(super().__call__(x))

    loss, params = loss_of(Leaking(5, [4], 3, rngs=nnx.Rngs(0)), (X, Y))
    jaxpr = jax.make_jaxpr(loss)(params).jaxpr
    assert outside_rules(jaxpr, [True] * len(jaxpr.invars)) == ["tanh"]


@pytest.mark.parametrize(("model", "batch"), [m[1:] for m in MODELS], ids=[m[0] for m in MODELS])
def test_the_gradient_is_a_numerical_derivative(model, batch):
    """Along a random direction, centred, in float64: truncation and rounding stay below 1e-7."""
    with jax.enable_x64(True):
        loss, params = loss_of(in_float64(model), batch)
        loss = jax.jit(loss)
        leaves, tree = jax.tree.flatten(params)
        keys = jax.random.split(KEY, len(leaves))
        along = tree.unflatten([jax.random.normal(k, p.shape, p.dtype) for k, p in zip(keys, leaves, strict=True)])
        gradient = jax.grad(loss)(params)
        slope = sum(jnp.vdot(g, d) for g, d in zip(jax.tree.leaves(gradient), jax.tree.leaves(along), strict=True))

        def at(step):
            return loss(jax.tree.map(lambda p, d: p + step * d, params, along))

        h = 1e-5
        assert abs((at(h) - at(-h)) / (2 * h) - slope) < 1e-7 * max(1, abs(slope))
