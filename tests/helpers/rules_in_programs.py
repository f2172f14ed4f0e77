"""Every way to write a rule, each wrong by a factor or right, and every kind of program that differentiates inside."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import lax
from jax.experimental import hijax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

HIJAX: Any = getattr(hijax, "HiPrim", None) or hijax.VJPHiPrimitive
Function = Callable[..., Any]


def slope(x: Any) -> Any:
    return 1 - jnp.tanh(x) ** 2


def custom_vjp(factor: float) -> Function:
    @jax.custom_vjp
    def custom_vjp(x):
        return jnp.tanh(x)

    custom_vjp.defvjp(lambda x: (jnp.tanh(x), x), lambda x, u: (factor * u * slope(x),))
    return custom_vjp


def custom_jvp(factor: float) -> Function:
    @jax.custom_jvp
    def custom_jvp(x):
        return jnp.tanh(x)

    custom_jvp.defjvp(lambda p, t: (custom_jvp(*p), factor * slope(p[0]) * t[0]))
    return custom_jvp


def nondiff_argnums(factor: float) -> Function:
    @functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
    def nondiff_argnums(n, x):
        return n * jnp.tanh(x)

    nondiff_argnums.defvjp(lambda n, x: (n * jnp.tanh(x), x), lambda n, x, u: (factor * n * u * slope(x),))
    return lambda x: nondiff_argnums(2, x)


def pytrees(factor: float) -> Function:
    @jax.custom_vjp
    def pytrees(tree):
        return {"y": jnp.tanh(tree["x"]), "other": tree["more"][0]}

    pytrees.defvjp(
        lambda tree: ({"y": jnp.tanh(tree["x"]), "other": tree["more"][0]}, tree["x"]),
        lambda x, u: ({"x": factor * u["y"] * slope(x), "more": (u["other"],)},),
    )
    return lambda x: pytrees({"x": x, "more": (jnp.ones(2),)})["y"]


def closes_over_an_array(factor: float) -> Function:
    """Its forward pass calls itself."""
    half = jnp.full((), 0.5)

    @jax.custom_vjp
    def closes_over_an_array(x):
        return half * jnp.tanh(x)

    closes_over_an_array.defvjp(lambda x: (closes_over_an_array(x), x), lambda x, u: (factor * half * u * slope(x),))
    return closes_over_an_array


def symbolic_zeros(factor: float) -> Function:
    @jax.custom_vjp
    def symbolic_zeros(x, y):
        return jnp.tanh(x) * y

    symbolic_zeros.defvjp(
        lambda x, y: (jnp.tanh(x.value) * y.value, (x.value, y.value)),
        lambda r, u: (factor * u * r[1] * slope(r[0]), None),
        symbolic_zeros=True,
    )
    return lambda x: symbolic_zeros(x, 2.0)


def custom_gradient(factor: float) -> Function:
    @jax.custom_gradient
    def custom_gradient(x):
        return jnp.tanh(x), lambda u: (factor * u * slope(x),)

    return custom_gradient


def hijax_primitive(factor: float) -> Function:
    class hijax_primitive(HIJAX):
        def __init__(self, aval):
            self.in_avals, self.out_aval, self.params = (aval,), aval, {"factor": factor}
            super().__init__()

        def expand(self, x):
            return jnp.tanh(x)

        def vjp_fwd(self, nzs, x):
            return self(x), x

        def vjp_bwd_retval(self, x, upstream):
            return (factor * upstream * slope(x),)

        def batch(self, axis, args, dims):
            x = jnp.moveaxis(args[0], dims[0], 0)
            return hijax_primitive(jax.typeof(x))(x), 0

    return lambda x: hijax_primitive(jax.typeof(x))(x)


def primitive(factor: float) -> Function:
    made = Primitive("primitive")
    made.def_impl(jnp.tanh)
    made.def_abstract_eval(lambda x: x)
    mlir.register_lowering(made, mlir.lower_fun(jnp.tanh, multiple_results=False))
    ad.defjvp(made, lambda t, x: factor * slope(x) * t)
    batching.primitive_batchers[made] = lambda xs, dims: (made.bind(*xs), dims[0])
    return lambda x: made.bind(x)  # the method as it is at the call


def linear_call(factor: float) -> Function:
    def linear_call(r, v):
        return r * v

    scale = jnp.full((), 3.0)
    return lambda x: jax.custom_derivatives.linear_call(linear_call, lambda r, u: factor * r * u, scale, x)


RULES = {
    f.__name__: f
    for f in (
        custom_vjp, custom_jvp, nondiff_argnums, pytrees, closes_over_an_array, symbolic_zeros, custom_gradient,
        hijax_primitive, primitive, linear_call,
    )
}  # fmt: skip

ONCE = {"hijax_primitive", "closes_over_an_array"}
"""They cannot be differentiated forward: it has no rule for that, or calls a custom_vjp in its forward pass."""
NOT_MAPPED = {"linear_call"}
"""JAX has no batching rule for them."""

w0 = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32) * 0.5
x0 = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)


def total(rules: list[Function], w: Any, x: Any = x0) -> Any:
    """A loss of all the rules."""
    return sum(jnp.sum(rule(x @ w) ** 2) for rule in rules)


def grad_in_jit(rules: list[Function]) -> tuple[Function, tuple]:
    return jax.jit(lambda w: w - 0.1 * jax.grad(lambda w: total(rules, w))(w)), (w0,)


def jitted_before(rules: list[Function]) -> tuple[Function, tuple]:
    inner = jax.jit(lambda w: total(rules, w))
    jax.make_jaxpr(inner)(w0)  # JAX remembers what it traced
    return jax.grad(inner), (w0,)


def training_step(rules: list[Function]) -> tuple[Function, tuple]:
    """Jitted, donating, with an optimizer of optax."""
    optimizer = optax.adamw(1e-3)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(w, state, x):
        loss, gradient = jax.value_and_grad(lambda w: total(rules, w, x))(w)
        updates, state = optimizer.update(gradient, state, w)
        return optax.apply_updates(w, updates), state, loss

    w = jnp.asarray(w0)
    return step, (w, optimizer.init(w), x0)


def gradients_per_example(rules: list[Function]) -> tuple[Function, tuple]:
    return jax.jit(jax.vmap(jax.grad(lambda w, x: total(rules, w, x)), (None, 0))), (w0, x0)


def hessian_times_vector(rules: list[Function]) -> tuple[Function, tuple]:
    gradient = jax.grad(lambda w: total(rules, w))
    return jax.jit(lambda w, v: jax.jvp(gradient, (w,), (v,))[1]), (w0, w0)


def linearized(rules: list[Function]) -> tuple[Function, tuple]:
    return jax.jit(lambda w: jax.linearize(lambda w: total(rules, w), w)[1](w)), (w0,)


def pulled_back(rules: list[Function]) -> tuple[Function, tuple]:
    return jax.jit(lambda w: jax.vjp(lambda w: total(rules, w), w)[1](2.0)), (w0,)


def layers_in_a_scan(rules: list[Function]) -> tuple[Function, tuple]:
    """Rematerialised."""

    @jax.checkpoint
    def layer(h, w):
        for rule in rules:
            h = rule(h @ w)
        return h, None

    return jax.jit(jax.grad(lambda ws: jnp.sum(lax.scan(layer, x0, ws)[0] ** 2))), (np.stack([w0] * 5),)


def gradients_in_loops(rules: list[Function]) -> tuple[Function, tuple]:
    gradient = jax.grad(lambda w: total(rules, w))

    def program(w):
        w = lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] - 0.1 * gradient(c[1])), (0, w))[1]
        w = lax.cond(w.sum() < 1e9, gradient, lambda w: w, w)
        return lax.scan(lambda w, _: (w - 0.1 * gradient(w), None), w, None, length=4)[0]

    return jax.jit(program), (w0,)


def split_over_devices(rules: list[Function]) -> tuple[Function, tuple]:
    mesh = jax.make_mesh((2,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))

    def shard(w, x):
        return lax.psum(jax.grad(lambda w: total(rules, w, x))(lax.pcast(w, "d", to="varying")), "d")

    return jax.jit(jax.shard_map(shard, mesh=mesh, in_specs=(jax.P(), jax.P("d")), out_specs=jax.P())), (w0, w0)


def nnx_model(rules: list[Function]) -> tuple[Function, tuple]:
    class Model(nnx.Module):
        def __init__(self, rngs: nnx.Rngs):
            self.linear = nnx.Linear(4, 4, rngs=rngs)

        def __call__(self, x: Any) -> Any:
            return sum(jnp.sum(rule(self.linear(x)) ** 2) for rule in rules)

    model = Model(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(1e-3), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer, x):
        loss, gradient = nnx.value_and_grad(lambda model: model(x))(model)
        optimizer.update(model, gradient)
        return loss

    return step, (model, optimizer, x0)


def branching_in_python(rules: list[Function]) -> tuple[Function, tuple]:
    """It cannot be traced as one program."""

    def step(w):
        loss, gradient = jax.value_and_grad(lambda w: total(rules, w))(w)
        return w - gradient if loss > 0 else w

    return step, (jnp.asarray(w0),)


PROGRAMS: dict[str, tuple[Function, int, set[str]]] = {
    "grad_in_jit": (grad_in_jit, 1, set()),
    "jitted_before": (jitted_before, 1, set()),
    "training_step": (training_step, 1, set()),
    "gradients_per_example": (gradients_per_example, 3, NOT_MAPPED),
    "hessian_times_vector": (hessian_times_vector, 1, ONCE),
    "linearized": (linearized, 1, set(RULES) - {"custom_jvp", "primitive"}),
    "pulled_back": (pulled_back, 1, set()),
    "layers_in_a_scan": (layers_in_a_scan, 5, {"hijax_primitive"}),
    "gradients_in_loops": (gradients_in_loops, 8, set()),
    "split_over_devices": (split_over_devices, 2, set()),
    "nnx_model": (nnx_model, 1, set()),
    "branching_in_python": (branching_in_python, 1, set()),
}
"""What makes each from rules, how often it calls each of them, and the rules that JAX itself cannot run in it."""
