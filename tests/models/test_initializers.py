"""Initial weights: their spread is the one the papers name."""

import jax
import numpy as np
import pytest

from jaxbackprop.models.initializers import check_unit, he, lecun, weights_before, xavier

KEY = jax.random.key(0)
FAN_IN, FAN_OUT = 400, 600
N = FAN_IN * FAN_OUT


@pytest.mark.parametrize(
    ("draw", "variance"), [(he, 2 / FAN_IN), (lecun, 1 / FAN_IN), (xavier, 2 / (FAN_IN + FAN_OUT))]
)
def test_the_variance_is_the_papers(draw, variance):
    """A uniform number within ±l has variance l^2/3: Xavier's is 2 / (fan_in + fan_out)."""
    W = np.asarray(draw(KEY, FAN_IN, FAN_OUT), np.float64)
    # The relative spread of a variance of N draws is at most sqrt(2 / N); five of them never happen by chance.
    assert W.var() == pytest.approx(variance, rel=5 * (2 / N) ** 0.5)
    assert W.mean() == pytest.approx(0, abs=5 * (variance / N) ** 0.5)


def test_xavier_stays_within_its_limit():
    """CS224n's assignment: ±sqrt(6 / sum of the shape)."""
    W = np.abs(xavier(KEY, 2, 3))
    assert W.max() <= np.sqrt(6 / 5)


@pytest.mark.parametrize(
    ("unit", "draw"), [("tanh", xavier), ("sigmoid", xavier), ("relu", he), ("gelu", he), ("selu", lecun)]
)
def test_each_unit_gets_the_weights_it_wants(unit: str, draw):
    assert np.array_equal(weights_before(unit, KEY, 3, 4), draw(KEY, 3, 4))


def test_a_unit_that_is_none_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"MLP: 'prelu' is not a unit of one input.*relu"):
        check_unit("MLP", "prelu")
