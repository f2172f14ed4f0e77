"""Cross-entropies and squared error against published numbers, closed forms and optax; where numbers are not finite."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxbackprop.losses import sigmoid_cross_entropy, softmax_cross_entropy, squared_error

RNG = np.random.default_rng(0)
B, C = 5, 4
LOGITS = jnp.asarray(RNG.normal(size=(B, C)), jnp.float32)
LABELS = jnp.array([3, 0, 2, 2, 1])
TARGETS = jnp.asarray(RNG.dirichlet(np.ones(C), B), jnp.float32)
UPSTREAM = jnp.asarray(RNG.normal(size=B), jnp.float32)
INF, NAN = np.inf, np.nan


def gradient(loss, *args, upstream=None):
    """The gradient of the first argument."""
    value, pull = jax.vjp(lambda x: loss(x, *args[1:]), jnp.asarray(args[0]))
    return np.asarray(pull(jnp.ones_like(value) if upstream is None else jnp.asarray(upstream, value.dtype))[0])


# Published numbers


@pytest.mark.parametrize(
    ("scores", "printed"), [([1.0, -2.0, 0.0], ["0.7", "0.04", "0.26"]), ([0.5, -1.0, 0.0], ["0.55", "0.12", "0.33"])]
)
def test_the_probabilities_are_those_of_the_linear_classification_notes(scores, printed):
    """CS231n, to the digits printed; the gradient of the scores is p minus the one-hot vector of the true class."""
    p = gradient(softmax_cross_entropy, [scores], jnp.array([0]))[0] + [1, 0, 0]
    for found, digits in zip(p, printed, strict=True):
        assert abs(found - float(digits)) <= 0.5 * 10.0 ** -len(digits.partition(".")[2])


def test_the_gradient_on_the_scores_is_that_of_the_case_study():
    """CS231n: p = [0.2, 0.3, 0.5] and the second class the true one: [0.2, -0.7, 0.5]."""
    dscores = gradient(softmax_cross_entropy, np.log([[0.2, 0.3, 0.5]]).astype(np.float32), jnp.array([1]))
    np.testing.assert_allclose(dscores, [[0.2, -0.7, 0.5]], rtol=1e-6)


def test_ten_classes_without_knowledge_cost_2_302():
    """CS231n, Neural networks 3: the loss to look for before training."""
    loss = softmax_cross_entropy(jnp.zeros((1, 10)), jnp.array([4]))
    np.testing.assert_allclose(loss, 2.302, atol=1e-3)
    np.testing.assert_allclose(loss, np.log(10), rtol=1e-6)


def test_three_fair_coins_cost_three_times_the_log_of_2():
    """CS224n, assignment 2: y one-hot, 3 x 2, every probability 1/2."""
    y = jnp.eye(2)[jnp.array([0, 1, 0])]
    np.testing.assert_allclose(softmax_cross_entropy(jnp.zeros((3, 2)), y).sum(), -3 * np.log(0.5), rtol=1e-6)


# Softmax cross-entropy


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("labels", [LABELS, TARGETS], ids=["integers", "probabilities"])
def test_softmax_cross_entropy_is_optax_of_smoothed_labels(labels, smoothing):
    one_hot = jnp.eye(C)[labels] if labels.ndim == 1 else labels
    expected = optax.softmax_cross_entropy(LOGITS, optax.smooth_labels(one_hot, smoothing))
    np.testing.assert_allclose(softmax_cross_entropy(LOGITS, labels, smoothing=smoothing), expected, rtol=1e-5)


def test_targets_need_not_sum_to_1():
    """sum_c q_c (-log p_c) and its gradient p sum q - q hold for any q; here twice a one-hot vector, and none."""
    q = jnp.zeros((B, C)).at[jnp.arange(3), LABELS[:3]].set(2)
    once = gradient(softmax_cross_entropy, LOGITS[:3], LABELS[:3])
    found = gradient(softmax_cross_entropy, LOGITS, q)
    np.testing.assert_allclose(found[:3], 2 * once, rtol=1e-5, atol=1e-7)
    assert not np.any(found[3:])


def test_the_gradient_of_a_target_is_its_surprise_also_where_the_target_is_0():
    targets = jnp.eye(C)[LABELS]
    _, pull = jax.vjp(lambda q: softmax_cross_entropy(LOGITS, q, smoothing=0.25), targets)
    expected = -0.75 * UPSTREAM[:, None] * jax.nn.log_softmax(LOGITS)
    np.testing.assert_allclose(pull(UPSTREAM)[0], expected, rtol=1e-5)


def test_a_million_added_to_all_logits_changes_no_digit():
    """The logits are multiples of 1/4, exact also beside a million; log sum exp as one number is not."""
    near = jnp.round(LOGITS * 4) / 4
    far = near + 1e6
    for labels in (LABELS, TARGETS):
        np.testing.assert_array_equal(softmax_cross_entropy(near, labels), softmax_cross_entropy(far, labels))
        np.testing.assert_array_equal(
            gradient(softmax_cross_entropy, near, labels), gradient(softmax_cross_entropy, far, labels)
        )


def test_logits_a_thousand_apart_neither_overflow_nor_underflow():
    logits, labels = jnp.array([[1000.0, 0.0, -1000.0]] * 3), jnp.array([0, 1, 2])
    np.testing.assert_array_equal(softmax_cross_entropy(logits, labels), [0, 1000, 2000])
    np.testing.assert_array_equal(gradient(softmax_cross_entropy, logits, labels), [[0, 0, 0], [1, -1, 0], [1, 0, -1]])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("integers", [True, False])
def test_a_class_whose_logit_is_minus_infinity_is_not_there(integers, smoothing):
    """The same loss and gradient as with that column left out."""
    logits = jnp.insert(LOGITS, 1, -INF, axis=1)
    labels = jnp.where(LABELS >= 1, LABELS + 1, LABELS) if integers else jnp.insert(TARGETS, 1, 0, axis=1)
    without = LABELS if integers else TARGETS

    def loss(z, y):
        return softmax_cross_entropy(z, y, smoothing=smoothing)

    np.testing.assert_allclose(loss(logits, labels), loss(LOGITS, without), rtol=1e-6)
    found = gradient(loss, logits, labels, upstream=UPSTREAM)
    expected = np.insert(gradient(loss, LOGITS, without, upstream=UPSTREAM), 1, 0, axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    if not integers:
        _, pull = jax.vjp(lambda y: loss(logits, y), labels)
        assert np.all(np.isfinite(pull(jnp.ones(B))[0]))


@pytest.mark.parametrize("labels", [jnp.array([1]), jnp.array([[0.5, 0.5]])], ids=["integer", "probabilities"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_where_no_class_is_there_the_answer_is_0_and_not_nan(labels, smoothing):
    value, pull = jax.vjp(
        lambda z, w: softmax_cross_entropy(z, labels, w, smoothing=smoothing), jnp.full((1, 2), -INF), jnp.ones(1)
    )
    np.testing.assert_array_equal(value, [0])
    for g in pull(jnp.ones(1)):
        assert not np.any(g)
    assert softmax_cross_entropy(jnp.zeros((3, 0)), jnp.zeros(3, int)).tolist() == [0, 0, 0]


def test_a_true_class_that_is_not_there_costs_infinitely_much_with_a_finite_gradient():
    logits, labels = jnp.array([[0.0, -INF, 0.0]]), jnp.array([1])
    assert softmax_cross_entropy(logits, labels).tolist() == [INF]
    np.testing.assert_allclose(gradient(softmax_cross_entropy, logits, labels), [[0.5, -1, 0.5]], rtol=1e-6)


@pytest.mark.parametrize("label", [-1, C, -100])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_label_outside_the_classes_is_ignored(label, smoothing):
    labels = LABELS.at[1].set(label)

    def loss(z, y):
        return softmax_cross_entropy(z, y, smoothing=smoothing)

    found, dz = loss(LOGITS, labels), gradient(loss, LOGITS, labels)
    assert found[1] == 0
    assert not np.any(dz[1])
    others = jnp.array([0, 2, 3, 4])
    np.testing.assert_array_equal(found[others], loss(LOGITS, LABELS)[others])
    np.testing.assert_array_equal(dz[others], gradient(loss, LOGITS, LABELS)[others])


def test_labels_of_a_small_integer_type_name_classes_beyond_its_reach():
    logits = jnp.asarray(RNG.normal(size=(2, 300)), jnp.float32)
    for dtype in (jnp.int8, jnp.uint8):
        labels = jnp.array([100, 7], dtype)
        wide = labels.astype(jnp.int32)
        np.testing.assert_array_equal(softmax_cross_entropy(logits, labels), softmax_cross_entropy(logits, wide))
        np.testing.assert_array_equal(
            gradient(softmax_cross_entropy, logits, labels), gradient(softmax_cross_entropy, logits, wide)
        )


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
@pytest.mark.parametrize("loss", [softmax_cross_entropy, sigmoid_cross_entropy])
def test_an_example_of_weight_0_is_exactly_0_even_where_its_logits_are_not_finite(loss, bad):
    logits = LOGITS.at[2].set(jnp.array([bad, 1, bad, 0]))
    weights = jnp.array([1, 2, 0, 0, 0.5])
    value, pull = jax.vjp(lambda z, t, w: loss(z, t, w), logits, TARGETS, weights)
    assert value[2:4].tolist() == [0, 0]
    dz, dt, dw = pull(jnp.ones(B))
    for g in (dz, dt):
        assert not np.any(g[2:4])
        assert np.all(np.isfinite(g))
    assert np.all(np.isfinite(dw))
    np.testing.assert_allclose(dw[3], loss(LOGITS, TARGETS)[3], rtol=1e-6)


def test_logits_that_are_not_a_number_are_not_hushed_up():
    logits = LOGITS.at[0, 1].set(NAN)
    for labels in (LABELS, TARGETS):
        assert np.isnan(softmax_cross_entropy(logits, labels)[0])
        assert np.all(np.isnan(gradient(softmax_cross_entropy, logits, labels)[0]))
    assert np.isnan(sigmoid_cross_entropy(logits, TARGETS)[0])


def test_of_tied_classes_each_has_the_same_gradient():
    dz = gradient(softmax_cross_entropy, jnp.full((1, 4), 7.0), jnp.array([2]))
    np.testing.assert_array_equal(dz, [[0.25, 0.25, -0.75, 0.25]])


def test_the_loss_of_many_classes_in_half_precision_is_summed_in_single_precision():
    """5,000 equal classes: in bfloat16 a sum of ones would stop at 256."""
    loss = softmax_cross_entropy(jnp.zeros((1, 5000), jnp.bfloat16), jnp.array([0]))
    assert loss.dtype == jnp.bfloat16
    np.testing.assert_allclose(float(loss[0]), np.log(5000), rtol=2**-8)


def test_the_backward_pass_of_integer_labels_keeps_one_number_a_score():
    _, pull = jax.vjp(lambda z: softmax_cross_entropy(z, LABELS), LOGITS)
    assert [leaf.shape for leaf in jax.tree.leaves(pull) if isinstance(leaf, jax.Array)] == [(B, C)]


def test_a_small_gradient_in_half_precision_is_rounded_after_the_subtraction():
    """p = 1 - 3.35e-4 is 1 in bfloat16, but p - 1 is not 0."""
    dz = gradient(softmax_cross_entropy, jnp.array([[8.0, 0.0]], jnp.bfloat16), jnp.array([0]))
    np.testing.assert_allclose(dz.astype(np.float32), [[-3.3535e-4, 3.3535e-4]], rtol=2**-8)


def test_smoothing_is_a_share():
    with pytest.raises(ValueError, match=r"smoothing is 1\.5; it is a share of the target, from 0 to 1"):
        softmax_cross_entropy(LOGITS, LABELS, smoothing=1.5)


# Sigmoid cross-entropy


def test_sigmoid_cross_entropy_is_optax_summed_over_the_classes():
    expected = optax.sigmoid_binary_cross_entropy(LOGITS, TARGETS).sum(-1)
    np.testing.assert_allclose(sigmoid_cross_entropy(LOGITS, TARGETS), expected, rtol=1e-6)
    expected = UPSTREAM[:, None] * (jax.nn.sigmoid(LOGITS) - TARGETS)
    found = gradient(sigmoid_cross_entropy, LOGITS, TARGETS, upstream=UPSTREAM)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    _, pull = jax.vjp(lambda t: sigmoid_cross_entropy(LOGITS, t), TARGETS)
    np.testing.assert_allclose(pull(UPSTREAM)[0], -UPSTREAM[:, None] * LOGITS, rtol=1e-6)


def test_a_sure_and_right_answer_costs_exp_of_minus_its_logit():
    """1 - sigmoid(40) is 4e-18, which 1 minus a float32 cannot show."""
    logits, targets = jnp.array([[40.0], [-40.0]]), jnp.array([[1.0], [0.0]])
    np.testing.assert_allclose(sigmoid_cross_entropy(logits, targets), np.exp([-40.0, -40.0]), rtol=1e-6)
    expected = np.exp(-40.0) * np.array([[-1], [1]])
    np.testing.assert_allclose(gradient(sigmoid_cross_entropy, logits, targets), expected, rtol=1e-6)


def test_a_sure_and_wrong_answer_costs_its_logit():
    logits, targets = jnp.array([[1e30], [-1e30]]), jnp.array([[0.0], [1.0]])
    np.testing.assert_allclose(sigmoid_cross_entropy(logits, targets), [1e30, 1e30])
    np.testing.assert_array_equal(gradient(sigmoid_cross_entropy, logits, targets), [[1], [-1]])


def test_an_infinite_logit_that_agrees_with_its_target_costs_nothing():
    logits, targets = jnp.array([[INF, -INF, 0.0]]), jnp.array([[1.0, 0.0, 1.0]])
    value, pull = jax.vjp(sigmoid_cross_entropy, logits, targets)
    np.testing.assert_allclose(value, [np.log(2)], rtol=1e-6)
    dz, dt = pull(jnp.ones(1))
    np.testing.assert_array_equal(dz, [[0, 0, -0.5]])
    np.testing.assert_array_equal(dt, [[0, 0, 0]])


def test_at_logit_0_the_first_derivative_is_a_half_minus_t_and_the_second_a_quarter():
    """Where a formula with |z| differentiated by machine goes wrong."""

    def slope(z):
        return jax.grad(lambda z: sigmoid_cross_entropy(z, jnp.array([0.3])))(z)

    zero = jnp.zeros(1)
    np.testing.assert_allclose(slope(zero), [0.2], rtol=1e-6)
    np.testing.assert_allclose(jax.jacrev(slope)(zero), [[0.25]], rtol=1e-6)


# Squared error


def test_squared_error_is_half_the_squared_distance_and_its_delta_the_difference():
    prediction, target = jnp.array([[3.0, 1.0], [0.0, 0.0]]), jnp.array([[0.0, 5.0], [0.0, 0.0]])
    value, pull = jax.vjp(squared_error, prediction, target)
    np.testing.assert_array_equal(value, [12.5, 0])
    dprediction, dtarget = pull(jnp.array([2.0, 1.0]))
    np.testing.assert_array_equal(dprediction, [[6, -8], [0, 0]])
    np.testing.assert_array_equal(dtarget, -dprediction)


@pytest.mark.parametrize("loss", [softmax_cross_entropy, sigmoid_cross_entropy, squared_error])
def test_an_empty_batch_has_no_losses(loss):
    value, pull = jax.vjp(loss, jnp.zeros((0, C)), jnp.zeros((0, C)))
    assert value.shape == (0,)
    assert pull(value)[0].shape == (0, C)
