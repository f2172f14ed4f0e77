"""Programs compiled together."""

import jax
import jax.numpy as jnp
import numpy as np
from planted.formulas import by_hand

import jaxbackprop as jbp


def test_a_precision_that_cannot_be_compiled_hides_no_other():
    """A matrix is not factored in bfloat16: what is lost in float32 is seen all the same."""

    def plain(a):
        return jnp.linalg.cholesky(a @ a.T + jnp.eye(2, dtype=a.dtype))

    def backward(saved, upstream):
        (gradient,) = jax.vjp(plain, *saved)[1](upstream)
        coarse = gradient.astype(jnp.bfloat16) if gradient.dtype == jnp.float32 else gradient
        return (coarse.astype(gradient.dtype),)

    found = jbp.verify(by_hand(plain, backward), np.array([[1.0, 0.3], [-0.2, 0.7]]), checks=["precision"])
    assert {c.name for c in found.failures} == {"float32"}
