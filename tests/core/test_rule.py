"""What `Rule` derives from a definition, and what it refuses."""

import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float, Int, Key

from jaxbackprop.core.rule import Rule, ShapeDtype, WithResiduals, rule, rules

ROOT = Path(__file__).resolve().parents[2]


def scale(x: Float[Array, "*x"], y: Float[Array, "*y"], *, power: float = 1.0) -> WithResiduals[Float[Array, "*xy"]]:
    return x * y**power, (x, y)


def scale_backward(saved, upstream, *, power):
    x, y = saved
    return y**power * upstream, power * x * y ** (power - 1) * upstream


scaled: Rule = Rule(scale, broadcasts=True).with_backward(scale_backward)


def test_the_gradient_is_the_one_written_by_hand():
    tripled = Rule(scale).with_backward(lambda saved, upstream: (3 * upstream, None))
    assert jax.grad(tripled, argnums=(0, 1))(1.0, 2.0) == (3, 0)


def test_settings_reach_forward_and_backward():
    """d(x y^2) = y^2, 2 x y at x = 3, y = 5."""
    assert jax.grad(lambda x, y: scaled(x, y, power=2.0), (0, 1))(3.0, 5.0) == (25, 30)


def test_a_broadcast_input_gets_the_sum_over_its_copies():
    x, y = jnp.arange(6.0).reshape(2, 3), jnp.ones(3)
    _, pull = jax.vjp(scaled, x, y)
    dx, dy = pull(jnp.ones((2, 3)))
    assert dx.shape == (2, 3)
    assert dy.tolist() == [3, 5, 7]


def test_gradients_have_the_dtype_of_their_argument():
    x, y = jnp.ones(3, jnp.bfloat16), jnp.ones(3, jnp.float32)
    out, pull = jax.vjp(scaled, x, y)
    assert out.dtype == jnp.float32
    assert [g.dtype for g in pull(out)] == [jnp.bfloat16, jnp.float32]


def test_integers_and_keys_get_no_gradient_and_pytrees_are_taken():
    @rule
    def chosen(tree: dict, index: Int[Array, ""], key: Key[Array, ""]) -> WithResiduals:
        return tree["a"][index] * tree["b"], (tree, index)

    @chosen.backward
    def chosen_backward(saved, upstream):
        tree, index = saved
        return {"a": jnp.zeros_like(tree["a"]).at[index].set(upstream * tree["b"]), "b": upstream * tree["a"][index]}

    tree = {"a": jnp.array([2.0, 3.0]), "b": jnp.float32(5)}
    gradient = jax.grad(chosen)(tree, jnp.int32(1), jax.random.key(0))
    assert gradient["a"].tolist() == [0, 5]
    assert gradient["b"] == 3
    integers = jax.grad(chosen, argnums=1, allow_int=True)(tree, jnp.int32(1), jax.random.key(0))
    assert integers.dtype == jax.dtypes.float0
    assert "chosen" in rules(__name__.partition(".")[0])


def test_the_primal_is_the_forward_pass_and_has_no_hand_written_gradient():
    wrong = Rule(scale).with_backward(lambda saved, upstream: (upstream * 0, upstream * 0))
    assert jax.grad(wrong.primal)(1.0, 7.0) == 7
    assert jax.grad(wrong)(1.0, 7.0) == 0


@pytest.mark.parametrize(
    "transform", [jax.jit, jax.checkpoint, jax.vmap, lambda f: lambda x, y: jax.lax.map(lambda a: f(*a), (x, y))]
)
def test_a_rule_keeps_its_gradient_under(transform):
    x, y = jnp.array([1.0, 2, 3]), jnp.array([5.0, 7, 11])
    gradients = jax.grad(lambda x, y: transform(scaled)(x, y).sum(), (0, 1))(x, y)
    assert [g.tolist() for g in gradients] == [y.tolist(), x.tolist()]


