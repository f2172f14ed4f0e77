"""What only kernels get wrong: races between blocks, memory never written."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jax.experimental.pallas import triton as plgpu

from jaxbackprop.verification import verify

X = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)


def plain(x):
    return (x * x).sum(0)


def by_kernel(kernel, **options):
    """Its gradient, 2 x u, by a kernel of `x` and `u`."""
    fun = jax.custom_vjp(plain)

    def backward(x, u):
        out = jax.ShapeDtypeStruct(x.shape, x.dtype)
        call = pl.pallas_call(kernel, out_shape=out, **{"interpret": True, **options})
        return (call(x, jnp.broadcast_to(u, x.shape)),)

    fun.defvjp(lambda x: (plain(x), x), backward)
    return fun


def product(x_ref, u_ref, dx_ref):
    dx_ref[...] = 2 * x_ref[...] * u_ref[...]


def test_a_kernel_for_a_device_is_interpreted_where_there_is_none():
    report = verify(
        by_kernel(product, interpret=False), X, reference=plain, checks=["gradient", "precision", "kernels"]
    )
    assert report.passed, report


def half_of_it_twice(x_ref, u_ref, dx_ref):
    @pl.when(pl.program_id(1) == 0)
    def _():
        dx_ref[...] = jnp.zeros_like(dx_ref)

    dx_ref[...] += x_ref[...] * u_ref[...]


def only_the_first_row(x_ref, u_ref, dx_ref):
    dx_ref[0, :] = 2 * x_ref[0, :] * u_ref[0, :]


ROWS = pl.BlockSpec((4, 3), lambda i, k: (i, 0))
TWICE = {"grid": (2, 2), "in_specs": [ROWS, ROWS], "out_specs": ROWS}


def verified(fun):
    return verify(fun, X, reference=plain, checks=["gradient", "kernels"])


@pytest.mark.parametrize(
    "params", [None, pltpu.CompilerParams(dimension_semantics=("parallel", "arbitrary"))], ids=["none", "in order"]
)
def test_adding_up_over_steps_that_run_in_order_is_right(params):
    report = verified(by_kernel(half_of_it_twice, **TWICE, compiler_params=params))
    assert report.passed, report
    assert report.notes == ()


@pytest.mark.parametrize(
    "params",
    [pltpu.CompilerParams(dimension_semantics=("parallel", "parallel")), plgpu.CompilerParams()],
    ids=["said to be parallel", "on a GPU"],
)
def test_adding_up_over_steps_that_may_run_at_once_is_a_race(params):
    report = verified(by_kernel(half_of_it_twice, **TWICE, compiler_params=params))
    assert report.verdict == "wrong"
    assert report.likely_cause.startswith("a race between blocks")
    assert "block [0, 0]" in report.failures[0].detail
    assert "steps, [0, 0] to [0, 1]" in report.failures[0].detail


def test_steps_that_write_their_own_part_of_a_whole_array_are_no_race():
    """As kernels for a GPU do it."""

    def own_rows(x_ref, u_ref, dx_ref):
        rows = pl.ds(4 * pl.program_id(0), 4)
        dx_ref[rows, :] = 2 * x_ref[rows, :] * u_ref[rows, :]

    assert verified(by_kernel(own_rows, grid=(2,), compiler_params=plgpu.CompilerParams())).passed


def test_a_block_that_is_written_again_after_others_is_noted():
    rows = pl.BlockSpec((4, 3), lambda k, i: (i, 0))

    def kernel(*refs):
        @pl.when(pl.program_id(0) == 1)
        def _():
            product(*refs)

    report = verified(by_kernel(kernel, grid=(2, 2), in_specs=[rows, rows], out_specs=rows))
    assert report.passed, report
    assert "a TPU does not read them back" in report.notes[0]


def test_memory_that_is_never_written_is_found_and_named():
    report = verified(by_kernel(only_the_first_row))
    assert report.verdict == "wrong"
    assert "memory that the kernel never wrote" in report.likely_cause
    assert "the last 7 rows" in report.failures[0].detail
