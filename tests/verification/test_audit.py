"""`audit` finds every hand-written rule in a program, also inside derivatives, and judges it at the values it sees."""

import importlib
import json
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export, lax
from jax.experimental import pallas as pl
from jax.extend.core import Primitive
from jax.interpreters import ad, mlir
from planted.formulas import by_hand
from rules_in_programs import PROGRAMS, RULES

from jaxbackprop.gates.sigmoid_like import tanh
from jaxbackprop.jaxprs.compat import jaxpr_as_fun
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


def test_what_is_meant_is_distinguished_from_what_is_wrong_but_does_not_pass():
    for rule, words in ((reverse, "reversal"), (clipped, "clipping"), (straight, "straight-through")):
        found = audit(lambda x, rule=rule: rule(x).sum(), x * 2)
        (site,) = found.sites
        assert site.verdict == "by design?"
        assert words in str(found)
        assert not found.passed


def test_outputs_thrown_away_are_not_judged_and_silent_ones_are_not_called_wrong():
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
    assert [(one.name, one.reason.startswith("a rule that could not be judged")) for one in found.not_examined] == [
        ("<lambda>", True)
    ]
    assert audit(lambda v: tanh(broken(v)).sum(), x, allow=("<lambda>",)).passed


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
    found = audit(loss, *args)
    expected = rules_of(jax.make_jaxpr(loss)(*args).jaxpr, [])
    assert {s.name for s in found.sites} == set(expected)
    assert len(set(expected)) >= 4, expected
    assert all(s.calls > 0 for s in found.sites)
    assert found.passed, str(found)


GRADIENT = ("gradient",)


def judged(fun, *args):
    """The verdicts by name, of the gradient alone: quick."""
    found = audit(fun, *args, checks=GRADIENT)
    return {name: [s.verdict for s in found.sites if s.name == name] for name in {s.name for s in found.sites}}


def step_of(loss):
    """A jitted step that takes the gradient itself."""
    return jax.jit(lambda w: w - 0.1 * jax.grad(loss)(w))


def test_every_kind_of_rule_is_judged_inside_a_derivative():
    make, _, _ = PROGRAMS["grad_in_jit"]
    for factor, verdict in ((1.0, "right"), (1.1, "wrong")):
        fun, args = make([make_rule(factor) for make_rule in RULES.values()])
        assert judged(fun, *args) == {kind: [verdict] for kind in RULES}


