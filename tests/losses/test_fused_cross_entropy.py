"""Linear layer and cross-entropy over many classes: loops, published word vectors, and no score left in memory."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbackprop.losses import linear_cross_entropy, mean_linear_cross_entropy, softmax_cross_entropy

RULES = [linear_cross_entropy, mean_linear_cross_entropy]


def drawn(batch: int = 6, features: int = 3, classes: int = 7, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    return (
        rng.normal(size=(batch, features)),
        rng.normal(size=(features, classes)),
        rng.integers(0, classes, batch),
        rng.normal(size=classes),
    )


def loss_and_gradients(function, x, W, b, upstream):
    def both(x, W, b):
        loss, pull = jax.vjp(function, x, W, b)
        return loss, pull(jnp.asarray(upstream))

    return jax.jit(both)(x, W, b)


def by_loops(x, W, labels, b, upstream):
    """Loss of each example and the gradients of sum upstream loss, one score at a time, in float64."""
    losses, dx, dW, db = np.zeros(len(x)), np.zeros_like(x), np.zeros_like(W), np.zeros_like(b)
    for i, label in enumerate(labels):
        scores = [sum(x[i, d] * W[d, c] for d in range(len(W))) + b[c] for c in range(len(b))]
        total = sum(np.exp(s) for s in scores)
        losses[i] = np.log(total) - scores[label]
        for c, s in enumerate(scores):
            delta = upstream[i] * (np.exp(s) / total - (c == label))
            dx[i] += delta * W[:, c]
            dW[:, c] += delta * x[i]
            db[c] += delta
    return losses, (dx, dW, db)


@pytest.mark.parametrize("at_once", [1, 12, 13, 30, 10**6])
def test_loss_and_gradients_are_those_of_a_loop_however_it_is_cut(at_once):
    x, W, labels, b = drawn()
    upstream = np.random.default_rng(1).normal(size=6)
    expected, gradients = by_loops(x, W, labels, b, upstream)
    with jax.enable_x64(True):
        loss, found = loss_and_gradients(
            lambda x, W, b: linear_cross_entropy(x, W, labels, b, at_once=at_once), x, W, b, upstream
        )
    np.testing.assert_allclose(loss, expected, rtol=1e-12)
    for one, other in zip(found, gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("at_once", [1, 14, 15, 10**6])
def test_the_mean_counts_only_examples_that_have_a_class(at_once):
    x, W, labels, b = drawn()
    labels[[1, 4]] = -1, 7
    counted = np.array([1, 0, 1, 1, 0, 1]) / 4
    expected, gradients = by_loops(x, W, labels % 7, b, counted)
    with jax.enable_x64(True):
        of = jax.value_and_grad(
            lambda x, W, b: 3 * mean_linear_cross_entropy(x, W, labels, b, at_once=at_once), (0, 1, 2)
        )
        loss, found = jax.jit(of)(x, W, b)
    np.testing.assert_allclose(loss, 3 * expected @ counted, rtol=1e-12)
    for one, other in zip(found, gradients, strict=True):
        np.testing.assert_allclose(one, 3 * other, rtol=1e-11, atol=1e-14)


def capped_by_numpy(x, W, labels, b, upstream, z_loss, soft_cap):
    """Loss of each example and the gradients of sum upstream loss, with z-loss and soft cap; no label is ignored."""
    raw = x @ W + b
    z = soft_cap * np.tanh(raw / soft_cap)
    log_sum = np.log(np.exp(z).sum(1))
    delta = (1 + 2 * z_loss * log_sum)[:, None] * np.exp(z - log_sum[:, None]) - np.eye(len(b))[labels]
    delta *= upstream[:, None] / np.cosh(raw / soft_cap) ** 2
    losses = log_sum - z[np.arange(len(x)), labels] + z_loss * log_sum**2
    return losses, (delta @ W.T, x.T @ delta, delta.sum(0))


@pytest.mark.parametrize("made", RULES)
@pytest.mark.parametrize("at_once", [13, 10**6])
def test_z_loss_and_soft_cap_are_those_of_the_formula(made, at_once):
    x, W, labels, b = drawn()
    labels[2] = -1
    counts = labels >= 0
    upstream = counts / 5 if made is mean_linear_cross_entropy else counts * np.random.default_rng(1).normal(size=6)
    expected, gradients = capped_by_numpy(x, W, labels, b, upstream, 0.3, 1.7)

    def total(x, W, b):
        loss = made(x, W, labels, b, at_once=at_once, z_loss=0.3, soft_cap=1.7)
        return (loss * upstream).sum() if loss.ndim else loss

    with jax.enable_x64(True):
        loss, found = jax.jit(jax.value_and_grad(total, (0, 1, 2)))(x, W, b)
    np.testing.assert_allclose(loss, expected @ upstream, rtol=1e-12)
    for one, other in zip(found, gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("checked", [True, False])
@pytest.mark.parametrize("made", RULES)
def test_classes_may_be_split_over_devices(made, checked):
    """Value and gradients are those of one device that has all classes; a label is -1, another the last class."""
    x, W, labels, b = drawn(classes=10)
    labels[[1, 4]] = -1, 9
    upstream = np.random.default_rng(1).normal(size=6)
    mesh = jax.make_mesh((2,), ("classes",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:2])
    everywhere, split = jax.P(), jax.P(None, "classes")

    def value_and_gradients(function):
        loss, pull = jax.vjp(function, x, W, b)
        return loss, *pull(jnp.asarray(upstream) if loss.ndim else jnp.asarray(2.0))

    settings = {"at_once": 12, "z_loss": 0.3, "soft_cap": 1.7}
    with jax.enable_x64(True):
        sharded = jax.shard_map(
            lambda x, W, labels, b: made(x, W, labels, b, axis_name="classes", **settings),
            mesh=mesh, in_specs=(everywhere, split, everywhere, jax.P("classes")), out_specs=everywhere,
            check_vma=checked,
        )  # fmt: skip
        found = jax.jit(lambda: value_and_gradients(lambda x, W, b: sharded(x, W, jnp.asarray(labels), b)))()
        expected = jax.jit(lambda: value_and_gradients(lambda x, W, b: made(x, W, labels, b, **settings)))()
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("made", RULES)
def test_where_nothing_counts_loss_and_gradients_are_zero(made):
    x, W, _, b = drawn()
    with jax.enable_x64(True):
        loss, pull = jax.vjp(lambda x, W, b: made(x, W, jnp.full(6, -1), b), x, W, b)
        assert not np.any(loss)
        assert not any(np.any(g) for g in pull(jnp.ones_like(loss)))


@pytest.mark.parametrize(
    ("centre", "context", "expected", "of_centre", "of_first_word"),
    [
        (2, [0, 1, 4, 3, 1, 2], 11.16610900153398, [-1.26947339, -1.36873189, 2.45158957],
         [-0.41045956, 0.18834851, 1.43272264]),
        (1, [0, 1, 4, 3, 1, 2], 9.87714910003414, [-0.14586705, -1.34158321, -0.29291951],
         [-0.30342672, 0.19808298, 0.19587419]),
        (0, [0, 1, 4, 3, 1, 2], 10.810758628593335, [-1.1790274, -1.35861865, 1.53590492],
         [-0.796035953, -0.0179609012, 0.20776133]),
    ],
)  # fmt: skip
def test_skip_gram_with_softmax_gives_cs224ns_loss_and_gradients(centre, context, expected, of_centre, of_first_word):
    """Assignment 2 (word2vec), seed 9265: five words, the loss summed over a window of six."""
    vectors: Any = np.random.RandomState(9265).randn(10, 3)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    v, U = vectors[centre], vectors[5:]

    def total(v, U):
        return linear_cross_entropy(jnp.broadcast_to(v, (6, 3)), U.T, jnp.array(context), at_once=12).sum()

    with jax.enable_x64(True):
        loss, (dv, dU) = jax.value_and_grad(total, (0, 1))(v, U)
    np.testing.assert_allclose(loss, expected, rtol=1e-13)
    np.testing.assert_allclose(dv, of_centre, atol=1e-8)
    np.testing.assert_allclose(dU[0], of_first_word, atol=1e-8)


@pytest.mark.parametrize("made", RULES)
def test_a_class_of_bias_minus_infinity_is_not_there(made):
    x, W, labels, b = drawn(seed=3)
    labels %= 4
    b[4:] = -np.inf
    with jax.enable_x64(True):
        for at_once in (6, 10**6):
            of = jax.jit(
                jax.value_and_grad(lambda x, W, b, n=at_once: made(x, W, labels, b, at_once=n).sum(), (0, 1, 2))
            )
            loss, (dx, dW, db) = of(x, W, b)
            kept, (dx_kept, dW_kept, db_kept) = of(x, W[:, :4], b[:4])
            np.testing.assert_allclose(loss, kept, rtol=1e-13)
            np.testing.assert_allclose(dx, dx_kept, rtol=1e-11)
            np.testing.assert_allclose(dW, np.pad(dW_kept, ((0, 0), (0, 3))), rtol=1e-11, atol=1e-15)
            np.testing.assert_allclose(db, np.pad(db_kept, (0, 3)), rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("at_once", [2, 10**6])
def test_large_scores_do_not_overflow_and_small_losses_keep_their_digits(at_once):
    """Scores 50000 apart; and 10000 beside 9995, where log sum exp has three digits behind the point, the loss six."""
    x, W = jnp.array([[1.0], [-1.0]]), jnp.array([[20000.0, -30000.0]])
    assert linear_cross_entropy(x, W, jnp.array([1, 1]), at_once=at_once).tolist() == [50000, 0]
    (small,) = linear_cross_entropy(x[:1], jnp.array([[10000.0, 9995.0]]), jnp.array([0]), at_once=at_once)
    assert small == pytest.approx(np.log1p(np.exp(-5)), rel=1e-5)


@pytest.mark.parametrize("made", RULES)
def test_half_precision_rounds_once(made):
    """4096 classes in bfloat16: the error is that of the answer's own last digit, and the gradients are bfloat16."""
    x, W, labels, _ = drawn(4, 8, 4096)
    x, W = jnp.asarray(x, jnp.bfloat16), jnp.asarray(W, jnp.bfloat16)
    loss, pull = jax.vjp(lambda x, W: made(x, W, labels, at_once=2048), x, W)
    assert [g.dtype for g in (loss, *pull(jnp.ones_like(loss)))] == [jnp.bfloat16] * 3
    logits = np.asarray(x, np.float64) @ np.asarray(W, np.float64)
    exact = np.log(np.exp(logits).sum(1)) - logits[np.arange(4), labels]
    exact = exact if loss.ndim else exact.mean()
    np.testing.assert_allclose(np.asarray(loss, np.float64), exact, rtol=2**-8)


