"""One line that makes rules of any two functions makes different rules; one rule mapped, looped or reshaped is one."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from planted.formulas import by_hand

from jaxbackprop.jaxprs.provenance import key
from jaxbackprop.jaxprs.rules import rules_in
from jaxbackprop.verification import audit

x = np.array([0.3, 1.2, -0.7], np.float32)
sine = by_hand(jnp.sin, lambda s, u: (u * jnp.cos(s[0]),))


def keys(fun, *args):
    return {key(eqn) for eqn in rules_in(jax.make_jaxpr(fun)(*args).jaxpr)}


def test_rules_of_one_factory_are_told_apart_by_what_they_compute():
    made = {name: by_hand(f, lambda s, u: (u,)) for name, f in (("sin", jnp.sin), ("exp", jnp.exp))}
    assert len(keys(lambda v: made["sin"](made["exp"](v)), x)) == 2


def test_rules_of_one_factory_are_told_apart_by_their_backward_passes():
    negated = by_hand(jnp.sin, lambda s, u: (-u * jnp.cos(s[0]),))
    assert len(keys(lambda v: negated(sine(v)), x)) == 2
    assert sorted(s.verdict for s in audit(lambda v: negated(sine(v)), x).sites) == ["wrong", "right"]


def test_one_rule_is_one_however_it_is_called():
    def everywhere(v):
        mapped = jax.vmap(sine)(v) + jax.vmap(jax.vmap(sine))(v[None])[0]
        looped = lax.scan(lambda c, row: (c, sine(row)), 0.0, v)[1]
        return mapped + looped + jax.checkpoint(jax.jit(sine))(v) + sine(v[:1]).sum() + sine(v.astype(jnp.float16))

    assert len(keys(everywhere, x)) == 1
