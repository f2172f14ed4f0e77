"""A reference interpreter: evaluates a jaxpr in NumPy, in the numbers of an `arithmetic`, compiling nothing.

Verification runs hundreds of small programs once each; compiling them would take most of its time. A hand-derived
rule met on the way is read as its plain function. A primitive that NumPy has no word for is handed to JAX.
"""

import itertools
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import jax
import jax.numpy as jnp
import numpy as np

from ..compat import CALLS, REMAT, RULES, ClosedJaxpr, Jaxpr, JaxprEqn, Literal, aval, body_of, closed, inner_jaxprs
from ..inputs import is_key
from .arithmetic import Digits, Float64, Written
from .primitives import ELEMENTWISE, IDENTITIES, TABLE

Arithmetic = Written | Float64 | Digits

WRITTEN = Written()
FLOAT64 = Float64()


def evaluate(program: ClosedJaxpr, args: Sequence[Any], arithmetic: Arithmetic = WRITTEN) -> list[Any]:
    """The outputs of `program` at the flat `args`, as NumPy arrays (random keys as JAX arrays).

    Raises:
        NotImplementedError: a primitive that cannot be evaluated in many digits.
    """
    with np.errstate(all="ignore"):
        given = [
            x if is_key(x) else arithmetic.result(arithmetic.lift(x), aval(v).dtype)
            for x, v in zip(args, program.jaxpr.invars, strict=True)
        ]
        return _run(program.jaxpr, program.consts, given, arithmetic)


def _lift(x: Any, arithmetic: Arithmetic) -> Any:
    return x if is_key(x) else arithmetic.lift(x)


def _run(jaxpr: Jaxpr, consts: Sequence[Any], args: Sequence[Any], arithmetic: Arithmetic) -> list[Any]:
    known: dict[Any, Any] = {}

    def at(atom: Any) -> Any:
        return _lift(np.asarray(atom.val, aval(atom).dtype), arithmetic) if isinstance(atom, Literal) else known[atom]

    known.update(zip(jaxpr.constvars, (_lift(c, arithmetic) for c in consts), strict=True))
    known.update(zip(jaxpr.invars, args, strict=True))
    last, types = _plan(jaxpr)
    for i, eqn in enumerate(jaxpr.eqns):
        outputs = _equation(eqn, [at(v) for v in eqn.invars], arithmetic, types[i])
        known.update(zip(eqn.outvars, outputs, strict=True))
        for v in last.get(i, ()):
            known.pop(v, None)
    return [at(v) for v in jaxpr.outvars]


_PLANS: WeakKeyDictionary[Jaxpr, tuple[dict[int, list[Any]], list[Any]]] = WeakKeyDictionary()


def _plan(jaxpr: Jaxpr) -> tuple[dict[int, list[Any]], list[Any]]:
    """The last uses of variables, and for each equation the types of its outputs; None where keys are among them."""
    if jaxpr not in _PLANS:
        types = [
            None if any(_is_key_type(v) for v in (*eqn.invars, *eqn.outvars)) else [aval(v).dtype for v in eqn.outvars]
            for eqn in jaxpr.eqns
        ]
        _PLANS[jaxpr] = _last_uses(jaxpr), types
    return _PLANS[jaxpr]


def _last_uses(jaxpr: Jaxpr) -> dict[int, list[Any]]:
    """After which equation a variable is not needed any more: values of large programs are let go."""
    seen = {v for v in jaxpr.outvars if not isinstance(v, Literal)}
    last: dict[int, list[Any]] = {}
    for i in reversed(range(len(jaxpr.eqns))):
        for v in jaxpr.eqns[i].invars:
            if not isinstance(v, Literal) and v not in seen:
                seen.add(v)
                last.setdefault(i, []).append(v)
    return last


def _equation(eqn: JaxprEqn, args: list[Any], arithmetic: Arithmetic, types: list[Any] | None) -> list[Any]:
    name, params = eqn.primitive.name, eqn.params
    if name in _NESTED:
        return _NESTED[name](eqn, args, arithmetic)
    if types is None:
        return _by_jax(eqn, args, arithmetic)
    if name in IDENTITIES:
        found: Any = args
    elif name == "convert_element_type":
        found = [_convert(args[0], types[0])]
    elif name in ELEMENTWISE:
        found = [ELEMENTWISE[name](*args)]
    elif name in arithmetic.functions:
        keywords = {k: params[k] for k in ("y", "rounding_method") if k in params}
        found = [arithmetic.apply(arithmetic.functions[name], tuple(args), keywords)]
    elif name in TABLE:
        found = TABLE[name](params, *args)
        found = found if isinstance(found, list) else [found]
    else:
        return _by_jax(eqn, args, arithmetic)
    found = arithmetic.rounded(name, found)
    return [arithmetic.result(x, dtype) for x, dtype in zip(found, types, strict=True)]


def _is_key_type(v: Any) -> bool:
    return jnp.issubdtype(aval(v).dtype, jax.dtypes.prng_key)


def _convert(x: Any, dtype: Any) -> Any:
    """Floating to integer rounds towards zero and saturates; all else is a plain cast, left to `result`."""
    x = np.asarray(x)
    if x.dtype != object and jnp.issubdtype(x.dtype, jnp.floating) and jnp.issubdtype(dtype, jnp.integer):
        limits = np.iinfo(dtype)
        return np.clip(np.nan_to_num(x.astype(np.float64)), limits.min, limits.max)
    return x


