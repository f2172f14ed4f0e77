"""What the package uses of JAX's inside is there in this release, and answers rightly on small programs.

A test that fails here says that a release of JAX moved something: `jaxbackprop/jaxprs/compat.py` is the file to mend.
"""

import threading
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.experimental import hijax
from jax.experimental import pallas as pl
from jax.interpreters import ad

from jaxbackprop.jaxprs import compat


@jax.custom_vjp
def sine(x):
    return jnp.sin(x)


def sine_forward(x):
    return jnp.sin(x), x


def sine_backward(x, upstream):
    return (upstream * jnp.cos(x),)


sine.defvjp(sine_forward, sine_backward)


@jax.custom_jvp
def cosine(x):
    return jnp.cos(x)


cosine.defjvp(lambda primals, tangents: (cosine(*primals), -jnp.sin(primals[0]) * tangents[0]))


@jax.custom_batching.custom_vmap
def doubled(x):
    return 2 * x


doubled.def_vmap(lambda size, mapped, x: (2 * x, mapped[0]))

X = jnp.array([0.3, 1.2, -0.7])


def first(function, *args):
    """The first equation of the program that calls a program, or the first of all."""
    eqns = jax.make_jaxpr(function)(*args).jaxpr.eqns
    return next((e for e in eqns if compat.inner_jaxprs(e)), eqns[0])


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (jax.jit(jnp.sin), compat.CALLS),
        (doubled, compat.CALLS),
        (jax.checkpoint(jnp.sin), compat.REMAT),
        (sine, compat.CUSTOM_VJP),
        (jax.vmap(sine), compat.CUSTOM_VJP),
        (cosine, compat.CUSTOM_JVP),
        (jax.nn.relu, compat.CUSTOM_JVP),
        (jax.nn.silu, compat.CALLS),
    ],
    ids="jit custom_vmap checkpoint custom_vjp custom_vjp-mapped custom_jvp relu silu".split(),
)
def test_calls_have_the_names_that_are_listed_and_their_body_takes_their_inputs(function, names):
    eqn = first(function, X)
    assert eqn.primitive.name in names
    body = compat.body_of(eqn)
    assert body is not None
    jaxpr, consts = body
    assert isinstance(jaxpr, compat.Jaxpr)
    assert len(jaxpr.invars) == len(eqn.invars)
    program = compat.ClosedJaxpr(jaxpr, consts)
    np.testing.assert_allclose(compat.jaxpr_as_fun(program)(X)[0], function(X), rtol=1e-6)


def test_what_was_traced_before_is_inlined_or_called_by_a_primitive_that_is_listed():
    (eqn,) = jax.make_jaxpr(lambda x: jax.jit(jnp.sin).trace(x)(x))(X).jaxpr.eqns
    assert eqn.primitive.name == "sin" or compat.body_of(eqn) is not None


def test_a_rule_is_listed_once_and_a_loop_has_no_body_of_a_call():
    assert compat.RULES == (*compat.CUSTOM_VJP, *compat.CUSTOM_JVP)
    assert not {*compat.CALLS} & {*compat.RULES, *compat.REMAT}
    assert compat.body_of(first(lambda x: lax.fori_loop(0, 3, lambda i, c: c * 2, x), X)) is None


def test_mutable_references_have_the_names_that_are_listed():
    def uses(x):
        ref = jax.new_ref(x)
        ref[...] = 2 * x
        y = ref[...]
        return y + jax.freeze(ref)

    names = [e.primitive.name for e in jax.make_jaxpr(uses)(X).jaxpr.eqns]
    for name in (compat.NEW_REF, compat.READ_REF, compat.WRITE_REF, compat.FREEZE_REF):
        assert name in names