def shapes(jaxpr) -> set[tuple[int, ...]]:
    """The shape of every value in a jaxpr, those inside its loops and calls included."""
    found = set()
    for eqn in jaxpr.eqns:
        found |= {v.aval.shape for v in eqn.outvars}
        for p in jax.tree.leaves(list(eqn.params.values()), is_leaf=lambda p: hasattr(p, "eqns")):
            inner = getattr(p, "jaxpr", p)
            found |= shapes(inner) if hasattr(inner, "eqns") else set()
    return found


@pytest.mark.parametrize("made", RULES)
def test_the_scores_are_never_all_there(made):
    x, W, labels, b = drawn(10, 3, 50)

    def forward_backward(function):
        return lambda x, W, b: jax.vjp(function, x, W, b)[1](jnp.ones_like(function(x, W, b)))

    plain = forward_backward(lambda x, W, b: softmax_cross_entropy(x @ W + b, labels).mean() if made is RULES[1]
                             else softmax_cross_entropy(x @ W + b, labels))  # fmt: skip
    chunked = forward_backward(lambda x, W, b: made(x, W, labels, b, at_once=100))
    assert (10, 50) in shapes(jax.make_jaxpr(plain)(x, W, b).jaxpr)
    found = shapes(jax.make_jaxpr(chunked)(x, W, b).jaxpr)
    assert (10, 50) not in found
    assert max(n * m for n, m in (s for s in found if len(s) == 2)) == 3 * 50  # W itself


