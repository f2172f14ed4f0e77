"""Each check is broken by a rule wrong on purpose, and no other check is, where that can be; a right rule keeps all."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.experimental import io_callback
from jaxtyping import Array, Float
from planted.formulas import by_hand

from jaxbackprop.core.rule import Rule, WithResiduals
from jaxbackprop.verification import verify
from jaxbackprop.verification.checks.registry import CHECKS

x = np.array([0.7, -1.2, 0.4])
batch = np.arange(12.0).reshape(4, 3) / 7 - 0.6


def _drawn(x: Any) -> Any:
    return x * float(np.random.default_rng().uniform(1, 2))


LARGE_TABLE = jnp.ones(5000)


def _remembers() -> Any:
    """What the backward pass needs is left in a Python attribute, not returned."""
    kept: dict[str, Any] = {}

    def forward(x: Any) -> Any:
        kept["x"] = x
        return jnp.sin(x), ()

    return by_hand(jnp.sin, lambda s, u: (u * jnp.cos(kept["x"]),), forward)


def _logs() -> Any:
    """The forward rule reports to the host, which `jax.checkpoint` refuses."""

    def forward(x: Any) -> Any:
        io_callback(lambda v: None, None, x.sum())
        return jnp.sin(x), (x,)

    return by_hand(jnp.sin, lambda s, u: (u * jnp.cos(s[0]),), forward)


def _leaves_a_tracer() -> Any:
    """A tracer stays in a Python attribute, and nobody reads it."""
    kept: dict[str, Any] = {}

    def forward(x: Any) -> Any:
        kept["x"] = x
        return jnp.sin(x), (x,)

    return by_hand(jnp.sin, lambda s, u: (u * jnp.cos(s[0]),), forward)


def _averages_over_devices(s: Any, u: Any) -> Any:
    return (u * jnp.cos(s[0]) * (1 if jax.sharding.get_abstract_mesh().empty else 0.5),)


def _modes_disagree() -> Any:
    """The forward mode has the wrong sign, the reverse mode is right."""
    sine = jax.custom_jvp(jnp.sin)

    @sine.defjvp
    def sine_forward(p: Any, t: Any) -> Any:
        forward, back = (lambda r, t: -t * jnp.cos(r)), (lambda r, u: u * jnp.cos(r))
        return jnp.sin(p[0]), jax.custom_derivatives.linear_call(forward, back, p[0], t[0])

    return sine


def _truncates(s: Any, u: Any) -> Any:
    """In bfloat16 the gradient is truncated, not rounded: always a little too small."""
    g = u.astype(jnp.float32) * jnp.cos(s[0].astype(jnp.float32))
    bits = lax.bitcast_convert_type(g, jnp.uint32) & jnp.uint32(0xFFFF0000)
    low = lax.bitcast_convert_type(bits, jnp.float32)
    return (low.astype(u.dtype) if u.dtype == jnp.bfloat16 else u * jnp.cos(s[0]),)


def _adds_row_by_row(s: Any, u: Any) -> Any:
    """In the type of the upstream gradient, where autodiff's sum is rounded once."""
    return u, lax.scan(lambda at, row: (at + row, None), jnp.zeros(u.shape[1:], u.dtype), u)[0]


def _ramp(z: Any) -> Any:
    return jnp.maximum(z - 0.375, 0), z


def _two_at_its_kink() -> Rule:
    made = Rule(_ramp, kinks=lambda z: z - 0.375)
    made.backward(lambda z, upstream: upstream * jnp.where(z == 0.375, 2.0, z > 0.375).astype(upstream.dtype))
    return made


def _keeps_too_much(x: Any) -> Any:
    return jnp.sin(x), (x, jnp.ones(4000, x.dtype) * x.sum())


def _silu_that_is_nan_at_infinity(formula: Callable[..., Any]) -> Rule:
    def silu(z: Float[Array, "..."]) -> WithResiduals[Float[Array, "..."]]:
        s = jax.nn.sigmoid(z)
        return z * s, (z, s)

    made = Rule(silu, formula=formula)
    made.backward(lambda residuals, u: residuals[1] * (1 + residuals[0] * (1 - residuals[1])) * u)
    return made