def test_variables_and_literals_know_their_shapes_and_types():
    program = jax.make_jaxpr(lambda x: x * 2.0)(X)
    (eqn,) = program.jaxpr.eqns
    x, two = eqn.invars
    assert isinstance(x, compat.Var)
    assert isinstance(two, compat.Literal)
    assert float(two.val) == 2
    assert (compat.shape_of(x), compat.dtype_of(x)) == ((3,), np.float32)
    assert compat.shape_of(two) == ()
    assert compat.aval(eqn.outvars[0]).shape == (3,)


def test_a_body_is_closed_and_opened():
    program = jax.make_jaxpr(lambda x: x + X)(X)
    jaxpr, consts = compat.closed(program)
    assert [c.tolist() for c in consts] == [X.tolist()]
    assert compat.close(program) is program
    assert compat.jaxpr_as_fun(compat.close(jax.make_jaxpr(jnp.sin)(X).jaxpr))(X)[0].shape == (3,)
    assert jaxpr.constvars


def test_the_programs_inside_an_equation_are_found_wherever_its_parameters_hold_them():
    cond = first(lambda x: lax.cond(x[0] > 0, jnp.sin, jnp.cos, x), X)
    assert len(compat.inner_jaxprs(cond)) == 2
    while_loop = first(lambda x: lax.while_loop(lambda c: c[0] < 3, lambda c: c + 1, x), X)
    assert len(compat.inner_jaxprs(while_loop)) == 2
    solve = first(lambda b: lax.custom_linear_solve(lambda v: 2 * v, b, lambda _, b: b / 2, lambda _, b: b / 2), X)
    assert len(compat.inner_jaxprs(solve)) == 4
    changed = compat.map_inner_jaxprs(solve, lambda body: body)
    assert type(changed["jaxprs"]) is type(solve.params["jaxprs"])
    np.testing.assert_allclose(compat.binding(solve, changed)(*[X] * len(solve.invars))[0], X / 2, rtol=1e-6)


def test_what_a_program_does_not_need_is_left_out_and_its_effects_stay():
    told = []

    def function(x, y):
        jnp.cos(x)
        jax.debug.callback(told.append, y)
        return jax.jit(lambda x: (jnp.sin(x), jnp.tan(x)))(x)[0]

    program = compat.without_dead_code(jax.make_jaxpr(function)(X, 2.0))
    text = str(program.jaxpr)
    assert [name in text for name in ("sin", "cos", "tan", "debug_callback")] == [True, False, False, True]
    np.testing.assert_allclose(compat.jaxpr_as_fun(program)(X, 2.0)[0], jnp.sin(X), rtol=1e-6)
    jax.effects_barrier()
    assert told == [2.0]


@pytest.mark.parametrize("reverse", [False, True])
def test_a_scan_is_taken_apart(reverse):
    def loop(w, c, xs):
        return lax.scan(lambda c, x: ((c[0] * w + x, c[1] + 1), c[0] - x), (c, 0), xs, reverse=reverse)

    scan = compat.scan_of(first(loop, 2.0, 1.0, X))
    assert (scan.constants, scan.carried, scan.length, scan.reverse) == (1, 2, 3, reverse)
    assert len(scan.body.invars) == 4


def test_a_while_loop_is_taken_apart():
    def loop(limit, step, x):
        return lax.while_loop(lambda c: c[0] < limit, lambda c: (c[0] + step, c[1] * step), (x, x))

    eqn = first(loop, 5.0, 2.0, 0.0)
    found = compat.while_of(eqn)
    assert (found.condition_constants, found.body_constants) == (1, 1)
    assert found.split(["limit", "step", "x", "y"]) == (["limit"], ["step"], ["x", "y"])
    condition, body = (compat.jaxpr_as_fun(compat.ClosedJaxpr(*parts)) for parts in (found.condition, found.body))
    assert bool(condition(5.0, 0.0, 0.0)[0])
    assert [float(x) for x in body(2.0, 3.0, 3.0)] == [5, 6]


def test_branches_stand_in_the_order_in_which_they_are_chosen():
    eqn = first(lambda i, x: lax.switch(i, [lambda x: x, lambda x: x * 10, lambda x: x * 100], x), 1, 1.0)
    found = [float(compat.jaxpr_as_fun(compat.ClosedJaxpr(*branch))(1.0)[0]) for branch in compat.branches_of(eqn)]
    assert found == [1, 10, 100]