def test_the_mean_called_without_gradient_forms_none():
    """Its compiled program holds less than one copy of dW."""
    x, W, labels, _ = drawn(64, 100, 2000)
    args = jnp.asarray(x, jnp.float32), jnp.asarray(W, jnp.float32), jnp.asarray(labels)

    def temporary(function) -> int:
        analysis: Any = jax.jit(function).lower(*args).compile().memory_analysis()
        return analysis.temp_size_in_bytes

    def loss(x, W, labels):
        return mean_linear_cross_entropy(x, W, labels, at_once=8 * 2000)

    assert temporary(loss) < 100 * 2000 * 4
    assert temporary(jax.grad(loss, 1)) >= 8 * 2000 * 4


def test_leading_axes_are_examples_and_labels_may_be_small_integers():
    x, W, labels, b = drawn(6, 3, 7)
    each, mean = jax.jit(linear_cross_entropy), jax.jit(mean_linear_cross_entropy)
    flat = each(x, W, labels, b)
    nested = each(x.reshape(2, 3, 3), W, labels.reshape(2, 3).astype(np.int8), b)
    np.testing.assert_array_equal(nested, flat.reshape(2, 3))
    assert mean(x.reshape(2, 3, 3), W, labels.reshape(2, 3), b) == pytest.approx(flat.mean())
    assert each(x[0], W, labels[0], b) == pytest.approx(flat[0])
