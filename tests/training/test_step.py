"""One step and one epoch against the same arithmetic written out in NumPy."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxbackprop.benchmarking.workload import temporary_bytes
from jaxbackprop.jaxprs.provenance import defined
from jaxbackprop.models import MLP
from jaxbackprop.training.minibatches import Batches, on_device
from jaxbackprop.training.optimizer import make_optimizer
from jaxbackprop.training.step import Program, State, StepMetrics, all_finite, prepare

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(10, 3)).astype(np.float32), RNG.integers(0, 2, 10)
LR, LAMBDA = 0.5, 0.1


def linear(l2: float = 0.0, dtype: str | None = None) -> tuple[Program, State]:
    model, rate = MLP(3, [], 2, rngs=nnx.Rngs(0)), lambda _: LR
    return prepare(model, None, make_optimizer("sgd", rate), l2, dtype, rate=rate)


def trained(program: Program, state: State, batches: Batches, key: jax.Array) -> tuple[State, StepMetrics]:
    """An epoch: the whole minibatches in two calls, then the remainder."""
    order = batches.order(key)
    state, one = program.steps(state, batches, order, 0, 1)
    state, more = program.steps(state, batches, order, 1, batches.steps - 1)
    state, last = program.rest(state, batches, order)
    parts = (jax.tree.map(lambda m: m[:1], one), jax.tree.map(lambda m: m[: batches.steps - 1], more))
    return state, jax.tree.map(lambda a, b, c: jnp.append(jnp.append(a, b), c), *parts, last)


def by_hand(W: np.ndarray, b: np.ndarray, which: np.ndarray, l2: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Softmax regression: the error signal is p - one-hot, divided by the batch; the penalty adds lambda W."""
    x, y = X[which].astype(np.float64), Y[which]
    scores = x @ W + b
    p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    delta = (p - np.eye(2)[y]) / len(which)
    loss = -np.log(p[np.arange(len(y)), y]).mean()
    return W - LR * (x.T @ delta + l2 * W), b - LR * delta.sum(0), loss


@pytest.mark.parametrize("l2", [0.0, LAMBDA])
def test_an_epoch_is_one_update_a_minibatch_and_one_for_the_remainder(l2: float):
    """Ten examples in minibatches of four: two whole ones and one of two, each an update by its own mean gradient."""
    program, state = linear(l2)
    W, b = (np.asarray(state.params[name][0][...], np.float64) for name in ("W", "b"))
    batches, key = on_device((X, Y), 4), jax.random.key(3)
    order = np.asarray(batches.order(key))
    losses = []
    for which in (order[:4], order[4:8], order[8:]):
        W, b, loss = by_hand(W, b, which, l2)
        losses.append(loss)
    state, metrics = trained(program, state, batches, key)
    assert np.asarray(state.params["W"][0][...]) == pytest.approx(W, rel=1e-5, abs=1e-6)
    assert np.asarray(state.params["b"][0][...]) == pytest.approx(b, rel=1e-5, abs=1e-6)
    assert np.asarray(metrics.loss) == pytest.approx(losses, rel=1e-5)
    assert (np.asarray(metrics.objective) > np.asarray(metrics.loss)).all() == bool(l2)
    assert np.asarray(metrics.learning_rate).tolist() == [LR] * 3
    assert int(state.step) == 3


def test_passes_in_bfloat16_update_parameters_in_float32():
    """The products take bfloat16; an update far below a bfloat16 weight's last digit is kept nevertheless."""
    program, state = linear(dtype="bfloat16")
    batch = jnp.asarray(X), jnp.asarray(Y)
    jaxpr = str(
        jax.make_jaxpr(lambda p: jax.grad(program.objective, has_aux=True)(p, state.model_state, batch))(state.params)
    )
    assert "bf16[10,3]" in jaxpr  # the minibatch, as a factor
    W, b = (np.asarray(state.params[name][0][...], np.float64) for name in ("W", "b"))
    expected_W, expected_b, expected_loss = by_hand(W, b, np.arange(10), 0.0)
    state, metrics, gradient = program.step(state, batch)
    assert {x.dtype for x in jax.tree.leaves((state.params, gradient, metrics.loss))} == {jnp.dtype("float32")}
    moved = np.asarray(state.params["W"][0][...], np.float64) - W
    assert moved == pytest.approx(expected_W - W, rel=0.03, abs=0.03 * np.abs(expected_W - W).max())
    assert moved != pytest.approx(expected_W - W, rel=1e-5)  # or nothing was rounded at all
    assert np.asarray(state.params["b"][0][...]) == pytest.approx(expected_b, rel=0.03, abs=0.01)
    assert float(metrics.loss) == pytest.approx(expected_loss, rel=0.02)