def one_device_mesh():
    return jax.sharding.Mesh(np.array(jax.devices()[:1]), ("devices",))


def test_a_shard_map_is_run_again_with_another_evaluation_of_its_body():
    P = jax.sharding.PartitionSpec
    mapped = jax.shard_map(lambda x: 2 * x, mesh=one_device_mesh(), in_specs=(P("devices"),), out_specs=P("devices"))
    eqn = first(mapped, X)
    assert eqn.primitive.name == "shard_map"

    def run(body, shards):
        jaxpr, consts = body
        return [10 * y for y in compat.jaxpr_as_fun(compat.ClosedJaxpr(jaxpr, consts))(*shards)]

    np.testing.assert_allclose(compat.shard_map_like(eqn, run)(X)[0], 20 * X)


def test_values_under_a_shard_map_say_over_which_axes_they_differ():
    P = jax.sharding.PartitionSpec
    seen = []

    def look(x, w):
        seen.extend([compat.varying_axes(x), compat.varying_axes(w)])
        wide = compat.to_varying(w, ["devices"])
        seen.append(compat.varying_axes(wide))
        return x * wide

    mapped = jax.shard_map(look, mesh=one_device_mesh(), in_specs=(P("devices"), P()), out_specs=P("devices"))
    jax.make_jaxpr(mapped)(X, 2.0)
    assert seen == [{"devices"}, set(), {"devices"}]
    for x in (1.0, np.ones(2), X, jax.random.key(0), np.zeros(2, jax.dtypes.float0)):
        assert compat.varying_axes(x) == frozenset()


def test_an_equation_is_bound_with_its_own_derivative():
    eqn = first(sine, X)
    (y,) = compat.binding(eqn)(X)
    np.testing.assert_allclose(y, jnp.sin(X), rtol=1e-6)
    seen = []

    @jax.custom_vjp
    def watched(x):
        return x

    watched.defvjp(lambda x: (x, None), lambda _, u: (seen.append(1) or u,))
    jax.grad(lambda x: compat.binding(first(watched, x))(x)[0])(1.0)
    assert seen
    with jax.default_matmul_precision("highest"):
        product = first(lambda x: x @ x, X)
    assert compat.binding(product)(X, X)[0].shape == ()


def test_a_program_knows_the_function_it_was_traced_from():
    name, where = compat.function_of(jax.make_jaxpr(sine_forward)(X).jaxpr)
    assert name == "sine_forward"
    assert where == f"{__file__}:{sine_forward.__code__.co_firstlineno}"
    body = compat.body_of(first(sine, X))
    assert body is not None
    assert compat.function_of(body[0])[0] == "sine"


def test_an_equation_knows_its_scopes_and_the_lines_that_led_to_it():
    def layer(x):
        with jax.named_scope("outer"), jax.named_scope("inner"):
            return jnp.sin(x)

    eqn = jax.make_jaxpr(layer)(X).jaxpr.eqns[0]
    assert compat.name_stack(eqn) == "outer/inner"
    lines = compat.traceback_of(eqn)
    line = layer.__code__.co_firstlineno + 2
    mine = [(file, at) for file, at, function in lines if function.endswith("layer")]
    assert mine == [(__file__, line)]
    assert "jax" in lines[0][0]  # the innermost line is JAX's own


@pytest.mark.parametrize(
    "wrap", [lambda f: f, jax.vmap, lambda f: jax.vmap(jax.vmap(f))], ids=["plain", "once", "twice"]
)
def test_the_backward_pass_of_a_rule_is_the_function_that_was_written(wrap):
    """A wrapper that vmap adds and that is not looked through would make one rule of all that are mapped."""
    eqn = first(wrap(sine), X.reshape(3, 1))
    assert compat.backward_function(eqn) is sine_backward


