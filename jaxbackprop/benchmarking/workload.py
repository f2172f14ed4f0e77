"""What is compared: one function at its arguments, as the compiled programs of several contenders see it.

Forward and backward in one program, with an upstream gradient drawn at random and passed in, so that nothing of it
can be folded away. Memory and accuracy of a compiled program are measured here; time in `timing`.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..jaxprs.compat import vjp_into_refs
from ..jaxprs.queries import saved_bytes


@dataclass(frozen=True)
class Contender:
    """A function to be measured, and how its gradient is taken."""

    name: str
    function: Callable[..., Any]
    into_refs: bool = False
    checkpoint: bool = False


class Workload:
    """Arguments sorted into those with a gradient, other arrays and static values; and an upstream gradient."""

    def __init__(self, function: Callable[..., Any], args: tuple, *, seed: int = 0):
        self._leaves, self._tree = jax.tree.flatten(args)
        arrays = {i: jnp.asarray(x) for i, x in enumerate(self._leaves) if _is_array(x)}
        self.varied = {i: x for i, x in arrays.items() if jnp.issubdtype(x.dtype, jnp.inexact)}
        self.fixed = {i: x for i, x in arrays.items() if i not in self.varied}
        if not self.varied:
            raise ValueError("benchmark: no argument is a floating-point array, so there is no gradient to measure.")
        self.outputs = jax.eval_shape(lambda v, f: self._values(function, v, f), self.varied, self.fixed)
        rng = np.random.default_rng([seed, zlib.crc32(b"upstream")])  # a seed that no user's data are drawn from
        self.upstream = [jnp.asarray(rng.standard_normal(out.shape), out.dtype) for out in self.outputs]

    @property
    def inputs(self) -> tuple:
        """The arguments of every contender's compiled program."""
        return self.varied, self.fixed, self.upstream

    @property
    def one_sign(self) -> tuple:
        """The same with upstream gradients of one sign: sums grow, and what a narrow accumulator loses shows."""
        return self.varied, self.fixed, [jnp.abs(u) if jnp.isrealobj(u) else u for u in self.upstream]

    @property
    def description(self) -> str:
        """The arguments' dtypes and shapes as text."""
        arrays = self.varied | self.fixed
        return ", ".join(f"{arrays[i].dtype}{list(arrays[i].shape)}" for i in sorted(arrays))

    def _values(self, function: Callable[..., Any], varied: dict, fixed: dict) -> list[jax.Array]:
        """The floating-point outputs of `function`: those an upstream gradient arrives at."""
        leaves = [varied.get(i, fixed.get(i, x)) for i, x in enumerate(self._leaves)]
        outputs = jax.tree.leaves(function(*self._tree.unflatten(leaves)))
        return [out for out in map(jnp.asarray, outputs) if jnp.issubdtype(out.dtype, jnp.inexact)]

    def passes(self, contender: Contender) -> Callable[..., tuple[list, Any]]:
        """(varied, fixed, upstream) -> the outputs and the gradients of the varied arguments."""

        def forward_backward(varied: dict, fixed: dict, upstream: list) -> tuple[list, Any]:
            values, pull = jax.vjp(lambda v: self._values(contender.function, v, fixed), varied)
            if not contender.into_refs:
                return values, pull(upstream)[0]
            refs = jax.tree.map(lambda x: jax.new_ref(jnp.zeros_like(x)), varied)
            vjp_into_refs(pull, refs, upstream)
            return values, jax.tree.map(jax.freeze, refs)

        return forward_backward

    def compile(self, contender: Contender) -> Any:
        """The contender's forward and backward pass as one compiled program of `inputs`.

        Raises:
            ValueError: it returns other shapes or dtypes than the function compared.
        """
        outputs = jax.eval_shape(lambda v, f: self._values(contender.function, v, f), self.varied, self.fixed)
        if [(f.shape, f.dtype) for f in outputs] != [(f.shape, f.dtype) for f in self.outputs]:
            actual, expected = (", ".join(f"{f.dtype}{list(f.shape)}" for f in fs) for fs in (outputs, self.outputs))
            raise ValueError(f"benchmark: {contender.name} returns {actual}, but the function compared {expected}.")
        return jax.jit(self.passes(contender)).lower(*self.inputs).compile()

    def residual_bytes(self, contender: Contender) -> int:
        """What the backward pass keeps of the forward pass, the arguments themselves not counted."""

        def pulled(varied: dict, fixed: dict) -> list:
            return jax.tree.leaves(jax.vjp(lambda v: self._values(contender.function, v, fixed), varied)[1])

        return saved_bytes(jax.make_jaxpr(pulled)(self.varied, self.fixed))

    def oracle(self, plain: Callable[..., Any]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Outputs and gradients of the plain function in float64, at the numbers of `inputs` and of `one_sign`."""
        with jax.enable_x64(True):
            run = jax.jit(self.passes(Contender("float64", plain)))
            at_inputs, at_one_sign = (
                _as_numpy(run(*jax.tree.map(_to_float64, inputs))) for inputs in (self.inputs, self.one_sign)
            )
        return at_inputs, at_one_sign

    def error(self, program: Any, oracle: Sequence[np.ndarray]) -> float:
        """The largest difference from `oracle`, divided by the largest number of the array it occurs in.

        NaN where a number is NaN that should not be, or the other way round.
        """
        actual = _as_numpy(program(*self.inputs))
        return max((_difference(x, ref) for x, ref in zip(actual, oracle, strict=True)), key=_nan_last, default=0.0)

    def ulps(self, program: Any, oracle: Sequence[np.ndarray]) -> float:
        """The largest difference from `oracle`, at upstream gradients of one sign, in units of the type's last place.

        At the size of the number, or of the typical one of its array, where that is larger.
        """
        actual = jax.tree.leaves(program(*self.one_sign))
        return max((_in_ulps(x, ref) for x, ref in zip(actual, oracle, strict=True)), key=_nan_last, default=0.0)


def temporary_bytes(program: Any) -> int:
    """The peak of what a compiled program allocates beside its inputs and outputs."""
    return int(program.memory_analysis().temp_size_in_bytes)


def _is_array(x: Any) -> bool:
    """Arrays and Python floats are traced; other Python values are static, as in the code that calls the function."""
    return isinstance(x, jax.Array | np.ndarray | np.generic | float)


def _to_float64(x: jax.Array) -> jax.Array:
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        return x.astype(jnp.complex128)
    return x.astype(jnp.float64) if jnp.issubdtype(x.dtype, jnp.floating) else x


def _as_numpy(tree: Any) -> list[np.ndarray]:
    def convert(x: jax.Array) -> np.ndarray:
        return np.asarray(x, np.complex128 if jnp.issubdtype(x.dtype, jnp.complexfloating) else np.float64)

    return [convert(x) for x in jax.tree.leaves(tree)]


def _difference(actual: np.ndarray, expected: np.ndarray) -> float:
    same = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
    with np.errstate(invalid="ignore"):
        difference = np.where(same, 0, np.abs(actual - expected))
    finite = np.abs(expected[np.isfinite(expected)])
    scale = finite.max(initial=0)
    return (
        float(difference.max(initial=0) / (scale if scale > 0 else 1))
        if not np.isnan(difference).any()
        else float("nan")
    )


def _in_ulps(actual: jax.Array, expected: np.ndarray) -> float:
    size = np.abs(expected)
    if not size.any():
        return 0.0
    scale = np.maximum(size, np.sqrt(np.mean(size**2)))
    gap = np.abs(np.asarray(actual, expected.dtype) - expected)
    return float(np.max(gap / (float(jnp.finfo(actual.dtype).eps) * scale)))


def _nan_last(x: float) -> tuple[bool, float]:
    return np.isnan(x), x