BROKEN: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "forward_pass": (by_hand(jnp.sin, lambda s, u: (u * jnp.cos(s[0]),), lambda x: (jnp.sin(x) + 1e-3, (x,))), (x,)),
    "gradient": (by_hand(jnp.sin, lambda s, u: (-u * jnp.cos(s[0]),)), (x,)),
    "taylor_remainder": (by_hand(jnp.sin, lambda s, u: (1.01 * u * jnp.cos(s[0]),)), (x,)),
    "precision": (by_hand(jnp.sin, lambda s, u: ((u.astype(jnp.float16) * jnp.cos(s[0])).astype(u.dtype),)), (x,)),
    "bias": (by_hand(jnp.sin, _truncates), (x,)),
    "accumulation": (by_hand(lambda x, b: x + b, _adds_row_by_row), (batch, x)),
    "declared_formula": (_silu_that_is_nan_at_infinity(lambda z: 1.01 * z / (1 + np.exp(-z))), (x,)),
    "limits_at_infinity": (_silu_that_is_nan_at_infinity(lambda z: z / (1 + np.exp(-z))), (x,)),
    "linear_in_the_upstream": (by_hand(jnp.sin, lambda s, u: (jnp.clip(u, -0.5, 0.5) * jnp.cos(s[0]),)), (x,)),
    "structure": (by_hand(lambda x: jnp.zeros_like(x), lambda s, u: (0.0,)), (np.array(0.7),)),
    "same_value_when_differentiated": (by_hand(_drawn, lambda s, u: (u,)), (x,)),
    "jit": (by_hand(_drawn, lambda s, u: (u,)), (x,)),
    "vmap": (
        by_hand(lambda x, w: (x * w, w * w), lambda s, u: (u[0] * s[1], u[0] * s[0] + 2 * s[1] * u[1])),
        (x, x + 1),
    ),
    "scan": (_remembers(), (x,)),
    "checkpoint": (_remembers(), (x,)),
    "shard_map": (by_hand(jnp.sin, _averages_over_devices), (x,)),
    "second_order": (by_hand(jnp.sin, lambda s, u: (u * lax.stop_gradient(jnp.cos(s[0])),)), (x,)),
    "adjoint": (_modes_disagree(), (x,)),
    "other_points": (by_hand(jax.nn.sigmoid, lambda s, u: (u * jnp.exp(s[0]) / (1 + jnp.exp(s[0])) ** 2,)), (x,)),
    "other_batches": (by_hand(lambda x: x.mean(0), lambda s, u: (jnp.broadcast_to(u / 4, s[0].shape),)), (batch,)),
    "kinks": (_two_at_its_kink(), (x,)),
    "no_gradient_of_integers": (
        by_hand(lambda x, k: x * k, lambda s, u: (u * s[1], u * s[0])),
        (x, np.arange(1, 1 + x.size)),
    ),
    "nothing_leaks": (_leaves_a_tracer(), (x,)),
}

ALONE = ("vmap shard_map second_order other_points other_batches kinks nothing_leaks no_gradient_of_integers").split()
"""Checks whose wrong rule breaks no other one."""


def broken_by(fun: Callable[..., Any], args: tuple[Any, ...], checks: list[str] | None = None) -> set[str]:
    """The checks that a rule fails; of all, or of those named."""
    return {c.check for c in verify(fun, *args, checks=checks).checks if c.passed is False}


def test_every_check_has_a_rule_that_breaks_it_but_those_that_only_note():
    assert set(CHECKS) - set(BROKEN) == {
        "exercised",
        "memory",
        "shapes",
        "kernels",
    }  # the last two have their own tests