def test_other_equations_have_no_backward_pass():
    assert compat.backward_function(first(cosine, X)) is None
    assert compat.backward_function(first(jax.jit(jnp.sin), X)) is None


def test_what_a_rule_closes_over_comes_first_among_its_inputs():
    table = jnp.arange(3.0) + 5
    closing = jax.custom_vjp(lambda x: x * table)
    closing.defvjp(lambda x: (x * table, ()), lambda _, u: (u * table,))
    eqn = first(closing, X)
    assert compat.closed_over(eqn) == 1
    assert compat.closed_over(first(lambda x: lax.scan(lambda c, _: (c * table, None), x, None, length=2)[0], X)) == 0
    np.testing.assert_allclose(
        compat.binding(eqn)(np.array([1, 2, 3], np.float32), X)[0], X * np.array([1, 2, 3], np.float32)
    )


def test_a_jitted_function_goes_by_its_name():
    def layer(x):
        return jnp.sin(x)

    assert compat.name_of_call(first(jax.jit(layer), X)) == "layer"
    assert first(jax.jit(layer), X).primitive.name in compat.JITTED
    assert compat.name_of_call(first(sine, X)) == ""


def test_the_function_that_a_rule_was_made_of_is_known():
    def plain(x):
        return x

    assert compat.plain_function_of(jax.custom_vjp(plain)) is plain
    assert compat.plain_function_of(jax.custom_jvp(plain)) is plain
    assert compat.plain_function_of(plain) is None


def test_a_custom_vjp_has_two_halves():
    parts = compat.custom_vjp_parts(sine)
    assert parts is not None
    assert (parts.forward, parts.backward, parts.nondiff_argnums) == (sine_forward, sine_backward, ())
    assert compat.custom_vjp_parts(cosine) is None
    assert compat.custom_vjp_parts(jnp.sin) is None
    assert compat.custom_vjp_parts(jax.custom_vjp(jnp.sin)) is None
    held = jax.custom_vjp(lambda n, x: x * n, nondiff_argnums=(0,))
    held.defvjp(lambda n, x: (x * n, None), lambda n, _, u: (u * n,))
    parts = compat.custom_vjp_parts(held)
    assert parts is not None
    assert parts.nondiff_argnums == (0,)


def test_gradients_are_added_into_references():
    ref = jax.new_ref(jnp.ones(3))
    compat.vjp_into_refs(jax.vjp(jnp.sin, X)[1], ref, jnp.ones(3))
    np.testing.assert_allclose(jax.freeze(ref), 1 + jnp.cos(X), rtol=1e-6)


@pytest.mark.parametrize("on", [False, True])
def test_whether_64_bits_are_on_is_known(on):
    with jax.enable_x64(on):
        assert compat.x64_enabled() == on == (jnp.ones(1, float).dtype == np.float64)


def test_settings_are_known_by_name():
    before = jax.config.jax_compilation_cache_dir
    try:
        jax.config.update("jax_compilation_cache_dir", "elsewhere")
        assert compat.settings()["jax_compilation_cache_dir"] == "elsewhere"
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


def test_tracers_are_told_from_values():
    seen = []
    jax.jit(lambda x: seen.append(isinstance(x, compat.Tracer)) or x)(1.0)
    assert seen == [True]
    assert not isinstance(X, compat.Tracer)


def test_the_options_of_a_quick_compilation_are_known_to_this_release():
    """One of them, which only saves time, is not known to every release."""
    program = compat.compile_quickly(jax.jit(lambda x: x + 1).lower(1.0))
    assert program(1.0) == 2
    assert {*compat._QUICK} >= {
        "xla_backend_optimization_level",
        "xla_llvm_disable_expensive_passes",
        "xla_cpu_parallel_codegen_split_count",
        "xla_allow_excess_precision",
    }


