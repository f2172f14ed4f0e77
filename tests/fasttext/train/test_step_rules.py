"""The passes of the compiled training loop are rules that `verify` examines, and a wrong delta in them is found."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import pytest

import jaxbackprop as jbp
from jaxbackprop.fasttext.train import step_rules
from jaxbackprop.losses.logistic import logistic_loss_and_delta

NAMES = ["text_softmax", "text_one_vs_all", "text_logistic"]


def test_the_steps_are_among_the_librarys_rules():
    assert set(NAMES) <= set(jbp.rules())


def scaled(function, position: int):
    """The function with a hundredth more of what it answers at that position."""

    def wrong(*args, **kwargs):
        answer = list(function(*args, **kwargs))
        answer[position] = 1.01 * answer[position]
        return tuple(answer)

    return wrong


@pytest.mark.parametrize(
    ("name", "function", "position"),
    [
        ("text_softmax", "score_deltas", 1),
        ("text_one_vs_all", "score_deltas", 1),
        ("text_one_vs_all", "through_scores", 0),
        ("text_logistic", "logistic_deltas", 1),
    ],
)
def test_a_wrong_delta_in_what_the_loop_calls_is_found(name, function, position, monkeypatch):
    monkeypatch.setattr(step_rules, function, scaled(getattr(step_rules, function), position))
    assert not jbp.verify(jbp.rules()[name], checks=["gradient"]).passed


def test_a_row_that_is_changed_too_far_is_found(monkeypatch):
    """An update that forgets that a row is named twice, or by how much, is a wrong gradient of the table."""
    add: Callable[..., Any] = step_rules.add_to_rows
    monkeypatch.setattr(step_rules, "add_to_rows", lambda *args: add(*args[:-1], 2 * args[-1]))
    assert not jbp.verify(jbp.rules()["text_softmax"], checks=["gradient"]).passed


@pytest.mark.parametrize(("z", "target", "delta"), [(0.0, 1, -0.5), (0.0, 0, 0.5), (100.0, 0, 1.0), (-100.0, 1, -1.0)])
def test_the_logistic_delta_is_the_probability_less_the_target(z, target, delta):
    assert logistic_loss_and_delta(jnp.float32(z), jnp.int32(target))[1] == delta


def test_a_nearly_certain_answer_keeps_the_digits_of_its_delta():
    """sigmoid(20) - 1 is -2.0611537e-9, where single precision has 0 for the difference."""
    assert logistic_loss_and_delta(jnp.float32(20), jnp.int32(1))[1] == pytest.approx(-2.0611536e-9, rel=1e-6)