@pytest.mark.parametrize(
    "name", ["training_step", "gradients_per_example", "layers_in_a_scan", "split_over_devices", "branching_in_python"]
)
def test_a_wrong_rule_is_named_in_every_program_and_a_right_one_beside_it_passes(name):
    make, calls, _ = PROGRAMS[name]
    fun, args = make([RULES["custom_vjp"](1.1), RULES["custom_jvp"](1.0)])
    found = audit(fun, *args, checks=GRADIENT)
    assert {s.name: (s.calls, s.differentiated, s.verdict) for s in found.sites} == {
        "custom_vjp": (calls, calls, "wrong"),
        "custom_jvp": (calls, calls, "right"),
    }
    assert not found.passed
    assert "constant factor 1.1" in str(found)
    assert "rules_in_programs.py:" in str(found)


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "right"), (1.1, "wrong")])
def test_rules_that_close_over_traced_values_are_judged(factor, verdict):
    def program(w, c):
        @jax.custom_vjp
        def scaled(x):
            return c * jnp.sin(x)

        scaled.defvjp(lambda x: (c * jnp.sin(x), x), lambda x, u: (factor * c * u * jnp.cos(x),))
        return jax.value_and_grad(lambda w: scaled(w).sum())(w)

    assert judged(jax.jit(program), x, np.float32(2)) == {"scaled": [verdict]}


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "right"), (1.1, "wrong")])
def test_roots_and_linear_solves_are_judged_what_they_close_over_varying_as_one(factor, verdict):
    """`custom_root` hands the matrix in three times: apart, each is wrong."""
    matrix = np.array([[2.0, 0.3], [0.1, 1.5]], np.float32)

    def root(w):
        def iterated(f, y):
            return lax.fori_loop(0, 30, lambda _, y: y - f(y), y)

        def tangents(g, b):
            return factor * jnp.linalg.solve(jax.jacobian(g)(b), b)

        return lax.custom_root(lambda y: y - 0.2 * jnp.sin(w @ y) - 1.0, jnp.zeros(2), iterated, tangents)

    assert judged(jax.jit(jax.grad(lambda w: root(w).sum())), matrix) == {"custom_root": [verdict]}

    def transposed(vecmat, b):
        return factor * jnp.linalg.solve(matrix.T, b)

    def solved(b):
        return lax.custom_linear_solve(lambda v: matrix @ v, b, lambda _, b: jnp.linalg.solve(matrix, b), transposed)

    assert judged(step_of(lambda b: (solved(b) ** 2).sum()), np.ones(2, np.float32)) == {"transposed": [verdict]}


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "right"), (1.1, "wrong")])
def test_a_rule_that_sums_over_devices_is_judged_on_a_mesh(factor, verdict):
    @jax.custom_vjp
    def total(x):
        return lax.psum(x * x, "d")

    total.defvjp(lambda x: (total(x), x), lambda x, u: (factor * 2 * x * lax.pcast(u, "d", to="varying"),))
    mesh = jax.make_mesh((2,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
    summed = jax.shard_map(total, mesh=mesh, in_specs=jax.P("d"), out_specs=jax.P())
    assert judged(step_of(lambda v: summed(v).sum()), np.ones(4, np.float32)) == {"total": [verdict]}


def test_a_program_traced_before_still_holds_its_rules():
    traced = jax.make_jaxpr(lambda v: tanh(wrong(v)))(x)
    run = jaxpr_as_fun(traced)
    both = {"tanh": ["right"], "<lambda>": ["wrong"]}
    assert judged(step_of(lambda v: run(v)[0].sum()), x) == both
    looped = jax.make_jaxpr(lambda v: lax.scan(lambda c, _: (tanh(wrong(c)), None), v, None, length=3)[0])(x)
    found = audit(jaxpr_as_fun(looped), x, checks=GRADIENT)
    assert {s.name: ([s.verdict], s.calls) for s in found.sites} == {name: (v, 3) for name, v in both.items()}


def test_inside_a_derivative_what_it_does_not_need_is_not_judged():
    """A value handed out beside, and the labels: the rule gives neither a gradient, and no one asks for one."""

    @jax.custom_vjp
    def entropy(scores, shares):
        return -(jax.nn.log_softmax(scores) * shares).sum(), scores.max()

    entropy.defvjp(
        lambda scores, shares: (entropy(scores, shares), (jax.nn.softmax(scores), shares)),
        lambda saved, u: (u[0] * (saved[0] * saved[1].sum() - saved[1]), None),
    )
    found = audit(step_of(lambda v: entropy(v, jnp.array([0.2, 0.5, 0.3]))[0]), x)
    (site,) = found.sites
    assert found.passed, str(found)
    assert site.verification is not None
    assert any("no derivative by" in note and "shares" in note for note in site.verification.notes)
    assert not audit(step_of(lambda v: entropy(v, v)[0]), x, checks=GRADIENT).passed


def test_python_numbers_among_the_arguments_stay_such():
    """An array of float32 in the place of a number would make the rest of the program float32."""
    scaled = by_hand(lambda v, s: v * s, lambda saved, u: (u * saved[1], (u * saved[0]).sum()))
    given = jnp.asarray(x, jnp.float16)
    (site,) = audit(step_of(lambda v: scaled(v, 2.0).sum()), given, checks=("structure",)).sites
    assert site.verdict == "right", str(site.verification)


def test_what_cannot_be_looked_into_is_listed_and_fails_unless_it_is_allowed():
    shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
    gradient = jax.jit(jax.grad(lambda v: wrong(v).sum()))
    compiled, exported = gradient.lower(x).compile(), export.export(gradient)(x)
    pull, pushforward = jax.vjp(wrong, x)[1], jax.linearize(tanh.primal, x)[1]

    def kernel(x_ref, o_ref):
        o_ref[...] = 2 * x_ref[...]

    def on_host(v):
        return v

    programs = {
        "compiled program": lambda v: compiled(v),
        "<lambda>": lambda v: exported.call(v) * pull(v)[0],
        "tanh": lambda v: pushforward(v),
        "kernel": lambda v: pl.pallas_call(kernel, out_shape=shape, interpret=True)(v),
        "on_host": lambda v: jax.pure_callback(on_host, shape, v),
        "some_target": lambda v: jax.ffi.ffi_call("some_target", shape)(v) if v is None else v,
    }
    for name, program in programs.items():
        found = audit(program, x, checks=GRADIENT)
        assert not found.sites, name
        if name == "some_target":
            assert found.passed
            continue
        assert {one.name for one in found.not_examined} == {name}
        assert all(one.reason for one in found.not_examined)
        assert "test_audit.py:" in found.not_examined[0].place or name == "tanh"
        assert not found.passed
        assert f"not examined: {name}, " in str(found)
        assert "no hand-written rule in what was examined" in str(found)
        allowed = audit(program, x, checks=GRADIENT, allow=(name,))
        assert allowed.passed
        assert f"not examined (allowed): {name}, " in str(allowed)
        assert json.loads(allowed.to_json())["not_examined"][0]["allowed"]
    assert len(audit(programs["<lambda>"], x, checks=GRADIENT).not_examined) == 2


def test_a_kernel_inside_of_a_rule_is_judged_with_it():
    shape = jax.ShapeDtypeStruct(x.shape, x.dtype)

    def kernel(x_ref, o_ref):
        o_ref[...] = 2 * x_ref[...]

    def doubled(v):
        return pl.pallas_call(kernel, out_shape=shape, interpret=True)(v)

    rule = jax.custom_vjp(doubled)
    rule.defvjp(lambda v: (doubled(v), None), lambda _, u: (doubled(u),))
    found = audit(step_of(lambda v: rule(v).sum()), x, checks=GRADIENT)
    assert found.passed, str(found)
    assert [s.name for s in found.sites] == ["doubled"]


def test_a_rule_with_mutable_references_is_not_judged_and_one_beside_them_is():
    @jax.custom_vjp
    def counted(ref, v):
        ref[...] += 1
        return jnp.sin(v)

    counted.defvjp(lambda ref, v: (counted(ref, v), v), lambda v, u: (None, u * jnp.cos(v)))

    def program(v):
        ref = jax.new_ref(jnp.zeros(()))
        return jax.grad(lambda v: tanh(v).sum())(counted(ref, v)) * ref[...]

    found = audit(program, x, checks=GRADIENT)
    assert [(s.name, s.verdict) for s in found.sites] == [("tanh", "right")]
    assert [(one.name, "mutable reference" in one.reason) for one in found.not_examined] == [("counted", True)]
    assert not found.passed


def test_a_branch_not_taken_is_not_examined():
    found = audit(lambda v: lax.cond(v[0] > 9, wrong, lambda c: c, v), x)
    assert [one.reason for one in found.not_examined] == ["a rule on a branch that was not taken"]
    assert not found.passed
    assert audit(lambda v: lax.cond(v[0] > 9, wrong, lambda c: c, v), x, allow=("<lambda>",)).passed


def test_only_the_checks_that_are_asked_for_are_made():
    (site,) = audit(lambda v: tanh(v).sum(), x, checks=("vmap", "structure")).sites
    assert site.verification is not None
    assert {check.name for check in site.verification.checks} == {"vmap", "structure"}
    with pytest.raises(ValueError, match="no check called gradients"):
        audit(tanh, x, checks=("gradients",))


def test_a_rule_to_which_none_of_the_chosen_checks_applies_is_not_examined():
    found = audit(tanh, x, checks=["accumulation"])  # which adds nothing up
    assert [site.verdict for site in found.sites] == ["not examined"]
    assert "none of these checks applies" in str(found)
    assert not found.passed


# The program's own gradient, one more row.


def own(fun, *args):
    found = audit(fun, *args, checks=GRADIENT)
    assert found.gradient is not None
    assert json.loads(found.to_json())["gradient"] == vars(found.gradient)
    return found.gradient


def test_the_gradient_of_the_whole_program_is_held_against_numerical_derivatives():
    a_thousandth = by_hand(jnp.tanh, lambda s, u: (1.001 * u * (1 - jnp.tanh(s[0]) ** 2),))
    right = by_hand(jnp.tanh, lambda s, u: (u * (1 - jnp.tanh(s[0]) ** 2),))
    assert own(lambda v: (right(v) ** 2).sum(), x).verdict == "right"
    assert own(lambda v: jax.nn.relu(right(v)).sum(), x).verdict == "right"
    assert own(lambda v: (a_thousandth(v) ** 2).sum(), x).verdict == "wrong"
    assert own(lambda v: right(v).sum() * jnp.sin(v[0] * 1e7), x).verdict == "cannot tell"
    assert audit(lambda v: jnp.sin(v).sum(), x).gradient is None


def test_a_difference_that_is_meant_is_distinguished_from_one_that_spoils_the_program():
    """A helper that exists for its derivative, as jnp.sinc had one; and a straight-through estimator."""
    helper = jax.custom_jvp(lambda v: jnp.zeros_like(v))
    helper.defjvp(lambda p, t: (helper(*p), jnp.cos(p[0]) * t[0]))
    found = audit(lambda v: (helper(v) + lax.stop_gradient(jnp.sin(v))).sum(), x, checks=GRADIENT)
    assert [(s.verdict, s.passed, s.program) for s in found.sites] == [
        ("by design?", True, "differs from its primal; the program's gradient is right")
    ]
    assert found.passed
    for program in (lambda v: straight(3 * v).sum(), step_of(lambda v: straight(3 * v).sum())):
        found = audit(program, x, checks=GRADIENT)
        (site,) = found.sites
        assert (site.verdict, site.passed) == ("by design?", False)
        assert site.program == "differs from its primal; the program's gradient is not that of its value"


def test_a_stop_gradient_that_changes_the_derivative_is_no_fault_and_hides_none_where_it_changes_nothing():
    softmax = lambda v: jnp.exp(v - lax.stop_gradient(v.max()))  # noqa: E731
    assert own(lambda v: (lax.stop_gradient(tanh(v)) * v).sum(), x).verdict == "cannot tell"
    assert own(lambda v: wrong(softmax(v) / softmax(v).sum())[0], x).verdict == "wrong"


def test_stop_gradient_is_no_rule_also_where_a_package_gives_it_a_transpose(monkeypatch):
    table = importlib.import_module("jax.interpreters.ad").primitive_transposes
    (stop,) = {eqn.primitive for eqn in jax.make_jaxpr(lax.stop_gradient)(x).eqns}
    monkeypatch.setitem(table, stop, lambda upstream, v: (upstream,))
    assert [site.name for site in audit(lambda v: (lax.stop_gradient(v) * tanh(v)).sum(), x).sites] == ["tanh"]


def test_a_step_is_held_against_itself_with_plain_functions_in_place_of_wrong_rules():
    found = own(step_of(lambda v: wrong(v).sum()), x)
    assert found.verdict == "wrong"
    assert "with plain functions in place" in found.detail
    assert audit(step_of(lambda v: tanh(v).sum()), x, checks=GRADIENT).gradient is None


def test_a_rule_that_sees_no_finite_number_is_not_examined():
    found = audit(jax.grad(lambda x: wrong(x).sum()), np.full(3, np.nan, np.float32))
    assert [site.verdict for site in found.sites] == ["not examined"]
    assert not found.passed
    assert "nothing to compare" in str(found)
    assert "1 rule, 0 not right, 1 not examined" in str(found)


def test_a_rule_that_sees_an_empty_array_is_not_examined():
    found = audit(wrong, np.zeros(0, np.float32))
    assert not found.passed
    assert "every floating-point argument is empty" in str(found)


def test_a_rule_in_bfloat16_is_judged_by_its_formula_and_by_what_its_sums_lose():
    def scattered(s, u):
        return jnp.zeros_like(s[0]).at[s[1]].add(u), None

    ids = (np.arange(3000) % 3).astype(np.int32)
    embedding = by_hand(lambda table, ids: table[ids], scattered)
    step = jax.grad(lambda table: embedding(table, ids).sum())
    table, checks = jnp.ones((3, 2), jnp.bfloat16), ["linear_in_the_upstream", "accumulation"]
    found = audit(step, table, checks=checks)
    (site,) = found.sites
    assert (site.verdict, site.arithmetic) == ("imprecise", "imprecise")
    assert site.verification is not None
    assert "scatter-add adds 3,000 terms in bfloat16" in site.verification.checks[-1].detail
    assert "arithmetic" in str(found)
    assert found.to_dict()["sites"][0]["arithmetic"] == "imprecise"
    assert found.passed
    assert not audit(step, table, checks=checks, strict=True).passed


def solver_of_a_factorization(of_matrix: float, of_right: float) -> Callable:
    """Solves from the inverse, and its derivative is by the matrix; by the inverse there is none. As in lineax."""
    solve = Primitive("solve")

    def tangent(primals, tangents):
        (a, inverse, b), (da, dinverse, db) = primals, tangents
        assert isinstance(dinverse, ad.Zero)
        y = solve.bind(a, inverse, b)
        da, db = ad.instantiate_zeros(da), ad.instantiate_zeros(db)
        return y, inverse @ (of_right * db - of_matrix * da @ y)

    solve.def_impl(lambda a, inverse, b: inverse @ b)
    solve.def_abstract_eval(lambda a, inverse, b: b)
    mlir.register_lowering(solve, mlir.lower_fun(lambda a, inverse, b: inverse @ b, multiple_results=False))
    ad.primitive_jvps[solve] = tangent
    return lambda a, b: solve.bind(a, lax.stop_gradient(jnp.linalg.inv(a)), b)


@pytest.mark.parametrize(("factors", "verdict"), [((1.0, 1.0), "right"), ((1.0, 1.1), "wrong"), ((1.1, 1.0), "right")])
def test_a_rule_right_only_together_with_another_step_passes_where_the_programs_gradient_is_right(factors, verdict):
    args = np.array([[2.0, 0.3], [0.1, 1.5]], np.float32), np.ones(2, np.float32)
    solve = solver_of_a_factorization(*factors)
    found = audit(solve, *args, checks=GRADIENT)
    assert [(s.name, s.verdict) for s in found.sites] == [("solve", verdict)]
    assert found.passed == (factors == (1.0, 1.0))

    found = audit(jax.grad(lambda a, b: solve(a, b).sum(), argnums=(0, 1)), *args, checks=GRADIENT)
    assert [(s.name, s.verdict) for s in found.sites] == [("solve", verdict)]
    assert "its value depends on input 1 instead" in found.not_examined[0].reason


def solver_that_iterates(factor: float) -> Callable:
    """Solves until it is near enough, and so does its derivative, behind a primitive of its own. As in lineax."""
    solve = Primitive("solve_until_near_enough")

    def run(a, b):
        def far(state):
            return jnp.abs(state[1]).max() > 1e-6 * (jnp.abs(b).max() + 1)

        def step(state):
            y = state[0] + 0.5 * state[1]
            return y, b - a @ y

        return jax.lax.while_loop(far, step, (jnp.zeros_like(b), b))[0]

    def tangent(primals, tangents):
        (a, b), (da, db) = primals, map(ad.instantiate_zeros, tangents)
        y = solve.bind(a, b)
        return y, factor * solve.bind(a, db - da @ y)

    solve.def_impl(run)
    solve.def_abstract_eval(lambda a, b: b)
    mlir.register_lowering(solve, mlir.lower_fun(run, multiple_results=False))
    ad.primitive_jvps[solve] = tangent
    ad.primitive_transposes[solve] = lambda upstream, a, b: (None, solve.bind(a.T, upstream))
    return lambda a, b: solve.bind(a, b)


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "right"), (1.1, "wrong")])
def test_a_loop_inside_the_primitive_of_a_package_is_a_backward_pass_that_iterates(factor, verdict):
    args = np.array([[1.5, 0.3], [0.2, 1.2]], np.float32), np.ones(2, np.float32)
    found = audit(solver_that_iterates(factor), *args, checks=("gradient", "linear_in_the_upstream"))
    assert [(s.name, s.verdict) for s in found.sites] == [("solve_until_near_enough", verdict)], str(found)