def test_a_primitive_of_our_own_runs_differentiates_transposes_and_maps():
    """A primitive that doubles, and adds up what its transformations are told."""
    told = []

    def jvp(primals, tangents):
        told.append("jvp")
        moved = [jnp.zeros_like(x) if t is compat.ZERO else t for x, t in zip(primals, tangents, strict=True)]
        return double.bind(*primals), double.bind(*moved)

    def transpose(upstream, *operands):
        told.append("transpose")
        return [None if u is compat.ZERO else 2 * u for u in upstream]

    def batch(operands, axes):
        told.append("batch")
        return double.bind(*operands), axes

    double = compat.define_primitive(
        "double",
        lambda *xs: [2 * x for x in xs],
        shapes=lambda *xs: [compat.strong_aval(x) for x in xs],
        jvp=jvp,
        transpose=transpose,
        batch=batch,
    )
    assert isinstance(double, compat.Primitive)
    assert double.bind(X)[0].tolist() == (2 * X).tolist()
    assert jax.jit(lambda x: double.bind(x)[0])(X).tolist() == (2 * X).tolist()
    assert jax.grad(lambda x: double.bind(x, 1.0)[0])(3.0) == 2
    assert jax.vmap(lambda x: double.bind(x)[0])(X).tolist() == (2 * X).tolist()
    assert {*told} == {"jvp", "transpose", "batch"}
    assert not jax.make_jaxpr(lambda x: double.bind(x)[0])(1.0).out_avals[0].weak_type


# Watching calls of rules.

HIJAX: Any = getattr(hijax, "HiPrim", None) or hijax.VJPHiPrimitive


class Tripled(HIJAX):
    """A primitive with a backward pass of its own."""

    def __init__(self, aval):
        self.in_avals, self.out_aval, self.params = (aval,), aval, {}
        super().__init__()

    def expand(self, x):
        return 3 * x

    def vjp_fwd(self, nzs, x):
        return self(x), None

    def vjp_bwd_retval(self, residuals, upstream):
        return (3 * upstream,)


def tripled(x):
    return Tripled(jax.typeof(x))(x)


class Told:
    """A watcher that notes the names of what it is told of."""

    def __init__(self):
        self.calls, self.primitives, self.compiled = [], [], 0

    def called(self, rule, parts, args, kwargs, proceed):
        self.calls.append((parts.kind, parts.plain.__name__))
        return compat.rule_call(proceed, *args, **kwargs)

    def bound(self, primitive, args, params, proceed):
        self.primitives.append((primitive.name, compat.bound_rule(primitive, params)))
        return proceed(*args, **params)

    def compiled_called(self, compiled):
        self.compiled += 1


def test_the_parts_of_a_rule_are_known():
    parts = compat.rule_parts(sine)
    assert parts == compat.RuleParts(
        "custom_vjp", compat.plain_function_of(sine) or sine, (sine_forward, sine_backward)
    )
    parts = compat.rule_parts(cosine)
    assert parts is not None
    assert (parts.kind, parts.plain, len(parts.derivative)) == ("custom_jvp", cosine.__wrapped__, 1)
    held = jax.custom_jvp(lambda n, x: x * n, nondiff_argnums=(0,))
    parts = compat.rule_parts(held)
    assert parts is not None
    assert (parts.static, parts.derivative) == ({0}, ())
    parts = compat.rule_parts(Tripled(jax.typeof(X)))
    assert parts is not None
    assert (parts.kind, parts.plain(2.0), len(parts.derivative)) == ("hijax", 6.0, 2)
    assert compat.rule_parts(jnp.sin) is None


