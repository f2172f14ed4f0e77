"""What a signature refuses, and in which words."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Bool, Float, Int, Key

from jaxbackprop.core.signature import Signature


def affine(x: Float[Array, "*B D"], W: Float[Array, "D H"], b: Float[Array, " H"], *, unit: str = "relu"):
    return x @ W + b


def stack(xs: Sequence[Float[Array, "... D"]], mask: Bool[Array, " D"] | None = None):
    return xs, mask


def cells(x: Float[Array, "B H"], W: Float[Array, "H 4*H"], b: Float[Array, "4*H+1"], three: Float[Array, "3"]):
    return x, W, b, three


def entropy(logits: Float[Array, "*B C"], labels: Int[Array, "*B"] | Float[Array, "*B C"], key: Key[Array, ""]):
    return logits, labels, key


def refusal(function, *args, broadcasts=False, **settings) -> str:
    signature = Signature(function, broadcasts=broadcasts)
    with pytest.raises((TypeError, ValueError)) as caught:
        signature.check(signature.bind(args, settings)[0])
    return str(caught.value)


def test_the_error_names_the_axis_both_sizes_and_both_arrays():
    assert refusal(affine, jnp.ones((32, 5)), jnp.ones((4, 10)), jnp.ones(10)) == (
        "affine: D is 5 in x (32, 5) but 4 in W (4, 10).\n  affine takes x (*B, D), W (D, H), b (H,)."
    )


def test_a_wrong_rank_names_the_axes_that_are_taken():
    assert refusal(affine, jnp.ones((32, 5)), jnp.ones(5), jnp.ones(10)).startswith(
        "affine: W has shape (5,), but its axes are (D, H)."
    )
    assert refusal(affine, jnp.ones(()), jnp.ones((5, 2)), jnp.ones(2)).startswith("affine: x has shape ()")


def test_an_axis_written_as_a_product_or_a_number_is_checked():
    ones = jnp.ones
    good = ones((2, 3)), ones((3, 12)), ones(13), ones(3)
    Signature(cells).check(list(good))
    assert "4*H is 12" in refusal(cells, good[0], ones((3, 11)), *good[2:])
    assert "4*H+1 is 13" in refusal(cells, *good[:2], ones(12), good[3])
    assert "3 is 3" in refusal(cells, *good[:3], ones(4))


def test_each_member_of_a_sequence_is_checked_by_its_position():
    assert "D is 4 in xs[0] (2, 4) but 5 in xs[1] (2, 5)" in refusal(stack, [jnp.ones((2, 4)), jnp.ones((2, 5))])
    Signature(stack).check(Signature(stack).bind(([jnp.ones((2, 4))],), {})[0])


def test_a_kind_of_number_that_is_not_taken_is_refused():
    message = refusal(affine, jnp.ones((2, 5), jnp.int32), jnp.ones((5, 2)), jnp.ones(2))
    assert message.startswith("affine: x (2, 5) is int32; it takes a floating-point array.")
    message = refusal(entropy, jnp.ones((2, 3)), jnp.ones((2,), bool), jnp.ones(2))
    assert "it takes a floating-point or an integer array" in message


def test_either_alternative_of_a_union_is_held_to_its_own_axes():
    logits, key = jnp.ones((2, 3)), None
    signature = Signature(entropy)
    for labels in (jnp.zeros(2, jnp.int32), jnp.ones((2, 3))):
        signature.check([logits, labels, key])
    with pytest.raises(ValueError, match=r"\*B is \(2\) in logits \(2, 3\) but \(4\) in labels \(4,\)"):
        signature.check([logits, jnp.zeros(4, jnp.int32), key])


def test_shapes_that_do_not_broadcast_are_named():
    def add(x: Float[Array, "*x"], y: Float[Array, "*y"]):
        return x + y

    message = refusal(add, np.ones(3), np.ones(4), broadcasts=True)
    assert message.startswith("add: x (3,), y (4,) do not broadcast together")


def test_python_numbers_are_taken_for_arrays_and_stay_weak():
    """2 times a bfloat16 array is a bfloat16 array: a Python number never widens what it meets."""
    (x, _, _), settings = Signature(affine).bind((2, jnp.ones((1, 1)), jnp.ones(1)), {"unit": "tanh"})
    assert (x.dtype, x.weak_type, settings) == (jnp.float32, True, {"unit": "tanh"})


def test_a_missing_argument_is_answered_with_the_call():
    message = refusal(affine, jnp.ones((2, 5)))
    assert message == "affine: missing a required argument: 'W'.\n  It is called affine(x, W, b, unit=)."


def test_a_rule_of_uncounted_arguments_is_refused():
    with pytest.raises(TypeError, match=r"\*xs does not"):
        Signature(lambda *xs: xs)


def test_what_is_no_array_is_refused_and_a_list_told_how_to_become_one():
    arrays = jnp.ones((5, 4)), jnp.ones(4)
    assert refusal(affine, [[1.0, 2.0]], *arrays) == (
        "affine: x is a list; it takes a floating-point array. Make one of it: jnp.asarray(x).\n"
        "  affine takes x (*B, D), W (D, H), b (H,)."
    )
    assert refusal(affine, None, *arrays).startswith("affine: x is a NoneType; it takes a floating-point array.")
    assert refusal(affine, "x", *arrays).startswith("affine: x is a str; it takes a floating-point array.")
    Signature(stack).bind(([jnp.ones((2, 4))], None), {})  # a sequence where one is taken, None where it is optional
