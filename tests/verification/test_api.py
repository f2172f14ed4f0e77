"""`verify`: what it answers about functions whose derivative is known on paper."""

import json
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from planted.formulas import by_hand

from jaxbackprop import benchmark
from jaxbackprop.gates.sigmoid_like import tanh
from jaxbackprop.verification import VerificationError, assert_verified, audit, table, verify, verify_rules

x = np.array([0.7, -1.2, 0.4])
sine = by_hand(jnp.sin, lambda s, u: (u * jnp.cos(s[0]),))
wrong_sine = by_hand(jnp.sin, lambda s, u: (-u * jnp.cos(s[0]),))


def test_a_right_rule_passes_and_every_check_has_a_name():
    found = verify(sine, x)
    assert found.passed
    assert found.failures == ()
    assert {"forward pass", "gradient of argument 0", "vmap", "second order", "jit"} <= {c.name for c in found.checks}
    assert found.raise_if_failed() is found


def test_a_cause_is_sought_without_a_warning_where_an_argument_is_zero():
    """Warnings are errors here and would end the search; a formula that nothing explains is searched to the end."""
    odd = by_hand(jnp.sin, lambda s, u: (u * (jnp.cos(s[0]) + 0.3 * jnp.exp(s[0])),))
    found = verify(odd, np.array([0.0, 1.0, 2.5]))
    assert found.verdict == "wrong"
    assert "divide by zero" not in str(found)


def test_a_failure_says_which_element_both_values_and_why():
    found = verify(wrong_sine, x)
    assert found.verdict == "wrong"
    assert found.likely_cause == "sign: minus the truth"
    detail = found.failures[0].detail
    pattern = r"argument 0\[\d\]: expected (-?0\.\d+), got (?!\1)-?0\.\d+; wrong: all 3 elements"
    assert re.search(pattern, detail), detail
    with pytest.raises(VerificationError, match="sign: minus the truth"):
        assert_verified(wrong_sine, x)


def test_the_report_fits_a_screen_and_is_html_and_json():
    found = verify(wrong_sine, x)
    assert len(str(found).splitlines()) <= 40
    assert "wrong" in found._repr_html_()
    assert json.loads(found.to_json())["likely_cause"] == "sign: minus the truth"


@pytest.mark.parametrize(("factor", "right"), [(1.0, True), (0.99, False)])
def test_many_digits_judge_where_the_plain_function_overflows(factor: float, right: bool):
    """softplus'(1000) = 1, where autodiff of log(1 + e^x) says not a number; numerical derivatives see no value."""
    stable = by_hand(lambda x: jnp.log(1 + jnp.exp(x)), lambda s, u: (factor * u * jax.nn.sigmoid(s[0]),))
    found = verify(stable, np.array([1000.0]), checks=["gradient"])
    assert found.passed is right
    assert not right or found.checks[0].detail == "decided by many digits"


@pytest.mark.parametrize(("value", "right"), [(-1.01, False), (-1.0, True), (0.0, True), (0.5, True), (1.2, False)])
def test_at_a_kink_anything_between_the_sides_is_right(value: float, right: bool):
    absolute = by_hand(jnp.abs, lambda s, u: (u * jnp.where(s[0] == 0, value, jnp.sign(s[0])),))
    assert verify(absolute, np.zeros(2)).passed is right


def test_errors_planted_in_the_rule_itself_are_found():
    found = verify(tanh, prove=True)
    assert found.passed
    assert next(c for c in found.checks if c.name == "finds planted errors").passed


def test_a_plain_function_needs_a_reference():
    with pytest.raises(TypeError, match="reference="):
        verify(jnp.sin, x)
    assert verify(jax.nn.softmax, x, reference=lambda x: jnp.exp(x) / jnp.exp(x).sum()).passed


def test_a_custom_vjp_needs_arguments():
    with pytest.raises(TypeError, match="give the arguments"):
        verify(sine)


def test_rules_are_verified_by_name():
    found = verify_rules(["mul", "sub"])
    assert [r.name for r in found] == ["mul", "sub"]
    assert "2 rules, 0 not right" in table(found)
    with pytest.raises(ValueError, match="Did you mean"):
        verify_rules(["tanhh"])


def test_a_wrong_element_of_many_is_caught():
    large = by_hand(jnp.square, lambda s, u: (u.at[123_456].multiply(1.01) * 2 * s[0],))
    (found,) = verify(large, np.random.default_rng(0).normal(size=200_000), checks=["gradient"]).checks
    assert found.passed is False
    assert "argument 0[123456]" in found.detail
    assert "that element alone of 200000" in found.detail


def test_in_a_large_array_one_wrong_sign_is_found_and_named():
    """Beyond 100,000 numbers fewer derivatives are taken, but every element is still compared."""
    large = by_hand(jnp.square, lambda s, u: ((2 * u * s[0]).at[7, 301].multiply(-1),))
    found = verify(large, np.random.default_rng(1).normal(size=(330, 330)), checks=["gradient"])
    (gradient,) = (c for c in found.checks if c.name == "gradient of argument 0")
    assert gradient.passed is False
    assert "argument 0[7, 301]" in gradient.detail
    assert "that element alone of 108900" in gradient.detail
    assert "sign" in found.likely_cause