@pytest.mark.parametrize("kind", ["custom_vjp", "custom_jvp"])
def test_the_newer_classes_of_rules_are_known_where_a_release_has_them(kind):
    flag = f"jax_{kind}3"
    if not hasattr(jax.config, flag):
        pytest.skip(f"this release has no {flag}")
    before = getattr(jax.config, flag)
    jax.config.update(flag, True)
    try:
        made = getattr(jax, kind)(jnp.square)
        derivative = (
            (lambda x: (x**2, x), lambda x, u: (2 * x * u,)) if kind == "custom_vjp" else (lambda p, t: (p, t),)
        )
        (made.defvjp if kind == "custom_vjp" else made.defjvp)(*derivative)
        parts = compat.rule_parts(made)
        told = Told()
        with compat.intercepted(told):
            jax.make_jaxpr(made)(1.0)
    finally:
        jax.config.update(flag, before)
    assert parts is not None
    assert (parts.kind, parts.plain, parts.derivative) == (kind, jnp.square, derivative)
    assert (kind, "square") in told.calls
    assert any(rule is not None and rule.kind == kind for _, rule in told.primitives)


def test_calls_are_noticed_in_this_thread_alone_and_nothing_stays_replaced():
    originals = [cls.__dict__["__call__"] for cls in (jax.custom_vjp, jax.custom_jvp, jax.stages.Compiled)]
    bind = compat.Primitive.__dict__["bind"]
    compiled = jax.jit(lambda x: x + 1).lower(X).compile()
    told, other = Told(), Told()
    with compat.intercepted(told):
        with compat.intercepted(other), compat.intercepted(None):
            sine(X)
        thread = threading.Thread(target=lambda: sine(X))
        thread.start()
        thread.join()
        jax.make_jaxpr(lambda x: cosine(sine(x)))(1.0)
        compiled(X)
    sine(X)
    assert told.calls == [("custom_vjp", "sine"), ("custom_jvp", "cosine")]
    assert other.calls == []
    assert told.compiled == 1
    assert {"custom_vjp_call", "custom_jvp_call", "sin", "cos"} <= {name for name, _ in told.primitives}
    assert [cls.__dict__["__call__"] for cls in (jax.custom_vjp, jax.custom_jvp, jax.stages.Compiled)] == originals
    assert compat.Primitive.__dict__["bind"] is bind


def test_a_rule_that_is_bound_says_what_it_is():
    told, traced_before = Told(), jax.make_jaxpr(lambda x: cosine(sine(tripled(x))))(1.0)
    with compat.intercepted(told):
        jax.make_jaxpr(compat.jaxpr_as_fun(traced_before))(1.0)
    found = {rule.kind: rule for _, rule in told.primitives if rule is not None}
    assert {rule.name for rule in found.values()} == {"sine", "cosine", "Tripled"}
    assert all(rule.place.rpartition(":")[0] == __file__ for rule in found.values())
    assert found["custom_vjp"].plain(2.0)[0] == jnp.sin(2.0)
    assert found["hijax"].plain(2.0) == [6.0]
    assert len(found["hijax"].derivative) == 2
    assert compat.bound_rule(jax.lax.sin_p, {}) is None


def test_equations_of_a_derivative_have_the_call_of_the_rule_in_their_traceback():
    with compat.intercepted(Told()):
        program = jax.make_jaxpr(jax.grad(lambda x: sine(x) + x**2))(1.0)
    of_the_rule = [any("rule_call" in f for _, _, f in compat.traceback_of(e)) for e in program.jaxpr.eqns]
    assert of_the_rule.count(True) >= 2
    assert of_the_rule.count(False) >= 1


def test_linear_functions_with_a_transpose_of_their_own_are_taken_apart():
    matrix = jnp.array([[2.0, 0.3], [0.1, 1.0]])

    def transposed(vecmat, b):
        return jnp.linalg.solve(matrix.T, b)

    def solved(b):
        return lax.custom_linear_solve(
            lambda v: matrix @ v, b, lambda matvec, b: jnp.linalg.solve(matrix, b), transposed
        )

    def scaled(x):
        return jax.custom_derivatives.linear_call(lambda r, v: r * v, lambda r, u: r * u, jnp.float32(3), x)

    found = []

    class Looking(Told):
        def bound(self, primitive, args, params, proceed):
            rule = compat.linear_rule(primitive, params)
            found.extend([(rule, args)] if rule is not None else [])
            return proceed(*args, **params)

    b = jnp.ones(2)
    with compat.intercepted(Looking()):
        answers = [solved(b), scaled(b)]
    own = [(rule, args) for rule, args in found if rule.place.startswith(__file__)]
    assert [rule.name for rule, _ in own] == ["transposed", "<lambda>"]
    for (rule, args), answer in zip(own, answers, strict=True):
        np.testing.assert_allclose(rule.plain(*args)[0], answer, rtol=1e-6)
        np.testing.assert_allclose(rule.plain(*args[: rule.fixed], 2 * b)[0], 2 * answer, rtol=1e-6)


