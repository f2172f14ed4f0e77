"""A program in float64 throughout, whatever types it was traced with, and if need be with rounding noise: two hooks.

The exact program is what the algebra is judged by. The noisy one says what rounding may do to it: the same program
takes a bank of random numbers, and each step that rounds is multiplied by 1 + z times a unit.

Noise can carry a point across a floor, a mask or a tie; such a draw says nothing of rounding. So a noisy program also
answers a checksum of every decision it took (booleans, integers, also those in loops): where it differs from that
without noise, the draw is dropped.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .compat import (
    CALLS,
    LINEAR_CALL,
    LINEAR_SOLVE,
    REMAT,
    RULES,
    ClosedJaxpr,
    Jaxpr,
    JaxprEqn,
    aval,
    binding,
    dtype_of,
    inner_jaxprs,
    linear_body,
    program_of,
)
from .evaluate import Walk, evaluate, kernels_interpreted

BANK = 1021
"""How many random numbers a noisy program is given: a prime, so that no two axes of an array fall in step with it."""

_STRIDE = 389

Scale = tuple[float, float, float]
"""How large the noise is: at every step, at steps the program rounds to a narrow type (in that type's units), and at
constants that are not exact in theirs (likewise)."""


def widened(program: ClosedJaxpr) -> Callable[[Sequence[Any]], list[Any]]:
    """`program` as a function of its flat arguments, every floating-point number in it a float64.

    Of a Pallas kernel the program that interprets it is widened. What looks at how a number is stored, or is opaque,
    keeps the types it was traced with (`AS_TRACED`).
    """

    def exact(args: Sequence[Any]) -> list[Any]:
        return evaluate(program, [_widen(x) for x in args], _Rounding(None, None), lambda value, aval: _widen(value))

    return exact


def noisy(program: ClosedJaxpr) -> Callable[[Sequence[Any], Any, Any], list[Any]]:
    """`widened` with rounding noise: a function of the arguments, a bank (see `banks`) and a `Scale`.

    Its last output is the checksum of the decisions it took.
    """

    def run(args: Sequence[Any], bank: Any, scale: Any) -> list[Any]:
        hook = _Rounding(jnp.concatenate([bank, bank]), scale)
        walk = Walk(hook, state=(0, 0.0))

        def constant(value: Any, aval: Any) -> Any:
            return _widen(value) if _exactly_held(value) else hook.noise(walk, _widen(value), scale[2] * _unit(aval))

        walk.constant = constant
        outputs = walk.run(program.jaxpr, program.consts, [_widen(x) for x in args])
        return [*outputs, jnp.asarray(walk.state[1], np.float64)]

    return run


def banks(rng: np.random.Generator, count: int) -> list[np.ndarray]:
    """Random numbers around 1 and -1: no two of them cancel, as +1 and -1 do in half of all cases."""
    return [rng.uniform(0.5, 1.5, BANK) * rng.choice([-1.0, 1.0], BANK) for _ in range(count)]


def wide_type(dtype: Any) -> Any:
    """float64 for a floating-point type, complex128 for a complex one, else the type itself."""
    if not _inexact(dtype):
        return dtype
    return np.dtype(np.complex128 if jnp.issubdtype(dtype, jnp.complexfloating) else np.float64)


def narrow_types(jaxpr: Jaxpr) -> set[Any]:
    """The floating-point types narrower than float64 that a program computes in."""
    found = set()
    for eqn in jaxpr.eqns:
        for v in eqn.outvars:
            dtype = getattr(v.aval, "dtype", None)
            if dtype is not None and _inexact(dtype) and wide_type(dtype) != dtype:
                found.add(dtype)
        for body in inner_jaxprs(eqn):
            found |= narrow_types(body)
    return found


AS_TRACED = frozenset(
    "bitcast_convert_type nextafter pallas_call pure_callback io_callback ffi_call shard_map "
    "call_hi_primitive call_hi_primitive_linearized "
    "run_state random_bits random_wrap random_unwrap random_seed random_split random_fold_in threefry2x32".split()
)
"""Primitives that keep the types they were traced with: they look at bits, or hold a program of their own types."""

_EXACT = frozenset(
    "neg max min abs sign floor ceil round select_n broadcast_in_dim reshape transpose slice gather dynamic_slice "
    "dynamic_update_slice concatenate pad rev squeeze expand_dims copy copy_p reduce_max reduce_min sort stop_gradient "
    "iota scatter scatter_max scatter_min scatter-max scatter-min clamp is_finite real imag conj complex cummax cummin "
    "split reduce_window_max reduce_window_min top_k optimization_barrier name device_put pvary pcast".split()
)
"""What selects, moves or negates rounds nothing: noise on a maximum would break x == max(x)."""

_SUMS = frozenset(
    "reduce_sum dot_general conv_general_dilated cumsum reduce_window_sum select_and_scatter_add ragged_dot_general "
    "fft psum".split()
)
"""Noise on the result of a sum misses what its terms lose when they cancel: it stands on the terms as well."""

_SCATTERS = {
    "scatter-add": lax.scatter_add,
    "scatter_add": lax.scatter_add,
    "scatter-mul": lax.scatter_mul,
    "scatter_mul": lax.scatter_mul,
    "scatter-min": lax.scatter_min,
    "scatter_min": lax.scatter_min,
    "scatter-max": lax.scatter_max,
    "scatter_max": lax.scatter_max,
}
"""They carry a program of one update, which has a type: they are called anew."""


@dataclass(frozen=True)
class _Rounding:
    """The hook of both programs: widens every equation, and where there is a bank, adds noise and the checksum."""

    bank: Any
    scale: Any

    def __call__(self, walk: Walk, eqn: JaxprEqn, inputs: list[Any]) -> list[Any]:
        outputs = self.outputs(walk, eqn, inputs)
        if self.bank is not None:
            for x in outputs:
                self.count(walk, x)
        return outputs

    def outputs(self, walk: Walk, eqn: JaxprEqn, inputs: list[Any]) -> list[Any]:
        name, params = eqn.primitive.name, eqn.params
        if name in _INSIDE:
            return walk.inside(eqn, inputs)
        if name in (LINEAR_CALL, LINEAR_SOLVE):
            body, given = linear_body(eqn, inputs)
            return walk.run(*body, given)
        if (of_kernel := kernels_interpreted(walk, eqn, inputs)) is not None:
            return of_kernel
        if (program := program_of(eqn.primitive, eqn.params, map(aval, eqn.invars))) is not None:
            return walk.run(program.jaxpr, program.consts, inputs)
        unit = max((_unit(v.aval) for v in eqn.outvars), default=0.0)
        if name == "convert_element_type":
            return [self.converted(walk, eqn, inputs[0])]
        if name == "reduce_precision":
            return [self.rounded(walk, inputs[0], 2.0 ** -(params["mantissa_bits"] + 1))]
        if name in _SUMS:
            inputs = [self.rounded(walk, inputs[0], unit), *inputs[1:]]
        if name in _SCATTERS:
            x, indices, updates = inputs
            adds = "add" in name
            outputs = _SCATTERS[name](
                x,
                indices,
                self.rounded(walk, updates, unit) if adds else updates,
                params["dimension_numbers"],
                indices_are_sorted=params["indices_are_sorted"],
                unique_indices=params["unique_indices"],
                mode=params["mode"],
            )
            return [self.rounded(walk, outputs, unit) if adds or "mul" in name else outputs]
        bound, as_traced = _bound(eqn, inputs)
        outputs = [_widen(x) for x in bound]
        if as_traced and self.bank is not None and unit:  # it did round to its narrow type
            really = jnp.where(self.scale[0] > 0, unit, 0.0)
            return [self.noise(walk, x, really) for x in outputs]
        return outputs if name in _EXACT else [self.rounded(walk, x, unit) for x in outputs]

    def converted(self, walk: Walk, eqn: JaxprEqn, x: Any) -> Any:
        """A change of type: between floating-point types nothing but the rounding of the narrower one."""
        dtype = eqn.params["new_dtype"]
        if not _inexact(dtype) or not _inexact(x.dtype):
            return lax.convert_element_type(x, wide_type(dtype))
        if jnp.iscomplexobj(x) and not jnp.issubdtype(dtype, jnp.complexfloating):
            x = jnp.real(x)  # what JAX's conversion of a complex number to a real type keeps
        wide = x if jnp.iscomplexobj(x) == jnp.issubdtype(dtype, jnp.complexfloating) else x.astype(wide_type(dtype))
        narrowing = jnp.finfo(dtype).eps > jnp.finfo(dtype_of(eqn.invars[0])).eps
        return self.rounded(walk, wide, _unit(eqn.outvars[0].aval)) if narrowing else wide

    def rounded(self, walk: Walk, x: Any, unit: float) -> Any:
        """A result with the noise of one rounding: of float64, and of a narrow type where the program has one."""
        if self.bank is None:
            return x
        return self.noise(walk, x, jnp.maximum(self.scale[0], self.scale[1] * unit) if unit else self.scale[0])

    def noise(self, walk: Walk, x: Any, size: Any) -> Any:
        """`x` times 1 + z times `size`, z from the next place of the bank."""
        if not hasattr(x, "dtype") or not _inexact(x.dtype) or not x.size:
            return x
        at, checksum = walk.state
        at = (at + _STRIDE) % BANK
        walk.state = at, checksum
        count = min(x.size, BANK)
        z = self.bank[at : at + count] if isinstance(at, int) else lax.dynamic_slice(self.bank, (at,), (count,))
        if x.size > BANK:
            z = jnp.broadcast_to(z, (-(-x.size // BANK), BANK)).reshape(-1)[: x.size]
        return x * (1 + z.reshape(x.shape) * size)  # an infinity stays one

    def count(self, walk: Walk, x: Any) -> None:
        """Add a decision to the checksum."""
        if not hasattr(x, "dtype") or _is_extended(x.dtype) or x.dtype.kind not in "biu" or not x.size:
            return
        at, checksum = walk.state
        weights: Any = 1.0
        if x.size <= 4096:  # the golden ratio: no two places weigh alike
            weights = jnp.asarray((np.arange(1, x.size + 1) * 0.6180339887) % 1 + 0.1)
        walk.state = at, checksum + (jnp.ravel(x).astype(np.float64) * weights).sum()


_INSIDE = frozenset({*CALLS, *REMAT, *RULES, "scan", "while", "cond"})


def _bound(eqn: JaxprEqn, inputs: list[Any]) -> tuple[list[Any], bool]:
    """The equation in the types of `inputs`; or, and True, in those it was traced with, where it takes no others."""
    if eqn.primitive.name not in AS_TRACED:
        try:
            return binding(eqn, _wide_params(eqn))(*inputs), False
        except (TypeError, ValueError, NotImplementedError):
            pass
    narrow = [x.astype(dtype_of(v)) if _inexact_array(x) else x for x, v in zip(inputs, eqn.invars, strict=True)]
    return binding(eqn)(*narrow), True


def _wide_params(eqn: JaxprEqn) -> dict[str, Any]:
    """The parameters that name a type or a precision, widened as well."""
    changed = dict(eqn.params)
    for key in ("preferred_element_type", "dtype"):
        if isinstance(changed.get(key), np.dtype) or jnp.issubdtype(changed.get(key) or np.bool_, np.inexact):
            changed[key] = wide_type(changed[key])
    if eqn.primitive.name in ("dot_general", "conv_general_dilated"):
        changed["precision"] = None
    return changed


def _widen(x: Any) -> Any:
    x = x if hasattr(x, "dtype") else np.asarray(x)
    return jnp.asarray(x).astype(wide_type(x.dtype)) if _inexact_array(x) else x


def _inexact_array(x: Any) -> bool:
    return hasattr(x, "dtype") and _inexact(x.dtype)


def _inexact(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.inexact)


def _is_extended(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jax.dtypes.extended)


def _unit(aval: Any) -> float:
    """The unit round-off of a type narrower than float64, else 0."""
    dtype = getattr(aval, "dtype", None)
    if dtype is None or not _inexact(dtype) or wide_type(dtype) == dtype:
        return 0.0
    return float(jnp.finfo(dtype).eps) / 2


def _exactly_held(value: Any) -> bool:
    """Whether a constant is exact in every type: a number of few bits."""
    if not _inexact_array(value := np.asarray(value)) or _is_extended(value.dtype):
        return True
    value = value.astype(wide_type(value.dtype))
    mantissa = np.frexp(value.real)[0] * 64
    return bool(np.all(~np.isfinite(value) | ((mantissa == np.rint(mantissa)) & (value.imag == 0))))
