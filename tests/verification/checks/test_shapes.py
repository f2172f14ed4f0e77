"""`shapes=`: lengths that a kernel gets wrong are faults, those that it refuses are preconditions."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import pallas as pl
from jaxtyping import Array, Float

from jaxbackprop.verification import verify

CHECKS = ["gradient"]


def silu_kernel(z_ref, a_ref):
    z = z_ref[...].astype(jnp.float32)
    a_ref[...] = (z * jax.nn.sigmoid(z)).astype(a_ref.dtype)


def silu_backward_kernel(z_ref, upstream_ref, dz_ref):
    z = z_ref[...].astype(jnp.float32)
    s = jax.nn.sigmoid(z)
    dz_ref[...] = (upstream_ref[...] * (s + z * s * (1 - s))).astype(dz_ref.dtype)


def in_blocks(kernel, blocks, *arrays, rows=4):
    out = jax.ShapeDtypeStruct(arrays[0].shape, arrays[0].dtype)
    spec = pl.BlockSpec((rows, out.shape[1]), lambda i: (i, 0))
    return pl.pallas_call(
        kernel,
        grid=(blocks(out.shape[0], rows),),
        in_specs=[spec] * len(arrays),
        out_specs=spec,
        out_shape=out,
        interpret=True,
    )(*arrays)


def exactly(n, rows):
    assert n % rows == 0, f"{n} rows are not a multiple of {rows}"
    return n // rows


def silu(blocks):
    forward = partial(in_blocks, silu_kernel, pl.cdiv)
    fun = jax.custom_vjp(forward)
    fun.defvjp(lambda z: (forward(z), z), lambda z, u: (in_blocks(silu_backward_kernel, blocks, z, u),))
    return fun


def plain_silu(z: Float[Array, "T D"]) -> Float[Array, "T D"]:
    return jax.nn.silu(z)


Z = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)


def result(report, name):
    return next(check for check in report.checks if check.name == name)


def test_a_kernel_that_takes_every_length_is_right_at_each_in_float32_as_it_computes():
    report = verify(silu(pl.cdiv), Z, reference=plain_silu, checks=[*CHECKS, "precision"], shapes=True)
    assert report.passed, report
    assert result(report, "shapes: T").detail == "right at T = 1, 3, 4, 5, 13 (in blocks of 4); 0 is refused"
    assert result(report, "shapes: D").detail == "right at D = 1, 4, 6; 0 is refused"


def test_a_length_that_is_refused_is_a_precondition():
    report = verify(silu(exactly), Z, reference=plain_silu, checks=CHECKS, shapes={"T": [1, 4, 12, 13]})
    assert report.passed, report
    (note,) = report.notes
    assert note.startswith("shapes: T must be a multiple of 4: AssertionError: 13 rows are not a multiple of 4")


def test_a_partial_block_that_is_left_out_is_found_and_placed():
    fun = silu(lambda n, rows: n // rows)
    assert verify(fun, Z, reference=plain_silu, checks=CHECKS).passed
    report = verify(fun, Z, reference=plain_silu, checks=CHECKS, shapes=True)
    assert report.verdict == "wrong"
    assert report.failures[0].name == "shapes: T"
    assert "at 5 (in blocks of 4)" in report.failures[0].detail
    assert "the last, partial block of T" in report.failures[0].detail
    assert report.likely_cause.startswith("memory that the kernel never wrote")
    assert report.failures[0].again.endswith("""checks=["shapes"], shapes={'T': [5]})""")
    assert "    ...\n    ###\n" in str(report)
    assert "<pre>" in report._repr_html_()


def test_a_loop_over_chunks_has_blocks_too():
    """Column sums in chunks of four: what does not fill a chunk is forgotten on the way back."""

    def backward(x, u):
        whole = x.shape[0] // 4 * 4
        _, rows = jax.lax.scan(lambda _, x: (0, jnp.cos(x) * u), 0, x[:whole].reshape(-1, 4, 3))
        return (jnp.zeros_like(x).at[:whole].set(rows.reshape(-1, 3)),)

    plain = lambda x: jnp.sin(x).sum(0)  # noqa: E731
    fun = jax.custom_vjp(plain)
    fun.defvjp(lambda x: (plain(x), x), backward)
    report = verify(fun, Z, reference=plain, checks=CHECKS, shapes=True)
    assert report.failures[0].name == "shapes: axis 0 of x"
    assert report.failures[0].detail.startswith("at 5 ")
    assert "the last, partial block of rows" in report.failures[0].detail


def test_axes_of_a_table_and_of_its_indices_are_moved_apart_and_indices_stay_inside():
    def plain(table, ids):
        return table[ids].sum(0)

    fun = jax.custom_vjp(plain)
    fun.defvjp(
        lambda table, ids: (plain(table, ids), (table, ids)),
        lambda kept, u: (jnp.zeros_like(kept[0]).at[kept[1]].add(u), None),
    )
    report = verify(fun, Z[:5], np.array([0, 3, 4, 4]), reference=plain, checks=CHECKS, shapes=True)
    assert report.passed, report
    assert [c.name for c in report.checks if c.check == "shapes"] == [
        "shapes: axis 0 of table",
        "shapes: axis 1 of table",
        "shapes: axis 0 of ids",
    ]


def test_an_axis_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(ValueError, match="no axis called 'S'"):
        verify(silu(pl.cdiv), Z, reference=plain_silu, checks=CHECKS, shapes={"S": [1]})