def test_the_second_derivative_goes_through_the_backward_pass():
    """d2(x y^2)/dy2 = 2 x, d2/dxdy = 2 y."""
    gradient = jax.grad(lambda x, y: scaled(x, y, power=2.0), 1)
    assert jax.grad(gradient, (0, 1))(3.0, 5.0) == (10, 6)


def test_python_numbers_do_not_widen_half_precision():
    assert scaled(2, jnp.ones(3, jnp.bfloat16)).dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("backward", "message"),
    [
        (lambda saved, upstream: upstream, "1 gradients for 2 arguments (x, y)"),
        (lambda saved, upstream: (upstream,) * 3, "3 gradients for 2 arguments (x, y)"),
        (lambda saved, upstream: (upstream[None], upstream), "gradient of x has shape (1, 3), but x has (3,)"),
        (lambda saved, upstream: ([upstream] * 2, upstream), "gradient of x has 2 leaves, but x has 1"),
    ],
)
def test_a_gradient_that_does_not_fit_is_refused_with_file_and_line(backward, message):
    wrong = Rule(scale).with_backward(backward)
    with pytest.raises((TypeError, ValueError)) as caught:
        jax.grad(lambda x: wrong(x, x).sum())(jnp.ones(3))
    assert message in str(caught.value)
    assert f"({__file__}:" in str(caught.value)


def test_a_rule_without_backward_pass_says_so():
    with pytest.raises(TypeError, match=r"scale has no backward pass: define one under @scale.backward"):
        jax.grad(Rule(scale))(1.0, 2.0)


def test_a_setting_that_cannot_be_hashed_is_named():
    with pytest.raises(TypeError, match=r"scale: a setting must be a hashable Python value.*power=\[1\]"):
        scaled(1.0, 2.0, power=[1])
    with pytest.raises(TypeError, match="known before tracing"):
        jax.jit(lambda p: scaled(1.0, 2.0, power=p))(1.0)


def test_a_domain_for_an_unknown_argument_is_refused():
    with pytest.raises(TypeError, match=r"domain= names \['z'\]"):
        Rule(scale, domain={"z": None})


def test_two_modules_of_a_package_cannot_both_define_a_rule():
    def twice(x: Float[Array, "..."]) -> WithResiduals:
        return x, None

    rule(twice)
    rule(twice)  # the same cell of a notebook, run again
    twice.__module__ = f"{twice.__module__}.elsewhere"
    with pytest.raises(ValueError, match=r"rule twice is defined in .* and again in .*elsewhere: rename one"):
        rule(twice)


def test_a_form_keeps_a_shape_through_jit_without_memory():
    def first(x):
        return ShapeDtype(x), x.sum()

    form, _ = jax.jit(first)(np.ones((2, 3), np.float32))
    assert form == ShapeDtype(jnp.zeros((2, 3)))
    assert form != ShapeDtype(jnp.zeros((3, 2)))
    assert jax.tree.leaves(form) == []


def test_a_rule_shows_by_its_name_in_a_jaxpr():
    eqn = jax.make_jaxpr(scaled)(1.0, 2.0).eqns[0]
    assert eqn.primitive.name == "custom_vjp_call"
    assert "name=scale" in str(eqn)


def test_the_librarys_rules_are_there_without_being_imported_first():
    """In a process of its own: here they all are imported."""
    source = "from jaxbackprop.core.rule import rules; print(*rules())"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == list(rules())
    assert {"mul", "layer_norm", "softmax_cross_entropy"} <= set(rules())


def test_a_name_that_is_a_function_and_a_file_stays_the_function():
    """Importing the module `core.rule` does not put it in the place of the decorator."""
    source = """
import jaxbackprop as jbp
import jaxbackprop.core.rule
import jaxbackprop.verification.oracles.autodiff
print(jbp.rule.__name__, jbp.verify.__name__, type(jbp.rule).__name__, type(jbp.verify).__name__)
"""
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == ["rule", "verify", "function", "function"]
