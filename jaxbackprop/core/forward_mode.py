"""Forward mode for a hand-derived backward pass: `jvp`, `jacfwd`, `hessian` and `linearize` from the one backward pass.

The backward pass B is linear in the upstream gradient, so the forward derivative J is its transpose and need not be
written. A small primitive of our own holds B: evaluated it is J, transposed it is B as it was written.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..jaxprs.compat import (
    CUSTOM_VJP,
    ZERO,
    ClosedJaxpr,
    JaxprEqn,
    binding,
    define_primitive,
    jaxpr_as_fun,
    strong_aval,
)
from ..jaxprs.evaluate import Walk, evaluate


def forward_mode(fun: Callable) -> Callable:
    """`fun`, a `Rule` or a `jax.custom_vjp`, now also usable under forward-mode differentiation.

    Reverse mode still runs the hand-derived backward pass. Arguments that are no floating-point arrays are held fixed;
    keyword arguments are settings.

    >>> import jax, jaxbackprop as jbp
    >>> float(jax.jvp(jbp.forward_mode(jbp.gates.square), (3.0,), (1.0,))[1])
    6.0
    """

    @wraps(fun)
    def usable(*args: Any, **settings: Any) -> Any:
        leaves, tree = jax.tree.flatten(args)
        arrays = [i for i, x in enumerate(leaves) if _is_array(x)]
        live = [i for i in arrays if jnp.issubdtype(jnp.result_type(leaves[i]), jnp.inexact)]

        def call(floats: Sequence[Any], others: Sequence[Any]) -> Any:
            filled = list(leaves)
            for i, x in zip(live, floats, strict=True):
                filled[i] = x
            for i, x in zip([i for i in arrays if i not in live], others, strict=True):
                filled[i] = x
            return fun(*tree.unflatten(filled), **settings)

        floats = [jnp.asarray(leaves[i]) for i in live]
        others = [leaves[i] for i in arrays if i not in live]
        return _with_jvp(call)(floats, others)

    return usable


def _is_array(x: Any) -> bool:
    return isinstance(x, jax.Array | float | complex) or hasattr(x, "__array__")


def _with_jvp(call: Callable[[Sequence[Any], Sequence[Any]], Any]) -> Callable:
    """`call(floats, others)` with a forward derivative in `floats`, from its own reverse one."""
    flat = jax.custom_jvp(lambda floats, others: call(floats, others))

    @flat.defjvp
    def tangent(primals: Any, tangents: Any) -> Any:
        (floats, others), (moving, _) = primals, tangents
        (outputs, rest), back = _forward(call, floats, others)
        saved, how = jax.tree.flatten(back)

        def backward(*operands: Any) -> list[Any]:
            upstream = [_float0_like(r) for r in rest]
            pull = jax.tree.unflatten(how, operands[: len(saved)])
            return jax.tree.leaves(pull((list(operands[len(saved) :]), upstream)))

        program = jax.make_jaxpr(backward)(*saved, *outputs)
        moved = pushforward_p.bind(*saved, *moving, program=program, count=len(saved))
        call_shape = jax.eval_shape(call, floats, others)
        structure = jax.tree.structure(call_shape)
        return _join(structure, call_shape, outputs, rest), _join(
            structure, call_shape, moved, [_float0_like(r) for r in rest]
        )

    return flat


def _forward(call: Callable[[Sequence[Any], Sequence[Any]], Any], floats: Any, others: Any) -> tuple[Any, Any]:
    """Outputs and VJP of `call`, a pytree of what it saved; both have a forward derivative themselves.

    A forward pass often calls its own function, or another one with a rule. Differentiated again, as for a Hessian,
    that call needs a forward mode too.
    """

    def with_vjp(floats: Any, others: Any) -> tuple[Any, Any]:
        return jax.vjp(lambda floats: _inexact_first(call(floats, others)), floats)

    program, shapes = jax.make_jaxpr(with_vjp, return_shape=True)(floats, others)
    found = evaluate(program, jax.tree.leaves((floats, others)), _with_forward_mode)
    return jax.tree.unflatten(jax.tree.structure(shapes), found)


def _with_forward_mode(walk: Walk, eqn: JaxprEqn, inputs: list[Any]) -> list[Any] | None:
    """The hook that gives each rule of a program a forward mode."""
    if eqn.primitive.name not in CUSTOM_VJP:
        return None
    live = [i for i, x in enumerate(inputs) if _inexact(jnp.asarray(x))]
    fixed = [i for i in range(len(inputs)) if i not in live]

    def call(floats: Sequence[Any], others: Sequence[Any]) -> Any:
        given = dict(zip([*live, *fixed], [*floats, *others], strict=True))
        return binding(eqn)(*(given[i] for i in range(len(inputs))))

    return _with_jvp(call)([inputs[i] for i in live], [inputs[i] for i in fixed])


def _inexact_first(value: Any) -> tuple[list[Any], list[Any]]:
    leaves = [jnp.asarray(x) for x in jax.tree.leaves(value)]
    return [x for x in leaves if _inexact(x)], [x for x in leaves if not _inexact(x)]


def _inexact(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jnp.inexact)


def _join(structure: Any, forms: Any, floats: Sequence[Any], rest: Sequence[Any]) -> Any:
    one, other = iter(floats), iter(rest)
    return structure.unflatten(next(one) if _inexact(f) else next(other) for f in jax.tree.leaves(forms))


def _float0_like(x: Any) -> Any:
    return np.zeros(jnp.shape(x), jax.dtypes.float0)


def _backward(program: ClosedJaxpr, saved: Sequence[Any]) -> Callable[[Sequence[Any]], list[Any]]:
    """B at what was saved, as a function of the upstream gradients."""
    run = jaxpr_as_fun(program)
    return lambda upstream: list(run(*saved, *upstream))


def _pushforward(*operands: Any, program: ClosedJaxpr, count: int) -> list[Any]:
    """J v: the transpose of B, which is linear, applied to the tangents v."""
    saved, moving = operands[:count], operands[count:]
    zeros = [jnp.zeros(v.shape, v.dtype) for v in program.in_avals[count:]]
    _, transposed = jax.vjp(_backward(program, saved), zeros)
    (out,) = transposed([v.astype(a.dtype) for v, a in zip(moving, program.out_avals, strict=True)])
    return list(out)


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], *, program: ClosedJaxpr, count: int) -> Any:
    """J v is linear in v, and depends on what was saved as `_pushforward` says."""
    out = pushforward_p.bind(*primals, program=program, count=count)
    moving = [jnp.zeros_like(x) if t is ZERO else t for x, t in zip(primals[count:], tangents[count:], strict=True)]
    change = pushforward_p.bind(*primals[:count], *moving, program=program, count=count)
    varying = [i for i in range(count) if tangents[i] is not ZERO and _inexact(primals[i])]
    if varying:

        def of_saved(*values: Any) -> list[Any]:
            operands = list(primals)
            for i, x in zip(varying, values, strict=True):
                operands[i] = x
            return _pushforward(*operands, program=program, count=count)

        _, also = jax.jvp(of_saved, [primals[i] for i in varying], [tangents[i] for i in varying])
        change = [a + b for a, b in zip(change, also, strict=True)]
    return out, change


def _transpose(upstream: Sequence[Any], *operands: Any, program: ClosedJaxpr, count: int) -> list[Any]:
    """Transposed, J is B: the backward pass as it was written."""
    forms = program.in_avals[count:]
    filled = [jnp.zeros(a.shape, a.dtype) if u is ZERO else u for u, a in zip(upstream, forms, strict=True)]
    return [None] * count + _backward(program, operands[:count])(filled)


def _batch(operands: Sequence[Any], axes: Sequence[Any], *, program: ClosedJaxpr, count: int) -> Any:
    """Mapped, B is mapped: over the saved arrays that are, and over every upstream gradient."""
    unmapped = None
    size = next(x.shape[a] for x, a in zip(operands, axes, strict=True) if a is not unmapped)
    moved = [x if a is unmapped else jnp.moveaxis(x, a, 0) for x, a in zip(operands, axes, strict=True)]
    saved, moving = moved[:count], moved[count:]
    moving = [
        jnp.broadcast_to(x, (size, *jnp.shape(x))) if a is unmapped else x
        for x, a in zip(moving, axes[count:], strict=True)
    ]
    saved_axes = [None if a is unmapped else 0 for a in axes[:count]]
    upstream = [jax.ShapeDtypeStruct((size, *v.shape), v.dtype) for v in program.in_avals[count:]]
    run = jaxpr_as_fun(program)
    mapped = jax.vmap(lambda *a: run(*a), (*saved_axes, *[0] * len(upstream)), axis_size=size)
    wider = jax.make_jaxpr(mapped)(*saved, *upstream)
    out = pushforward_p.bind(*saved, *moving, program=wider, count=count)
    return out, [0] * len(out)


pushforward_p = define_primitive(
    "hand_derived_pushforward",
    _pushforward,
    shapes=lambda *_, program, count: [strong_aval(v) for v in program.in_avals[count:]],
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
)
"""Operands: what B saved, then tangents of the inputs. Results: tangents of the outputs."""
