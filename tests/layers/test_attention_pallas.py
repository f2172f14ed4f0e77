"""Attention by Pallas kernels, interpreted here beside the textbook; and lowered for CUDA and for TPUs."""

from contextlib import nullcontext
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from jaxbackprop.layers import attention

TRITON = export.DisabledSafetyCheck.custom_call("__gpu$xla.gpu.triton")  # lowered here, not to be loaded elsewhere


def value_and_gradients(function, q, k, v, lengths, upstream, **settings):
    def both(q, k, v):
        o, pull = jax.vjp(lambda q, k, v: function(q, k, v, None, lengths, **settings), q, k, v)
        return o, *pull(o if upstream is None else upstream)

    return jax.jit(both)(q, k, v)


@pytest.mark.parametrize(
    ("T", "S", "settings"), [(1, 17, {}), (33, 16, {"causal": True}), (15, 37, {"causal": True, "soft_cap": 1.5})]
)
def test_the_kernels_compute_what_the_textbook_does(T, S, settings):
    """Blocks of 16, lengths on either side of them; the second sequence has no keys."""
    rng = np.random.default_rng(0)
    shapes = (2, T, 4, 3), (2, S, 2, 3), (2, S, 2, 5), (2, T, 4, 5)
    q, k, v, upstream = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes)
    arrays = q, k, v, jnp.array([S - 1, 0]), upstream
    by_kernels = value_and_gradients(attention, *arrays, pallas=True, block=16, **settings)
    textbook = value_and_gradients(attention.primal, *arrays, **settings)
    for one, other in zip(by_kernels, textbook, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
        assert not np.any(one[1])


def on(platform: str):
    """JAX 0.12 wants to know which GPU a kernel is lowered for."""
    if platform == "tpu" or jax.__version_info__ < (0, 11):
        return nullcontext()
    device: Any = partial(jax.sharding.AbstractDevice, platform="gpu")("NVIDIA H100 80GB HBM3", None)
    return jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((), (), abstract_device=device))


@pytest.mark.filterwarnings("ignore:The Pallas Triton backend is deprecated:DeprecationWarning")  # from JAX 0.12 on
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize(("platform", "kernel"), [("cuda", "__gpu$xla.gpu.triton"), ("tpu", "tpu_custom_call")])
def test_both_passes_lower_for_an_accelerator(platform, kernel, dtype):
    q, k = (jax.ShapeDtypeStruct((2, 300, heads, 64), dtype) for heads in (4, 2))
    lengths = jax.ShapeDtypeStruct((2,), jnp.int32)

    @jax.jit
    def both(q, k, v, lengths):
        return value_and_gradients(attention, q, k, v, lengths, None, causal=True, pallas=True)

    with on(platform):
        lowered = export.export(both, platforms=[platform], disabled_checks=[TRITON])(q, k, k, lengths)
    assert lowered.mlir_module().count(f"custom_call @{kernel}") == 3  # the forward pass, dq, dk and dv


@pytest.mark.parametrize(
    ("arguments", "message"), [({"block": 48}, "block is 48"), ({"bias": True}, "there is a bias")]
)
def test_what_the_kernels_do_not_take_is_refused(arguments, message):
    x = jnp.ones((4, 1, 3))
    bias = jnp.ones((1, 4, 4)) if arguments.pop("bias", False) else None
    with pytest.raises(ValueError, match=message):
        attention(x, x, x, bias, pallas=True, **arguments)