def test_a_small_batchs_gradient_is_never_in_memory():
    """Of eight examples the weight gradient is added up inside the update; of nine it is an array first."""

    def temporary(batch: int) -> int:
        model = MLP(512, [512], 2, rngs=nnx.Rngs(0))
        program, state = prepare(model, None, make_optimizer("sgd", lambda _: LR))
        examples = on_device((np.zeros((72, 512), np.float32), np.zeros(72, int)), batch)
        order = jnp.arange(72)
        return temporary_bytes(program.steps.lower(state, examples, order, 0, examples.steps).compile())

    assert temporary(8) < 4 * 512 * 512 < temporary(9)


def test_what_is_minimised_is_put_together_by_rules_too():
    """From the losses to the number that is differentiated there are three rules and nothing else; the models' own
    part, from the parameters to the losses, is tests/test_models.py's.
    """
    program, state = linear(LAMBDA)
    batch = (jnp.asarray(X), jnp.asarray(Y))
    jaxpr = jax.make_jaxpr(lambda p: program.objective(p, state.model_state, batch)[0])(state.params).jaxpr
    made_by = {v: eqn for eqn in jaxpr.eqns for v in eqn.outvars}

    def rule_of(v: Any) -> str:
        return defined(made_by[v])[0] if made_by[v].primitive.name == "custom_vjp_call" else made_by[v].primitive.name

    (total,) = jaxpr.outvars
    assert rule_of(total) == "add"
    mean, penalty = made_by[total].invars
    assert (rule_of(mean), rule_of(penalty)) == ("reduce_mean", "l2_penalty")
    (losses,) = made_by[mean].invars
    assert rule_of(losses) == "softmax_cross_entropy"


def test_an_evaluation_assesses_every_example_and_changes_nothing():
    program, state = prepare(
        MLP(3, [8], 2, dropout=0.5, norm="batch", rngs=nnx.Rngs(0)), None, make_optimizer("sgd", lambda _: LR), 0.0
    )
    batches = on_device((X, Y), 4)
    once, again = (program.evaluate(state.params, state.model_state, batches) for _ in range(2))
    assert np.array_equal(once.loss, again.loss)  # no dropout, no statistics of the batch
    model = nnx.merge(program.test, state.params, state.model_state, copy=True)
    losses, right = map(np.asarray, model.loss_and_correct(jnp.asarray(X), jnp.asarray(Y)))
    parts = (slice(0, 4), slice(4, 8), slice(8, 10))
    assert np.asarray(once.loss) == pytest.approx([losses[part].mean() for part in parts], rel=1e-5)
    assert np.asarray(once.sums["accuracy"]).tolist() == [right[part].sum() for part in parts]


def test_dropout_keys_and_running_statistics_go_on_from_step_to_step():
    """Three steps: three keys were drawn, and the running mean is that of three different batches."""
    model = MLP(3, [8], 2, dropout=0.5, norm="batch", rngs=nnx.Rngs(0))
    program, state = prepare(model, None, make_optimizer("sgd", lambda _: 0.0), 0.0)
    W, b = np.asarray(state.params["W"][0][...]), np.asarray(state.params["b"][0][...])
    batches, key = on_device((X, Y), 4), jax.random.key(0)
    order = np.asarray(batches.order(key))
    state, _ = trained(program, state, batches, key)
    assert int(state.model_state["keys"]["count"][...]) == 3
    mean = np.zeros(8)
    for which in (order[:4], order[4:8], order[8:]):
        mean = 0.9 * mean + 0.1 * (X[which] @ W + b).mean(0)
    assert np.asarray(state.model_state["norms"][0]["mean"][...]) == pytest.approx(mean, rel=1e-4, abs=1e-6)


def test_finite_means_every_floating_point_number():
    tree = {"a": jnp.ones(3), "n": jnp.arange(2), "key": jax.random.key(0)}
    assert bool(all_finite(tree))
    assert not bool(all_finite({**tree, "b": jnp.array([1.0, jnp.inf])}))
    assert not bool(all_finite({**tree, "b": jnp.array(jnp.nan)}))
    assert bool(all_finite({}))
