"""One backward kernel of the corpus, and the loop over blocks of rows that all of them share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from foreign.entry import Foreign, vjp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from jaxbackprop.verification import verify
from jaxbackprop.verification.report import Verification

Array = Any

CHECKS = ("forward_pass", "gradient", "linear_in_the_upstream", "precision", "other_points", "kernels")
"""The checks that count for training."""

DROPPED, OVERWRITTEN, NARROW, UNMASKED, RACE = (
    "the last partial block is dropped",
    "a sum over blocks keeps the last block alone",
    "a sum over blocks is kept in bfloat16",
    "rows beyond the end are added",
    "blocks are added up by steps that run at once",
)
"""Faults of the loop itself."""


@dataclass(frozen=True)
class Kernel(Foreign):
    """A kernel; of a faulty one what its report must name.

    Attributes:
        outputs: the arguments whose gradient is wrong: one of them is named.
        places: any of these words says where.
    """

    outputs: tuple[str, ...] = ()
    places: tuple[str, ...] = ()

    def verified(self) -> Verification:
        """What `verify` says of it; at other shapes as well, where it passes at the given one."""
        report = verify(self.fun, *self.args, reference=self.reference, checks=CHECKS, **self.options)
        if not report.passed:
            return report
        return verify(self.fun, *self.args, reference=self.reference, checks=(), shapes=True, **self.options)

    def placed(self, report: Verification) -> bool:
        """Whether the report names a wrong output and the place."""
        said = [f"{check.name} {check.detail}" for check in report.failures]
        return any(
            any(f"gradient of {o}" in s or f" {o}[" in s or f"{o}[" in s for o in self.outputs)
            and any(place in s for place in self.places)
            for s in said
        ) or (not self.outputs and any(place in report.likely_cause for place in self.places))


def rows(
    by: str,
    step: Callable[..., tuple[Sequence[Array], Sequence[Array]]],
    block: int,
    arrays: Sequence[Array],
    whole: Sequence[Array] = (),
    outputs: Sequence[jax.ShapeDtypeStruct] = (),
    sums: Sequence[jax.ShapeDtypeStruct] = (),
    fault: str = "",
) -> tuple[list[Array], list[Array]]:
    """`step(start, *blocks, *whole)` for each block of rows, as a loop over chunks or as a Pallas kernel.

    Args:
        by: "chunks" or "pallas".
        step: from the number of the first row, the rows of a block and whole arrays to rows of the outputs, and to
            what the block adds to the sums. Rows beyond the end are zero.
        block: the rows of a block.
        arrays: what is cut into blocks of rows.
        whole: what each block sees as a whole.
        outputs: of each output the shape and type.
        sums: of what is added up over the blocks, likewise.
        fault: one of the loop, or another one, which is not its matter.
    """
    n = arrays[0].shape[0]
    count = n // block if fault == DROPPED else -(-n // block)
    run = _as_chunks if by == "chunks" else _by_pallas
    return run(step, block, n, count, list(arrays), list(whole), list(outputs), list(sums), fault)


def _masked(start: Array, block: int, n: int, x: Array, fault: str) -> Array:
    if fault == UNMASKED:
        return x
    inside = start + jnp.arange(block)[:, None] < n
    return jnp.where(inside, x, jnp.zeros_like(x))


def _as_chunks(step, block, n, count, arrays, whole, outputs, sums, fault):
    fill = {"mode": "edge"} if fault == UNMASKED else {}
    padded = [jnp.pad(x, ((0, max(count * block - n, 0)), (0, 0)), **fill)[: count * block] for x in arrays]
    chunks = [x.reshape(count, block, x.shape[1]) for x in padded]
    kept = jnp.bfloat16 if fault == NARROW else jnp.float32

    def one(added: list[Array], given: Any) -> Any:
        i, chunk = given
        chunk = [_masked(i * block, block, n, x, fault) for x in chunk]
        made, more = step(i * block, *chunk, *whole)
        if fault == OVERWRITTEN:
            return list(more), list(made)
        new = [(a.astype(jnp.float32) + m).astype(a.dtype) for a, m in zip(added, more, strict=True)]
        return new, [m.astype(o.dtype) for m, o in zip(made, outputs, strict=True)]

    start = [jnp.zeros(s.shape, kept) for s in sums]
    added, made = jax.lax.scan(one, start, (jnp.arange(count), chunks))
    laid = [m.reshape(count * block, o.shape[1]) for m, o in zip(made, outputs, strict=True)]
    laid = [jnp.pad(m, ((0, max(n - m.shape[0], 0)), (0, 0)))[:n] for m in laid]
    return (
        [m.astype(o.dtype) for m, o in zip(laid, outputs, strict=True)],
        [a.astype(s.dtype) for a, s in zip(added, sums, strict=True)],
    )


def _by_pallas(step, block, n, count, arrays, whole, outputs, sums, fault):
    kept = jnp.bfloat16 if fault == NARROW else jnp.float32

    def kernel(*refs: Any) -> None:
        ins, wholes = refs[: len(arrays)], refs[len(arrays) : len(arrays) + len(whole)]
        outs, adds = refs[len(refs) - len(outputs) - len(sums) :][: len(outputs)], refs[len(refs) - len(sums) :]
        i = pl.program_id(0)
        given = [_masked(i * block, block, n, r[...], fault) for r in ins]
        made, more = step(i * block, *given, *(r[...] for r in wholes))
        for ref, x in zip(outs, made, strict=True):
            ref[...] = x.astype(ref.dtype)
        if sums:

            @pl.when((i == 0) | (fault == OVERWRITTEN))
            def _() -> None:
                for ref in adds:
                    ref[...] = jnp.zeros_like(ref)

            for ref, x in zip(adds, more, strict=True):
                ref[...] = (ref[...].astype(jnp.float32) + x).astype(ref.dtype)

    def each(shape: tuple[int, ...]) -> pl.BlockSpec:
        return pl.BlockSpec((block, *shape[1:]), lambda i: (i, 0))

    def all_of(shape: tuple[int, ...]) -> pl.BlockSpec:
        return pl.BlockSpec(shape, lambda i: (0,) * len(shape))

    parallel = pltpu.CompilerParams(dimension_semantics=("parallel",)) if fault == RACE else None
    found = pl.pallas_call(
        kernel,
        grid=(count,),
        in_specs=[*(each(x.shape) for x in arrays), *(all_of(x.shape) for x in whole)],
        out_specs=[*(each(o.shape) for o in outputs), *(all_of(s.shape) for s in sums)],
        out_shape=[*outputs, *(jax.ShapeDtypeStruct(s.shape, kept) for s in sums)],
        compiler_params=parallel,
        interpret=True,
    )(*arrays, *whole)
    made, added = found[: len(outputs)], found[len(outputs) :]
    return list(made), [a.astype(s.dtype) for a, s in zip(added, sums, strict=True)]


def like(*arrays: Array) -> list[jax.ShapeDtypeStruct]:
    """Shapes and types of arrays."""
    return [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in arrays]


def f32(*arrays: Array) -> list[Array]:
    """In float32, as a kernel computes."""
    return [x.astype(jnp.float32) if jnp.issubdtype(x.dtype, jnp.floating) else x for x in arrays]


def rule(plain: Callable[..., Array], backward: Callable[..., tuple]) -> Any:
    """A custom_vjp of a plain forward pass: `backward(upstream, *arguments)`."""
    fun = vjp(lambda *args: plain(*args), lambda *args: (plain(*args), args), lambda kept, u: backward(u, *kept))
    fun.__name__ = plain.__name__
    return fun


def normal(*shape: int, seed: int = 0, times: float = 1.0) -> np.ndarray:
    """Normal random numbers in float32."""
    return (times * np.random.default_rng([seed, *shape]).normal(size=shape)).astype(np.float32)