def test_roots_and_exported_programs_are_known_by_their_functions():
    calls = []

    class Looking(Told):
        def called(self, rule, parts, args, kwargs, proceed):
            code = parts.plain.__code__
            calls.append((compat.is_custom_root(parts.plain), compat.is_exported(code.co_filename)))
            return proceed(*args, **kwargs)

        def bound(self, primitive, args, params, proceed):
            rule = compat.bound_rule(primitive, params)
            calls.append((rule is not None and rule.kind == "custom_root", False))
            return proceed(*args, **params)

    exported = jax.export.export(jax.jit(jnp.sin))(X)
    with compat.intercepted(Looking()):
        exported.call(X)
        lax.custom_root(lambda y: y - 1.0, 0.0, lambda f, y: y + 1.0, lambda g, b: b)
    assert (False, True) in calls
    assert (True, False) in calls


def test_derivative_rules_of_other_peoples_primitives_are_found():
    foreign = compat.Primitive("foreign")
    slope = lambda t, x: 2 * t  # noqa: E731
    ad.defjvp(foreign, slope)
    assert slope in compat.derivative_rules(foreign)
    assert compat.derivative_rules(lax.sin_p) == []
    assert compat.derivative_rules(compat.Primitive("without rules")) == []
    assert compat.derivative_rules(compat.define_mark(lambda **params: None)) == []


def test_what_was_linearized_is_known_by_its_function():
    def function(x):
        return jnp.sin(x)

    (_, pull), (_, pushforward) = jax.vjp(function, X), jax.linearize(function, X)
    for linear in (pull, pushforward):
        found = compat.linearized_before(linear)
        assert found is not None
        assert (found[0], found[1].rpartition(":")[0]) == ("function", __file__)
    assert compat.linearized_before(jax.tree_util.Partial(function)) is None
    assert compat.linearized_before(function) is None


def test_kernels_and_callbacks_go_by_the_names_that_people_gave_them():
    named = []

    class Looking(Told):
        def bound(self, primitive, args, params, proceed):
            named.extend([compat.name_of_opaque(primitive, params)] if primitive.name in compat.OPAQUE else [])
            return proceed(*args, **params)

    def kernel(x_ref, o_ref):
        o_ref[...] = x_ref[...]

    def on_host(x):
        return x

    shape = jax.ShapeDtypeStruct(X.shape, X.dtype)

    def program(x):
        x = jax.pure_callback(on_host, shape, pl.pallas_call(kernel, out_shape=shape, interpret=True)(x))
        return jax.ffi.ffi_call("some_target", shape)(x)

    with compat.intercepted(Looking()):
        jax.make_jaxpr(program)(X)
    assert named == ["kernel", "on_host", "some_target"]


