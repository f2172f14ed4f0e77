"""Derivatives in many digits: by autodiff's program, and by difference quotients of the plain function."""

import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from jaxbackprop.jaxprs.inputs import Inputs
from jaxbackprop.verification.oracles.many_digits import by_autodiff, by_differences, settled
from jaxbackprop.verification.problem import Problem, handwritten_function


def sinc(x: float) -> Problem:
    return Problem(handwritten_function(jnp.sin, lambda x: jnp.sin(x) / x), Inputs((np.array([x]),)))


def test_they_judge_where_autodiff_cancels():
    """sinc'(x) = -x / 3 near 0: at 1e-30 that is -3.3e-31, and autodiff says 0 or something enormous."""
    assert by_differences(sinc(1e-30), [np.ones(1)], 0, (0,)) == pytest.approx(-1e-30 / 3, rel=1e-12)


def test_autodiffs_program_has_as_many_digits_as_asked_for():
    problem = sinc(1e-10)
    (found,) = by_autodiff(problem, [np.ones(1)]) or [np.nan]
    assert found[0] == pytest.approx(-1e-10 / 3, rel=1e-9)


def test_a_difference_that_has_not_settled_is_not_a_number():
    with mpmath.workdps(60):
        assert settled(mpmath.mpf(2) + mpmath.mpf("1e-20"), mpmath.mpf(2)) == 2.0
        assert np.isnan(settled(mpmath.mpf("1e20"), mpmath.mpf("1e25")))