@pytest.mark.parametrize(("at_zero", "verdict"), [(0.0, "right"), (1.5, "wrong")])
def test_in_a_large_array_of_kinks_any_value_between_the_sides_is_right(at_zero: float, verdict: str):
    relu = by_hand(jax.nn.relu, lambda s, u: (u * jnp.where(s[0] == 0, at_zero, s[0] > 0),))
    clipped = np.maximum(np.random.default_rng(2).normal(size=(350, 350)), 0)
    assert verify(relu, clipped, checks=["gradient"]).verdict == verdict


def test_arguments_at_which_the_plain_function_raises_are_named():
    product = by_hand(lambda a, b: a @ b, lambda s, u: (u @ s[1].T, s[0].T @ u))
    with pytest.raises(ValueError, match=r"plain function.*float64\[2, 3\], float64\[2, 3\].*contracting dimensions"):
        verify(product, np.ones((2, 3)), np.ones((2, 3)))


def test_what_is_no_function_is_refused():
    nothing: Any = 3
    for function in (verify, audit):
        with pytest.raises(TypeError, match="3 is no function"):
            function(nothing, x)


def test_a_backward_pass_that_raises_is_one_failure_with_the_whole_message():
    found = verify(by_hand(jnp.sin, lambda s, u: (jnp.ones(4),)), x)
    (only,) = found.checks
    assert found.verdict == "wrong"
    assert only.name == "can be differentiated"
    assert re.search(r"float\d\d\[4\].*float\d\d\[3\]", only.detail)


def test_of_a_leaked_tracer_the_leak_is_the_cause_and_its_exception_is_reported_once():
    held = []

    def forward(a):
        held.append(a)
        return 2 * a, None

    found = verify(by_hand(lambda a: 2 * a, lambda s, u: (2 * u + 0 * held[-1],), forward), x)
    assert found.likely_cause == "a tracer is kept beyond its call"
    assert len({c.detail for c in found.failures}) == len(found.failures)


def test_one_number_of_a_smaller_batch_does_not_decide_on_the_cause():
    """At -1 the wrong derivative is 0 by chance; so it is for a batch of one, which holds nothing else."""
    found = verify(by_hand(jnp.tanh, lambda s, u: (u * (1 - s[0] ** 2),)), np.linspace(-1, 1, 5))
    assert "at the input instead of the output" in found.likely_cause


@pytest.mark.parametrize("rule", [sine, wrong_sine])
def test_where_no_number_is_finite_nothing_was_examined(rule: Any):
    found = verify(rule, np.full(3, np.nan), checks=["forward_pass", "gradient", "precision"])
    assert found.verdict == "not examined"
    assert not found.passed
    assert "nothing was compared" in str(found)


def test_what_was_not_compared_among_finite_numbers_is_named():
    right, wrong = (verify(rule, np.array([1.0, np.nan, 2.0]), checks=["gradient"]) for rule in (sine, wrong_sine))
    assert (right.verdict, wrong.verdict) == ("right", "wrong")
    assert "not compared, as neither is finite there: [1]" in right.checks[0].detail


def test_an_empty_array_is_called_empty():
    found = verify(sine, np.zeros(0, np.float32))
    assert found.verdict == "not examined"
    assert found.notes == ("every floating-point argument is empty (float32[0])",)


def test_arguments_that_make_no_sense_get_an_error_that_says_what_is_expected():
    one: Any = "gradient"
    for function in (verify, audit):
        with pytest.raises(TypeError, match=r"checks must be a list of names, such as checks=\['gradient'\]"):
            function(sine, x, checks=one)
    with pytest.raises(TypeError, match=r"allow must be a list of names"):
        audit(sine, x, allow=one)
    with pytest.raises(ValueError, match="time_limit must be a number of seconds, at least 0, not -1"):
        verify(sine, x, time_limit=-1)
    with pytest.raises(ValueError, match="seconds must be above 0, not -1"):
        benchmark(sine, x, seconds=-1)


def test_a_saturated_function_is_no_step_and_no_identity():
    """At such points the derivative is zero, or the value is the argument, of functions that are neither everywhere."""
    relu = by_hand(jax.nn.relu, lambda s, u: (u,))
    softplus = by_hand(lambda x: jnp.logaddexp(x, 0), lambda s, u: (u * jnp.exp(s[0]) / (1 + jnp.exp(s[0])),))
    for rule, at in ((relu, np.array([-1.0, -2.0])), (softplus, np.array([800.0, 900.0]))):
        found = verify(rule, at, checks=["gradient"])
        assert (found.verdict, found.by_design) == ("wrong", "")


def test_a_kernel_in_blocks_may_refuse_other_sizes_also_where_only_its_backward_pass_does():
    def backward(s, u):
        pairs = s[0].reshape(-1, 2, s[0].shape[1])
        return ((2 * pairs * u.reshape(pairs.shape)).reshape(u.shape),)

    found = verify(by_hand(jnp.square, backward), np.ones((4, 3)), checks=["other_batches", "gradient"])
    assert found.verdict == "right"
    assert "a batch of one is refused" in str(found.notes)
    squeezes = by_hand(jnp.square, lambda s, u: (2 * jnp.squeeze(s[0]) * u.reshape(jnp.squeeze(s[0]).shape),))
    assert verify(squeezes, np.ones((4, 3)), checks=["other_batches"]).verdict == "wrong"
