"""Programs that write to references, and programs spread over devices: exact gradients, or an error that says why."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ref import addupdate
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from jaxbackprop.circuits import trace
from jaxbackprop.gates import sigmoid

X = jnp.arange(4.0) + 1
WRONG = sigmoid.with_backward(lambda a, upstream: upstream * a)


def partly(x):
    """Written in part, as a whole, and added to."""
    r = jax.new_ref(jnp.zeros(4))
    r[1] = 2 * x[0]
    r[...] = r[...] + jnp.sin(x)
    addupdate(r, 0, x[1])
    return (r[...] ** 2).sum()


def in_loops(x):
    r = jax.new_ref(jnp.zeros(4))

    def body(carry, t):
        r[...] = r[...] + t * carry
        return carry * 1.5, None

    jax.lax.scan(body, x[2], x)
    jax.lax.fori_loop(0, 3, lambda i, _: r.__setitem__(i, r[i] * 2.0), None)
    return r[...].sum()


def in_calls(x):
    r = jax.new_ref(x)

    @jax.jit
    def triple(ref):
        ref[0] = ref[0] * 3.0

    triple(r)
    jax.lax.cond(x[0] > 0, lambda: r.__setitem__(1, x[3]), lambda: None)
    return (jax.freeze(r) ** 2).sum()


@pytest.mark.parametrize("unroll", [64, 2])
@pytest.mark.parametrize("fun", [partly, in_loops, in_calls])
def test_a_program_that_writes_to_references_has_the_gradient_of_jax_grad(fun, unroll):
    circuit = trace(fun, X, unroll=unroll)
    np.testing.assert_allclose(circuit.gradients["x"], jax.grad(fun)(X), rtol=1e-6)
    np.testing.assert_allclose(circuit.value, fun(X), rtol=1e-6)


def test_a_reference_read_and_written_whole_is_no_gate_at_all():
    def add_up(x):
        r = jax.new_ref(0.0 * x)
        r[...] = r[...] + jnp.sin(x)
        return r[...]

    assert [gate.name for gate in trace(add_up, 1.0).gates] == ["mul", "sin", "add"]


def test_a_partial_write_is_a_gate_from_the_contents_before_to_those_after():
    circuit = trace(partly, X)
    swap = circuit.gate("swap")
    before, after = swap.inputs[0].value, swap.outputs[1].value
    assert (before.tolist(), after.tolist()) == ([0, 0, 0, 0], [0, 2, 0, 0])


def test_a_reference_from_outside_is_refused():
    ref = jax.new_ref(X)
    with pytest.raises(ValueError, match=r"an argument is a jax\.Ref"):
        trace(lambda r: r[...].sum(), ref)
    with pytest.raises(ValueError, match=r"closes over is a jax\.Ref"):
        trace(lambda x: (ref[...] * x).sum(), X)


def test_a_wrong_rule_between_references_is_named_and_one_in_a_long_loop_is_not_called_right():
    def fun(x):
        r = jax.new_ref(x)
        jax.lax.scan(lambda c, _: (c, r.__setitem__(0, WRONG(r[0]))), 0, jnp.arange(5))
        return r[...].sum()

    assert [gate.name for gate in trace(fun, X).wrong] == ["sigmoid"] * 5
    assert trace(fun, X, unroll=2).gate("scan").verdict in ("undecided", "wrong")


@pytest.fixture(params=[AxisType.Auto, AxisType.Explicit], ids=["auto", "explicit"])
def sharded(request):
    """A mesh of two devices, set where its axes are explicit, and X spread over it."""
    mesh = jax.make_mesh((2,), ("i",), axis_types=(request.param,))
    x = jax.device_put(X, jax.sharding.NamedSharding(mesh, P("i")))
    if request.param is AxisType.Explicit:
        with jax.set_mesh(mesh):
            yield mesh, x
    else:
        yield mesh, x


@pytest.mark.parametrize("out", [P("i"), P()], ids=["shards", "their sum"])
def test_a_shard_map_is_one_gate_with_the_gradient_of_jax_grad(sharded, out):
    mesh, x = sharded

    def fun(x):
        def shard(v):
            y = sigmoid(v) * jnp.sin(v)
            return y if out else jax.lax.psum(y, "i")

        return jax.shard_map(shard, mesh=mesh, in_specs=P("i"), out_specs=out)(x).sum()

    circuit = trace(fun, x)
    assert circuit.gates[0].name == "shard_map"
    assert (circuit.gates[0].kind, circuit.gates[0].verdict) == ("opaque", "agrees")
    np.testing.assert_allclose(circuit.gradients["x"], jax.grad(fun)(x), rtol=1e-6)


def test_a_wrong_rule_inside_a_shard_map_is_found(sharded):
    mesh, x = sharded

    def fun(x):
        return jax.shard_map(lambda v: WRONG(v) * v, mesh=mesh, in_specs=P("i"), out_specs=P("i"))(x).sum()

    assert [gate.name for gate in trace(fun, x).wrong] == ["shard_map"]
