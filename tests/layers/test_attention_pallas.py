"""Attention by Pallas kernels, interpreted here beside the textbook; and lowered for CUDA and for TPUs."""

from contextlib import nullcontext

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from jaxbackprop.layers import attention

TRITON = export.DisabledSafetyCheck.custom_call("__gpu$xla.gpu.triton")  # lowered here, not to be loaded elsewhere


def value_and_gradients(arrays, lengths, upstream, **settings):
    def both(*arrays):
        o, pull = jax.vjp(lambda *a: attention(*a, None, lengths, **settings), *arrays)
        return o, *pull(upstream)

    return jax.jit(both)(*arrays)


@pytest.mark.parametrize(
    ("T", "S", "settings"), [(1, 17, {}), (33, 16, {"causal": True}), (15, 37, {"causal": True, "soft_cap": 1.5})]
)
def test_the_kernels_compute_what_the_textbook_does(T, S, settings):
    """Blocks of 16, lengths on either side of them; the second sequence has no keys."""
    rng = np.random.default_rng(0)
    shapes = (2, T, 4, 3), (2, S, 2, 3), (2, S, 2, 5), (2, T, 4, 5)
    *arrays, upstream = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes)
    lengths = jnp.array([S - 1, 0])
    by_kernels = value_and_gradients(arrays, lengths, upstream, pallas=True, block=16, **settings)

    def textbook(*arrays):
        return attention.primal(*arrays, None, lengths, **settings)

    o, pull = jax.vjp(textbook, *arrays)
    for one, other in zip(by_kernels, (o, *pull(upstream)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
        assert not np.any(one[1])


def on(platform: str):
    """Where JAX asks which GPU a kernel is lowered for, an abstract one."""
    if platform == "tpu" or not hasattr(jax.sharding, "AbstractDevice"):
        return nullcontext()
    try:
        device = jax.sharding.AbstractDevice(device_kind="NVIDIA H100 80GB HBM3", num_cores=None, platform="gpu")
    except TypeError:
        return nullcontext()
    return jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((), (), abstract_device=device))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize(("platform", "kernel"), [("cuda", "__gpu$xla.gpu.triton"), ("tpu", "tpu_custom_call")])
def test_both_passes_lower_for_an_accelerator(platform, kernel, dtype):
    q, k = (jax.ShapeDtypeStruct((2, 300, heads, 64), dtype) for heads in (4, 2))
    lengths = jax.ShapeDtypeStruct((2,), jnp.int32)

    @jax.jit
    def both(q, k, v, lengths):
        o, pull = jax.vjp(lambda *a: attention(*a, None, lengths, causal=True, pallas=True), q, k, v)
        return o, *pull(o)

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
