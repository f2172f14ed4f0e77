"""Functions that compute each element from the same element of every argument: of very many, a sample can be judged."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .compat import Jaxpr, JaxprEqn, aval, body_of
from .inputs import inexact, replaced

LARGE = 1_000_000
"""From so many numbers on a sample of them is judged: it takes as long and as much memory whatever their count."""

SAMPLED = 100_000
"""So many are judged then."""

RARE = 10_000
"""A fault in one of so many numbers is what the probability of seeing it is given for."""

_PRIMITIVES = frozenset(
    "abs acos acosh add add_any and asin asinh atan atan2 atanh bessel_i0e bessel_i1e cbrt ceil clamp complex conj "
    "convert_element_type copy copy_p cos cosh digamma div eq erf erf_inv erfc exp exp2 expm1 floor ge gt igamma "
    "igammac imag integer_pow is_finite le lgamma log log1p logistic lt max min mul ne neg nextafter not "
    "one_minus_square or pow real reduce_precision rem round rsqrt select_n sign sin sinh sqrt square stop_gradient "
    "sub tan tanh xor zeta".split()
)


def is_elementwise(handwritten: Callable[..., Any], plain: Callable[..., Any], arrays: Sequence[Any]) -> bool:
    """Whether the value and the backward pass of a function, and the plain one, compute each element by itself.

    Args:
        handwritten: of flat arrays.
        plain: the same without its rule.
        arrays: all of one shape but for scalars without a gradient; only shapes and types are looked at.
    """
    forms = [jax.ShapeDtypeStruct(np.shape(x), x.dtype) for x in arrays]
    live = [i for i, x in enumerate(forms) if jnp.issubdtype(x.dtype, jnp.inexact)]
    shapes = {x.shape for i, x in enumerate(forms) if x.shape or i in live}
    if len(shapes) != 1 or not live:
        return False
    (shape,) = shapes

    def pulled(forms: Sequence[Any], upstream: Sequence[Any]) -> Any:
        y, back = jax.vjp(lambda *x: inexact(handwritten(*replaced(forms, live, x))), *(forms[i] for i in live))
        return y, back(list(upstream))

    try:
        value = jax.make_jaxpr(lambda *x: inexact(plain(*x)))(*forms)
        upstream = [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in value.out_avals]
        programs = value.jaxpr, jax.make_jaxpr(pulled)(forms, upstream).jaxpr
    except Exception:  # it is raised again where it is judged
        return False
    return all(v.shape == shape for v in value.out_avals) and all(_alone(program, shape) for program in programs)


def _alone(jaxpr: Jaxpr, shape: tuple[int, ...]) -> bool:
    fits = all(aval(v).shape in ((), shape) for v in (*jaxpr.invars, *jaxpr.outvars))
    return fits and not any(aval(v).shape for v in jaxpr.constvars) and all(_each(eqn, shape) for eqn in jaxpr.eqns)


def _each(eqn: JaxprEqn, shape: tuple[int, ...]) -> bool:
    if (body := body_of(eqn)) is not None:
        return _alone(body[0], shape) and not any(np.shape(x) for x in body[1])
    if eqn.primitive.name in ("broadcast_in_dim", "pvary"):
        return aval(eqn.invars[0]).shape in ((), aval(eqn.outvars[0]).shape)
    return eqn.primitive.name in _PRIMITIVES and all(aval(v).shape in ((), shape) for v in eqn.outvars)


@dataclass(frozen=True)
class Places:
    """The places that stand for all the elements of an elementwise function.

    Attributes:
        chosen: in ascending order.
        count: of how many.
    """

    chosen: np.ndarray
    count: int

    def of(self, x: Any) -> Any:
        """The elements of an array at these places, of as many axes; a scalar as it is."""
        return x.reshape(-1)[self.chosen].reshape((1,) * (np.ndim(x) - 1) + (-1,)) if np.size(x) == self.count else x

    def __str__(self) -> str:
        seen = -math.expm1(-len(self.chosen) / RARE)
        return (
            f"judged at {len(self.chosen):,} of its {self.count:,} numbers, drawn at random: of what is wrong in one "
            f"of {RARE:,} they hold some with a probability of {100 * seen:.3f} %"
        )


def sampled_places(handwritten: Callable, plain: Callable, arrays: Sequence[Any]) -> Places | None:
    """Where an elementwise function of very many numbers is judged; None where all of them are.

    See `is_elementwise` for the arguments.
    """
    count = max((int(np.prod(x.shape)) for x in arrays), default=0)
    if count < LARGE or not is_elementwise(handwritten, plain, arrays):
        return None
    rng = np.random.default_rng(count)
    made = Places(np.sort(rng.choice(np.unique(rng.integers(0, count, 2 * SAMPLED)), SAMPLED, replace=False)), count)
    forms = [jax.eval_shape(made.of, jax.ShapeDtypeStruct(x.shape, x.dtype)) for x in arrays]
    return made if is_elementwise(handwritten, plain, forms) else None
