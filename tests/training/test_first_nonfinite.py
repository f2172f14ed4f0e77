"""The first rule that makes a number which is not finite, found among faults planted on purpose."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxbackprop.gates import exp, log, mul, reduce_sum
from jaxbackprop.models import MLP, BagOfWords
from jaxbackprop.training import NotFinite, fit
from jaxbackprop.training.first_nonfinite import first_not_finite

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(50, 4)).astype(np.float32), RNG.integers(0, 3, 50)


def test_the_first_output_that_overflows_is_named():
    """exp(100) overflows in float32; the product and the logarithm after it are no longer to blame."""
    fault = first_not_finite(lambda x: reduce_sum(log(mul(exp(x), x))), {"x": jnp.array([1.0, 100.0])})
    assert fault is not None
    assert (fault.rule, fault.what, fault.value, fault.arguments) == ("exp", "output", "infinity", ())
    assert "arithmetic.py:" in fault.source


def test_an_argument_that_was_not_finite_before_is_named_as_well():
    fault = first_not_finite(
        lambda a, b: reduce_sum(mul(b, a["w"])), {"a": {"w": jnp.array([jnp.nan])}, "b": jnp.ones(1)}
    )
    assert fault is not None
    assert (fault.rule, fault.what, fault.value, fault.arguments) == ("mul", "output", "NaN", ("a.w",))


def test_a_backward_pass_that_answers_with_nan_is_named():
    """Forward everything is finite; backward the first rule in the order of the sweep, from the loss, is to blame."""

    @jax.custom_vjp
    def innocent_looking(x):
        return x * 2

    innocent_looking.defvjp(lambda x: (x * 2, None), lambda _, upstream: (upstream / 0,))

    def function(x):
        return reduce_sum(mul(jax.jit(innocent_looking)(exp(x)), x))

    fault = first_not_finite(function, {"x": jnp.ones(2)})
    assert fault is not None
    assert (fault.rule, fault.what, fault.value) == ("innocent_looking", "gradient", "infinity")
    assert "test_first_nonfinite.py:" in fault.source


def test_a_plain_primitive_is_named_where_no_rule_is_to_blame():
    fault = first_not_finite(lambda x: reduce_sum(jnp.sqrt(x)), {"x": jnp.array([-1.0])})
    assert fault is not None
    assert (fault.rule, fault.what) == ("sqrt", "output")


def test_where_all_is_finite_nothing_is_found():
    """The same jitted function twice: its variables stand for other numbers at each call."""

    @jax.jit
    def twice(x):
        return exp(x)

    def function(x, n):
        return reduce_sum(mul(twice(x), twice(mul(x, x)))) * n

    assert first_not_finite(function, {"x": jnp.ones(3), "n": jnp.array(2)}) is None


def test_a_learning_rate_too_high_stops_the_run_with_the_step_and_the_rule():
    """SGD at 1e25: after the first step the weights are about 1e24, and two layers of them overflow in the second."""
    model = MLP(4, [8, 8], 3, rngs=nnx.Rngs(0))
    with pytest.raises(NotFinite) as caught:
        fit(model, (X, Y), epochs=3, batch=10, optimizer="sgd", lr=1e25)
    error = caught.value
    assert (error.epoch, error.step) == (1, 2)
    assert error.fault is not None
    assert error.fault.rule in ("affine", "affine_unit")
    assert error.fault.what == "output"
    assert "training stopped in epoch 1, step 2 of 5" in str(error)
    assert "learning rate is too high" in str(error)


def test_a_weight_that_is_nan_stops_the_run_at_once():
    model = MLP(4, [8], 3, rngs=nnx.Rngs(0))
    model.W[1][...] = model.W[1][...].at[0, 0].set(jnp.nan)
    with pytest.raises(NotFinite, match=r"params\.W\[1\] was not finite even before") as caught:
        fit(model, (X, Y), epochs=1, batch=10)
    assert caught.value.step == 1
    assert caught.value.fault is not None
    assert caught.value.fault.rule == "affine"


def test_an_example_that_is_nan_is_found_in_the_step_that_meets_it():
    """One bad example among fifty, met in the remainder or wherever the shuffle puts it: never blamed on another."""
    x = X.copy()
    x[17, 2] = np.nan
    model = MLP(4, [8], 3, rngs=nnx.Rngs(0))
    with pytest.raises(NotFinite, match=r"batch\[0\] was not finite even before") as caught:
        fit(model, (x, Y), epochs=1, batch=7, seed=4)
    order = np.asarray(jax.random.permutation(jax.random.fold_in(jax.random.key(4), 1), 50))
    assert caught.value.step == np.flatnonzero(order == 17)[0] // 7 + 1


class Faulty(BagOfWords):
    """A bag of words whose losses pass through a logarithm that meets 0 for the texts of class 2."""

    def loss_and_correct(self, ids, y):
        losses, right = super().loss_and_correct(ids, y)
        return log(mul(losses, jnp.where(y == 2, 0.0, 1.0))), right


def test_a_fault_in_the_remainder_is_found_too():
    """Nine texts in minibatches of four: the last step has a single one, and only it is of class 2."""
    ids, key = np.arange(9, dtype=np.int32)[:, None], jax.random.fold_in(jax.random.key(0), 1)
    last = int(np.asarray(jax.random.permutation(key, 9))[-1])
    y = np.where(np.arange(9) == last, 2, 0)
    with pytest.raises(NotFinite) as caught:
        fit(Faulty(9, 2, 3, rngs=nnx.Rngs(0)), (ids, y), epochs=1, batch=4)
    assert caught.value.step == 3
    assert caught.value.fault is not None
    assert caught.value.fault.rule == "log"


def test_an_update_that_overflows_is_told_from_a_rule_that_does():
    """A step of 3e38 is finite as a learning rate; times gradients above 1 it is infinite, and no rule is to blame."""
    model = MLP(4, [], 3, rngs=nnx.Rngs(0))
    with pytest.raises(NotFinite, match="the optimizer's update was not") as caught:
        fit(model, (X * 1e3, Y), epochs=1, batch=50, optimizer="sgd", lr=3e38)
    assert caught.value.fault is not None
    assert caught.value.fault.rule is None
