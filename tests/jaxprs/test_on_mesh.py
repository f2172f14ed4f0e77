"""A function that sums over devices is, over the shards of all of them, an ordinary function."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxbackprop.jaxprs.on_mesh import on_every_device, on_mesh

AXES = {"devices": 2}


def summed(x, scale):
    return scale * lax.psum(x * x, "devices")


@pytest.mark.parametrize("checked", [True, False])
def test_shards_of_all_devices_stand_in_front(checked):
    """With JAX's check of what differs the sum is one number on both devices, and its gradient arrives once."""
    varying = [frozenset(["devices"]), frozenset()] if checked else [frozenset(), frozenset()]
    function = on_mesh(summed, AXES, varying)
    x, scale = np.array([1.0, 2.0], np.float32), np.float32(3)
    given = [on_every_device(v, AXES, differs, checked=checked) for v, differs in zip((x, scale), varying, strict=True)]
    assert [np.shape(v) for v in given] == [(2, 2), () if checked else (2,)]
    (found,) = function(*given)
    np.testing.assert_allclose(found, np.broadcast_to(3 * 2 * x**2, (2, 2)))
    upstream = jnp.array([[1.0, 1.0], [10.0, 10.0]])
    gradients = jax.vjp(lambda *a: function(*a)[0], *given)[1](upstream)
    np.testing.assert_allclose(gradients[0], np.broadcast_to(3 * 2 * x * 11, (2, 2)))
    np.testing.assert_allclose(np.sum(gradients[1]), (11 * 2 * x**2).sum())