def _by_jax(eqn: JaxprEqn, args: list[Any], arithmetic: Arithmetic) -> list[Any]:
    """The equation itself, run by JAX: on the values as they are, or else in the types the program says."""
    if isinstance(arithmetic, Digits) and any(getattr(x, "dtype", None) == np.dtype(object) for x in args):
        raise NotImplementedError(f"{eqn.primitive.name} in many digits")
    with jax.enable_x64(True):
        params = eqn.primitive.get_bind_params(eqn.params)
        as_written = [x if is_key(x) else jnp.asarray(x, aval(v).dtype) for x, v in zip(args, eqn.invars, strict=True)]
        found = None
        # A primitive that holds a program takes the types of that program alone.
        if isinstance(arithmetic, Float64) and eqn.primitive.name not in _BITS and not inner_jaxprs(eqn):
            try:
                given = [x if is_key(x) else jnp.asarray(x) for x in args]
                found = eqn.primitive.bind(*given, **_unrounded(params))
            except (TypeError, ValueError, NotImplementedError):
                found = None  # it takes no other types than those it was written with
        if found is None:
            found = eqn.primitive.bind(*as_written, **params)
    found = found if eqn.primitive.multiple_results else [found]
    return [x if is_key(x) else arithmetic.result(x, aval(v).dtype) for x, v in zip(found, eqn.outvars, strict=True)]


def _unrounded(params: dict[str, Any]) -> dict[str, Any]:
    """A product that is asked to round its result is asked not to."""
    asked = params.get("preferred_element_type")
    if asked is None or not jnp.issubdtype(asked, jnp.floating):
        return params
    return {**params, "preferred_element_type": np.dtype(np.float64)}


_BITS = frozenset({"bitcast_convert_type", "nextafter"})
"""Primitives that look at how a number is stored: only right in the type the program says."""


def _call(eqn: JaxprEqn, args: list[Any], arithmetic: Arithmetic) -> list[Any]:
    body = body_of(eqn) or closed(eqn.params["jaxpr"])  # a shard_map's, here the whole arrays'
    return _run(*body, args, arithmetic)


def _rule(eqn: JaxprEqn, args: list[Any], arithmetic: Arithmetic) -> list[Any]:
    arithmetic.saw(eqn, args)
    return _call(eqn, args, arithmetic)


def _scan(eqn: JaxprEqn, args: list[Any], arithmetic: Arithmetic) -> list[Any]:
    leapt = arithmetic.leap(eqn, args, 0)
    if leapt is not None:
        return leapt
    p, (body, consts) = eqn.params, closed(eqn.params["jaxpr"])
    fixed, carried = scan_counts(eqn)
    constants, carry, xs = args[:fixed], args[fixed : fixed + carried], args[fixed + carried :]
    rows: list[list[Any]] = []
    order = range(p["length"])
    for i in reversed(order) if p["reverse"] else order:
        out = _run(body, consts, [*constants, *carry, *(x[i] for x in xs)], arithmetic)
        carry = out[:carried]
        rows.append(out[carried:])
    if p["reverse"]:
        rows.reverse()
    stacked = [_stack([row[k] for row in rows], aval(v), arithmetic) for k, v in enumerate(eqn.outvars[carried:])]
    return [*carry, *stacked]


def _stack(rows: list[Any], aval: Any, arithmetic: Arithmetic) -> Any:
    if _is_key_type_of(aval):
        return jnp.stack(rows)
    return np.stack(rows) if rows else arithmetic.result(np.zeros(aval.shape), aval.dtype)


def _is_key_type_of(aval: Any) -> bool:
    return jnp.issubdtype(aval.dtype, jax.dtypes.prng_key)


def scan_counts(eqn: JaxprEqn) -> tuple[int, int]:
    """How many constants and carries a scan has, from the ranks alone: releases of JAX name them differently.

    What is scanned over has one axis more outside the body than in it; constants and carries have the same.
    """
    body, _ = closed(eqn.params["jaxpr"])
    carried = sum(aval(v).ndim == aval(w).ndim for v, w in zip(eqn.outvars, body.outvars, strict=True))
    same = sum(aval(v).ndim == aval(w).ndim for v, w in zip(eqn.invars, body.invars, strict=True))
    return same - carried, carried


def _while(eqn: JaxprEqn, args: list[Any], arithmetic: Arithmetic) -> list[Any]:
    p = eqn.params
    n, m = p["cond_nconsts"], p["body_nconsts"]
    for_cond, for_body, carry = args[:n], args[n : n + m], args[n + m :]
    cond, body = closed(p["cond_jaxpr"]), closed(p["body_jaxpr"])
    for done in itertools.count():
        leapt = arithmetic.leap(eqn, [*args[: n + m], *carry], done)
        if leapt is not None:
            return leapt
        going = np.asarray(_run(*cond, [*for_cond, *carry], arithmetic)[0]).astype(bool)
        if not going.any():
            break
        new = _run(*body, [*for_body, *carry], arithmetic)
        # Under vmap the condition has the mapped axes, in front: what has ended there stays as it is.
        carry = [n if going.all() else _chosen(going, n, old) for n, old in zip(new, carry, strict=True)]
    return carry


def _chosen(going: Any, new: Any, old: Any) -> Any:
    where = going.reshape(going.shape + (1,) * (np.ndim(new) - going.ndim))
    return jnp.where(where, new, old) if is_key(new) else np.where(where, new, old)


def _cond(eqn: JaxprEqn, args: list[Any], arithmetic: Arithmetic) -> list[Any]:
    branches = eqn.params["branches"]
    which = min(max(int(args[0]), 0), len(branches) - 1)
    return _run(*closed(branches[which]), args[1:], arithmetic)


_NESTED = {
    **dict.fromkeys((*CALLS, *REMAT), _call),
    **dict.fromkeys(RULES, _rule),
    "shard_map": _call,
    "scan": _scan,
    "while": _while,
    "cond": _cond,
}
