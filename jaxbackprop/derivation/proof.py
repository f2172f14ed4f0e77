"""Whether the printed rule and autodiff of the function are the same formulas, decided over finite fields."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..verification.oracles.finite_field import Answer, prove
from .quantities import Program


def proof_of(
    rule: Callable, function: Callable, args: Sequence[Any], program: Program, simplex: Sequence[str]
) -> Answer:
    """Compare value and gradients of the rule with those of the function, for the branches that `args` take.

    Args:
        rule: the derived rule.
        function: the plain function.
        args: where.
        program: the named quantities, which say what is differentiated.
        simplex: names of arguments whose rows sum to 1: their last entry is 1 less the others.
    """
    quantities = [program[key] for key in program.arguments]
    leaves, tree = jax.tree.flatten(tuple(args))
    floats = [k for k, q in enumerate(quantities) if q.dtype == "float"]

    def with_gradients(f: Callable) -> Callable:
        def both(upstream: Any, *given: Any) -> Any:
            full = [_on_simplex(x) if q.name in simplex else x for q, x in zip(quantities, given, strict=True)]

            def of_floats(*xs: Any) -> Any:
                return f(*tree.unflatten(_put(full, floats, xs)))

            value, pull = jax.vjp(of_floats, *(full[k] for k in floats))
            return value, pull(upstream)

        return both

    with jax.enable_x64(True):
        wide = [_wide(x) for x in leaves]
        shapes = jax.eval_shape(function, *tree.unflatten(wide))
        upstream = jax.tree.map(lambda s: jnp.asarray(np.linspace(0.5, 1.5, s.size).reshape(s.shape)), shapes)
        one, other = (jax.make_jaxpr(with_gradients(f))(upstream, *wide) for f in (function, rule))
        return prove(one, other, jax.tree.leaves((upstream, *wide)))


def _wide(x: Any) -> Any:
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return x
    x = np.asarray(x)
    return jnp.asarray(x.astype(np.float64) if jnp.issubdtype(x.dtype, np.floating) else x)


def _put(full: Sequence[Any], places: Sequence[int], values: Sequence[Any]) -> list[Any]:
    out = list(full)
    for k, x in zip(places, values, strict=True):
        out[k] = x
    return out


def _on_simplex(x: Any) -> Any:
    rest = x[..., :-1]
    return jnp.concatenate([rest, 1 - rest.sum(-1, keepdims=True)], -1)
