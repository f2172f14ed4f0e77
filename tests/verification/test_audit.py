"""`audit` finds every hand-written rule in a program, and judges it at the values it sees."""

import importlib
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from planted.formulas import by_hand

from jaxbackprop.gates.sigmoid_like import tanh
from jaxbackprop.verification import audit

wrong = by_hand(lambda x: jnp.sin(x), lambda s, u: (u * jnp.sin(s[0]),))
reverse = by_hand(lambda x: x, lambda s, u: (-u,))
clipped = by_hand(lambda x: x, lambda s, u: (jnp.clip(u, -0.5, 0.5),))
straight = by_hand(jnp.round, lambda s, u: (u,))
x = np.array([0.3, 1.2, -0.7], np.float32)


def verdicts(fun, *args):
    return {(s.calls, s.verdict) for s in audit(fun, *args).sites}


def test_a_program_without_rules_has_no_sites():
    found = audit(lambda x: x.sum() * 2, x)
    assert found.sites == ()
    assert found.passed


def test_calls_are_counted_through_scan_cond_checkpoint_and_jit():
    def body(carry, v):
        return lax.cond(v > 0, wrong, lambda c: c, jax.checkpoint(tanh)(carry)), carry

    found = audit(jax.jit(lambda x: lax.scan(body, x, jnp.array([1.0, -1.0, 1.0, 1.0]))[1].sum()), x)
    assert sorted((s.calls, s.verdict) for s in found.sites) == [(3, "wrong"), (4, "right")]
    assert not found.passed
    assert "the output stands where the derivative belongs" in str(found)


def test_a_rule_of_ours_is_named_and_placed():
    (site,) = audit(lambda x: tanh(x).sum(), x).sites
    assert site.name == "tanh"
    assert "sigmoid_like.py:" in site.source
    assert site.verification is not None
    assert site.verification.passed


def test_a_branch_not_taken_is_reported_and_not_judged():
    (site,) = audit(lambda x: lax.cond(x[0] > 9, wrong, lambda c: c, x), x).sites
    assert (site.calls, site.verdict) == (0, "not reached")


def test_what_is_meant_is_told_from_what_is_wrong_but_does_not_pass():
    for rule, words in ((reverse, "reversal"), (clipped, "clipping"), (straight, "straight-through")):
        found = audit(lambda x, rule=rule: rule(x).sum(), x * 2)
        (site,) = found.sites
        assert site.verdict == "by design?"
        assert words in str(found)
        assert not found.passed


def test_outputs_thrown_away_are_not_judged_and_silent_ones_are_told_from_wrong():
    """A softmax whose largest score is handed out beside: no gradient is meant to pass it."""

    @jax.custom_vjp
    def softmax(x):
        return jax.nn.softmax(x), x.max()

    softmax.defvjp(
        lambda x: (softmax(x), jax.nn.softmax(x)), lambda p, u: (p * (u[0] - (p * u[0]).sum(-1, keepdims=True)),)
    )
    thrown_away = audit(lambda x: softmax(x)[0].sum(), x)
    assert [s.verdict for s in thrown_away.sites] == ["right"]
    handed_out = audit(lambda x: (lambda shares, largest: shares.sum() + largest)(*softmax(x)), x)
    assert not handed_out.passed
    assert [s.verdict for s in handed_out.sites] == ["by design?"]
    assert "no gradient passes output 1" in str(handed_out)


def test_a_value_handed_out_in_a_gradients_place_is_not_called_a_wrong_formula():
    """As 8-bit training does: the new scale comes back as the old one's gradient."""
    scaled = by_hand(lambda x, s: x * 2 + 0 * s, lambda saved, u: (u * 2, saved[1] + 1))
    found = audit(scaled, x, np.float32(3))
    assert [s.verdict for s in found.sites] == ["by design?"]
    assert "whatever arrives" in str(found)
    forgot_the_upstream = by_hand(lambda x, w: x * w, lambda saved, u: (saved[1], saved[0]))
    assert [s.verdict for s in audit(forgot_the_upstream, x, x + 1).sites] == ["wrong"]


def test_a_smooth_function_at_the_seam_of_its_program_is_right_twice():
    """logaddexp(0, 0): its program has a maximum and an absolute value there, the function itself no kink."""
    zeros = np.zeros(3, np.float32)
    (site,) = audit(lambda a, b: jnp.logaddexp(a, b).sum(), zeros, zeros).sites
    assert site.verdict == "right", str(site.verification)