def test_a_tap_tells_what_comes_by_through_every_transformation():
    came = []
    tap = compat.define_tap(lambda *xs, **params: came.append((xs, params)))

    def tapped(x, y):
        return tap.bind(x, y, call="here", axes=(), differentiated=frozenset(), kept=True)

    assert tapped(2.0, X)[0] == 2.0
    assert came.pop()[1] == {"call": "here", "axes": (), "differentiated": frozenset()}

    @jax.custom_vjp
    def backward_alone(x):
        return x

    # Of the forward pass nothing is needed: a tap that may be dropped would be.
    backward_alone.defvjp(lambda x: (x, None), lambda _, u: (u,))
    loss = lambda x, y: backward_alone(tapped(x, y)[0])  # noqa: E731
    jax.jit(jax.grad(loss))(2.0, X)
    jax.effects_barrier()
    ((x, y), params) = came.pop()
    assert (float(x), y.tolist()) == (2.0, X.tolist())
    assert params["differentiated"] == {0}
    jax.jit(jax.vmap(lambda x: tapped(x, 1.0)[0], axis_name="rows"))(X)
    jax.effects_barrier()
    ((x, _), params) = came.pop()
    assert x.tolist() == X.tolist()
    assert params["axes"] == (compat.MappedAxis((True, False), 3, "rows"),)
    assert not came
    key = jax.random.key(0)
    jax.jit(lambda k: tap.bind(k, call=None, axes=(), differentiated=frozenset(), kept=True))(key)
    jax.effects_barrier()
    assert came.pop()[0][0] == key


def test_a_mark_tells_whether_a_gradient_arrives():
    arrived = []
    mark = compat.define_mark(lambda output: arrived.append(output))

    def both(x):
        return mark.bind(jnp.sin(x), output=0), mark.bind(jnp.cos(x), output=1)

    assert jax.jit(jax.vmap(both))(X)[1].tolist() == jnp.cos(X).tolist()
    assert arrived == []
    np.testing.assert_allclose(jax.grad(lambda x: both(x)[1])(1.0), -np.sin(1.0), rtol=1e-6)
    assert arrived == [1]


def test_a_function_without_a_derivative_runs_and_refuses_to_be_differentiated():
    plain = compat.without_derivative(lambda x: [jnp.sin(x)])
    assert jax.jit(lambda x: plain(x)[0])(1.0) == jnp.sin(1.0)
    with pytest.raises(NotImplementedError, match="without_derivative"):
        jax.grad(lambda x: plain(x)[0])(1.0)


def test_a_weak_type_gives_way():
    assert (compat.weakly_typed(X) * jnp.ones(3, jnp.bfloat16)).dtype == jnp.bfloat16
    assert jax.grad(lambda x: compat.weakly_typed(x).sum())(X).tolist() == [1, 1, 1]


def test_the_axes_over_which_a_program_is_split_are_known():
    found = []

    def shard(x):
        found.append(compat.manual_axes())
        return x

    assert compat.manual_axes() == {}
    jax.jit(jax.shard_map(shard, mesh=one_device_mesh(), in_specs=jax.P("devices"), out_specs=jax.P("devices")))(X)
    assert found == [{"devices": 1}]


def doubled_in_blocks(x, interpret=True, **params):
    def kernel(x_ref, o_ref):
        o_ref[...] = 2 * x_ref[...]

    block = pl.BlockSpec((None, 4), lambda i, j: (i, j))
    return pl.pallas_call(
        kernel,
        grid=(2, 2),
        in_specs=[block],
        out_specs=block,
        out_shape=jax.ShapeDtypeStruct(x.shape, x.dtype),
        interpret=interpret,
        name="doubled",
        **params,
    )(x)


def test_the_blocks_of_a_pallas_kernel():
    kernel = compat.kernel_of(first(lambda x: doubled_in_blocks(x, input_output_aliases={0: 0}), jnp.ones((2, 7))))
    assert (kernel.name, kernel.grid, kernel.aliases, kernel.parallel) == ("doubled", (2, 2), ((0, 0),), ())
    (read,), (written,) = kernel.inputs, kernel.outputs
    assert read.shape == written.shape == (2, 7)
    assert read.block == written.block == (1, 4)
    assert written.place is not None
    assert written.place((1, 0)) == (1, 0)


def test_a_pallas_kernel_as_a_program_of_jaxs_own_primitives():
    x = jnp.arange(14.0).reshape(2, 7)
    program = compat.interpreted_kernel(first(lambda x: doubled_in_blocks(x, interpret=False), x))
    assert "pallas_call" not in str(program)
    assert jnp.array_equal(compat.jaxpr_as_fun(program)(x)[0], 2 * x)
