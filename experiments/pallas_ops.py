"""The kernels with a backward pass in `jax.experimental.pallas.ops.gpu` are right at each length that they take.

Each is interpreted and held against the reference that stands beside it; blocks are small, as the arguments are. What
is found of attention is confirmed without this package: its gradients by `jax.vjp` in float32, beside the reference's.
"""

import sys
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from harness import report_each
from jax.experimental.pallas.ops.gpu import attention, layer_norm, rms_norm

from jaxbackprop.verification import verify

CHECKS = ("forward_pass", "gradient", "linear_in_the_upstream", "precision", "other_points", "kernels")
BLOCKS = attention.BlockSizes(8, 8, 4, 4, 4, 4)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    """Normal random numbers in float32."""
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def mha(q: Any, k: Any, v: Any, *, causal: bool = False) -> Any:
    """JAX's fused attention, in small blocks."""
    return attention.mha(q, k, v, None, 1.0, causal, BLOCKS, interpret=True)


def mha_reference(q: Any, k: Any, v: Any, *, causal: bool = False) -> Any:
    """What stands beside it."""
    return attention.mha_reference(q, k, v, None, causal=causal).astype(q.dtype)


def norm(op: Any, x: Any, weight: Any, bias: Any) -> Any:
    """One of the norms, interpreted."""
    return op(x, weight, bias, interpret=True)


QKV = tuple(normal(1, 8, 2, 3, seed=seed) for seed in range(3))
NORMED = normal(2, 4, 5), normal(5, seed=1) + 1, normal(5, seed=2)

OPS: dict[str, tuple[Any, Any, tuple]] = {
    "attention": (mha, mha_reference, QKV),
    "causal attention": (partial(mha, causal=True), partial(mha_reference, causal=True), QKV),
    "layer norm": (partial(norm, layer_norm.layer_norm), layer_norm.layer_norm_reference, NORMED),
    "RMS norm": (partial(norm, rms_norm.rms_norm), rms_norm.rms_norm_reference, NORMED),
}


def measure(name: str) -> dict[str, Any]:
    """The verdict about one kernel, and of attention the errors at two lengths."""
    fun, reference, args = OPS[name]
    report = verify(fun, *args, reference=reference, checks=CHECKS, shapes=True)
    return {
        "verdict": report.verdict,
        "findings": [f"{check.name}: {check.detail}" for check in report.failures],
        "checks": [f"{check.name}: {check.verdict} {check.detail}".strip() for check in report.checks],
        "notes": list(report.notes),
        "largest errors by jax.vjp": confirmed() if name == "attention" else {},
    }


def confirmed() -> dict[str, dict[str, str]]:
    """At a length that the blocks divide and one that they do not: attention's largest errors."""
    found = {}
    for n in (8, 6):
        q, k, v, u = (normal(1, n, 2, 4, seed=seed) for seed in range(4))
        (y, pull), (expected, pull_expected) = (jax.vjp(f, q, k, v) for f in (mha, mha_reference))
        pairs = zip((y, *pull(jnp.asarray(u))), (expected, *pull_expected(jnp.asarray(u))), strict=True)
        errors = (f"{np.max(np.abs(a - b)):.1e}" for a, b in pairs)
        found[str(n)] = dict(zip(("value", "dq", "dk", "dv"), errors, strict=True))
    return found


def claim(measured: dict[str, Any]) -> None:
    """Each kernel is right at each length that it takes."""
    assert all(row["verdict"] == "right" for row in measured.values())


if __name__ == "__main__":
    sys.exit(report_each(measure, claim, OPS, sys.argv[1:]))