def test_a_sample_drawn_until_accepted_is_not_called_wrong():
    def plain(k, key):
        def again(state):
            key = jax.random.split(state[1])[0]
            return jax.random.uniform(key, minval=-1.0), key

        drawn = lax.while_loop(lambda s: s[0] < 0, again, (-1.0, key))[0]
        return drawn * k

    sampled = jax.custom_jvp(lambda k: plain(k, jax.random.key(0)))
    sampled.defjvp(lambda primals, tangents: (sampled(primals[0]), 7 * tangents[0]))
    (site,) = audit(sampled, np.float32(1.5)).sites
    assert site.verdict == "by design?"


def test_what_cannot_be_mapped_is_judged_one_by_one():
    sizes = np.array([1, 2], np.int32)

    def plain(a, b):
        return lax.ragged_dot(a, b, jnp.asarray(sizes))

    def backward(saved, u):
        return jax.vjp(plain, *saved)[1](u)

    product = by_hand(plain, backward)
    a, b = np.arange(12, dtype=np.float32).reshape(3, 4) / 7, np.linspace(1, 2, 40, dtype=np.float32).reshape(2, 4, 5)
    (site,) = audit(product, a, b).sites
    assert site.verification is not None
    checks = {check.name: check.passed for check in site.verification.checks}
    assert checks["forward pass"]
    assert checks["gradient of input 0"]
    assert checks["gradient of input 1"]


def test_a_rule_that_cannot_be_judged_is_reported_and_the_others_are_judged():
    """Its plain function answers once and raises when it is called again, as one does that uses something up."""
    calls = []

    def once(v):
        calls.append(1)
        if len(calls) > 1:
            raise RuntimeError("used up")
        return np.asarray(v) * 2

    used_up = by_hand(
        lambda v: jax.pure_callback(once, jax.ShapeDtypeStruct(v.shape, v.dtype), v), lambda s, u: (2 * u,)
    )
    found = audit(lambda v: (tanh(used_up(wrong(v)))).sum(), x)
    assert {s.verdict for s in found.sites} == {"right", "wrong", "undecided"}
    assert not found.passed
    assert "used up" in str(found)


def test_a_rule_that_raises_wherever_it_is_differentiated_is_not_judged_and_says_where():
    broken = by_hand(jnp.sin, lambda s, u: (u * s[7],))
    found = audit(lambda v: tanh(broken(v)).sum(), x)
    assert {s.verdict for s in found.sites} == {"right", "not judged"}
    assert not found.passed
    assert "IndexError" in str(found)
    assert "test_audit.py" in str(found).partition("IndexError")[2]


def test_a_program_that_cannot_be_run_to_its_end_is_reported_at_the_rules_behind_the_break():
    def refuses(v):
        raise RuntimeError("no licence")

    found = audit(lambda v: wrong(jax.pure_callback(refuses, jax.ShapeDtypeStruct(v.shape, v.dtype), tanh(v))), x)
    assert sorted(s.verdict for s in found.sites) == ["not judged", "right"]
    assert not found.passed
    assert "no licence" in str(found)


def rules_of(jaxpr, found):
    """Every call of a rule in a program, by nothing but its text: whatever holds an equation is looked into."""
    for eqn in jaxpr.eqns:
        if eqn.primitive.name.startswith(("custom_vjp", "custom_jvp")):
            body = next(eqn.params[k] for k in ("call_jaxpr", "fun_jaxpr") if k in eqn.params)
            found.append(str(getattr(body, "jaxpr", body).debug_info.func_src_info).split(" at ")[0])
        for held in jax.tree.leaves(list(eqn.params.values()), is_leaf=lambda p: hasattr(p, "eqns")):
            held = getattr(held, "jaxpr", held)
            if hasattr(held, "eqns"):
                rules_of(held, found)
    return found


def test_every_rule_of_a_training_loss_is_found_and_judged(monkeypatch):
    """A transformer block of nnx with dropout and layer norm, and the losses of optax."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "experiments"))
    loss, args = importlib.import_module("audit_of_a_training_loss").training_loss()
    start = time.process_time()
    found = audit(loss, *args)
    seconds = time.process_time() - start
    expected = rules_of(jax.make_jaxpr(loss)(*args).jaxpr, [])
    assert {s.name for s in found.sites} == set(expected)
    assert len(set(expected)) >= 4, expected
    assert all(s.calls > 0 for s in found.sites)
    assert found.passed, str(found)
    assert seconds < 30