NOTED = {
    "residual memory: keeps": by_hand(jnp.sin, lambda s, u: (u * jnp.cos(s[0]),), _keeps_too_much),
    "nothing leaks: an array of 5000 numbers is closed over": by_hand(
        lambda x: x, lambda s, u: (u + 0 * LARGE_TABLE[0],)
    ),
    "checkpoint: not supported under jax.checkpoint": _logs(),
}


@pytest.mark.parametrize("note", NOTED)
def test_what_a_rule_keeps_or_does_not_support_is_noted_and_no_fault(note: str):
    found = verify(NOTED[note], x)
    assert found.passed
    assert any(n.startswith(note) for n in found.notes), found.notes


@pytest.mark.parametrize("check", BROKEN)
def test_a_check_is_broken_by_a_rule_that_is_wrong_on_purpose(check: str):
    assert broken_by(*BROKEN[check], [check]) == {check}


@pytest.mark.parametrize("check", ALONE)
def test_no_other_check_would_have_found_it(check: str):
    assert broken_by(*BROKEN[check]) == {check}


def test_every_check_is_kept_by_a_right_rule():
    right = by_hand(jnp.sin, lambda s, u: (u * jnp.cos(s[0]),))
    assert verify(right, x).failures == ()


def test_an_argument_whose_gradient_is_always_zero_is_noted():
    unused = by_hand(lambda x, w: jnp.sin(x), lambda s, u: (u * jnp.cos(s[0]), jnp.zeros_like(s[1])))
    found = verify(unused, x, x)
    assert found.passed
    assert any("argument 1 is zero" in note for note in found.notes), found.notes


def test_a_rule_redefined_is_judged_anew():
    """`jax.checkpoint` remembers what it traced: a second backward pass must not be judged by the first."""

    def doubled(x: Any) -> Any:
        return 2 * x, ()

    made = Rule(doubled)
    made.backward(lambda saved, upstream: 3 * upstream)
    assert not verify(made, x).passed
    made.backward(lambda saved, upstream: 2 * upstream)
    verify(made, x).raise_if_failed()


def test_a_rule_may_have_no_kink_at_some_settings():
    made = Rule(_ramp, kinks=lambda z: ())
    made.backward(lambda z, upstream: upstream * (z > 0.375).astype(upstream.dtype))
    assert verify(made, x).passed


ON_TWO_DEVICES = """
import jax, numpy as np
from jaxbackprop.layers import affine
from jaxbackprop.verification import verify
import jax.numpy as jnp

def product(x, w):
    return x * w

careless = jax.custom_vjp(product)
careless.defvjp(lambda x, w: (x * w, (x, w)), lambda s, u: (u * s[1], u * s[0]))

assert jax.device_count() == 2
checks = ["gradient", "shard_map"]
found = verify(affine, checks=checks)
print("affine", found.verdict, *(c.detail for c in found.checks if c.name == "shard map"), sep=": ")
found = verify(careless, np.ones(3), np.ones(3) * 2, checks=checks)
print("careless", found.verdict, *(c.detail for c in found.checks if c.name == "shard map"), sep=": ")
forgets = jax.custom_vjp(product)
twice = lambda u: 2 if jax.typeof(u).manual_axis_type.varying else 1
forgets.defvjp(lambda x, w: (x * w, (x, w)), lambda s, u: (u * s[1] * twice(u), u * s[0]))
found = verify(forgets, np.ones(3), np.ones(3) * 2, checks=checks)
print("forgets", found.verdict, found.failures[0].name, found.failures[0].detail[:24], sep=": ")
"""


def test_on_several_devices_examples_are_split_and_weights_shared():
    """JAX refuses a plain `custom_vjp` an argument that all devices share; a `Rule` sums its gradient over devices."""
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    path = os.pathsep.join([str(Path(__file__).resolve().parents[3]), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", ON_TWO_DEVICES], env={**os.environ, **flags, "PYTHONPATH": path}, text=True,
        capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "affine: right: on 2 devices"
    assert lines[1] == "careless: right: on 2 devices; JAX refuses w shared by them (a Rule sums over them)"
    assert lines[2] == "forgets: wrong: shard map: x, w split over 2 device"
