"""What is drawn from a signature: sizes that differ, 0 and 1 among them, values in their domain, away from kinks."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float, Int, Key

from jaxbackprop.core.domains import below, distinct, nonzero, positive, probabilities, starts
from jaxbackprop.core.example_inputs import CLEARANCE, examples, large
from jaxbackprop.core.rule import Rule


def affine(x: Float[Array, "*B D"], W: Float[Array, "D H"], b: Float[Array, " H"]):
    return x @ W + b, None


def divide(x: Float[Array, "*x"], y: Float[Array, "*y"]):
    return x / y, None


def ramp(z: Float[Array, "..."], *, at: float = 0.0):
    return jnp.maximum(z, at), None


def bags(table: Float[Array, "V D"], ids: Int[Array, "B L"], offsets: Int[Array, " B"], key: Key[Array, ""]):
    return table[ids], (offsets, key)


def entropy(
    logits: Float[Array, "*B C"],
    labels: Int[Array, "*B"] | Float[Array, "*B C"],
    weights: Float[Array, "*B"] | None = None,
):
    return logits, (labels, weights)


def shapes(rule: Rule) -> dict[str, list]:
    return {e.label: [None if x is None else np.shape(x) for x in e.args] for e in examples(rule)}


def test_named_axes_agree_and_differ_and_0_and_1_are_among_them():
    assert shapes(Rule(affine)) == {
        "plain": [(3, 4), (4, 5), (5,)],
        "single": [(4,), (4, 5), (5,)],
        "nested": [(2, 3, 4), (4, 5), (5,)],
        "ones": [(1, 1), (1, 1), (1,)],
        "empty": [(0, 4), (4, 5), (5,)],
    }


def test_a_broadcasting_rule_is_stretched_each_way():
    assert shapes(Rule(divide, broadcasts=True)) == {
        "equal": [(2, 3), (2, 3)],
        "row": [(2, 3), (3,)],
        "column": [(2, 1), (2, 3)],
        "scalar": [(), (3,)],
        "empty": [(0,), (0,)],
    }


def test_each_kind_of_a_union_and_each_absence_is_drawn():
    labels = {e.label.partition(", ")[2] for e in examples(Rule(entropy, domain={"labels": {"int": below("C")}}))}
    assert labels == {"", "labels float", "no weights"}


def test_values_lie_in_their_domain():
    for e in examples(Rule(divide, domain={"x": positive, "y": nonzero}, broadcasts=True)):
        assert np.min(e.args[0], initial=1.0) > 0
        assert (np.abs(e.args[1]) >= 0.3).all()
    made = Rule(bags, domain={"ids": below("V", padding=True), "offsets": starts("L")})
    for e in examples(made):
        table, ids, offsets = e.args[:3]
        assert ids.dtype == np.int32
        assert ((ids >= -1) & (ids < len(table))).all()
        assert (np.diff(offsets) >= 0).all()
        assert (offsets[:1] == 0).all()
    (soft,) = (e for e in examples(Rule(entropy, domain={"labels": {"int": below("C"), "float": probabilities}}))
               if e.label == "nested, labels float")  # fmt: skip
    np.testing.assert_allclose(soft.args[1].sum(-1), 1)


def test_no_two_distinct_values_are_near_each_other_and_none_is_missing():
    for e in examples(Rule(ramp, domain={"z": distinct})):
        assert e.label != "empty"
        assert float(np.diff(np.sort(np.ravel(e.args[0]).astype(float))).min(initial=1.0)) > 0.05


def test_examples_stay_clear_of_kinks_at_every_setting():
    made = Rule(ramp, kinks=lambda z, at: z - at, example_settings=({"at": 0.5},))
    for e in examples(made):
        assert (np.abs(e.args[0] - e.settings["at"]) > CLEARANCE).all()
    assert [e.settings["at"] for e in examples(made)].count(0.5) == 1


def test_a_domain_that_lies_in_a_kink_is_refused():
    with pytest.raises(ValueError, match=r"ramp: 1000 draws all lay within .* of a kink"):
        examples(Rule(ramp, kinks=lambda z: z * 0))


def test_the_same_rule_gets_the_same_inputs_and_another_seed_others():
    first, again, other = (examples(Rule(affine), seed=seed)[0].args[0] for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).all()


def test_a_cast_keeps_integers_and_makes_keys():
    table, ids, _, key = examples(Rule(bags, domain={"ids": below("V"), "offsets": starts("L")}))[0].cast(jnp.bfloat16)
    assert (table.dtype, ids.dtype) == (jnp.bfloat16, jnp.int32)
    assert jnp.issubdtype(key.dtype, jax.dtypes.prng_key)


def test_sequences_are_drawn_with_several_members():
    def join(xs: Sequence[Float[Array, "*B D"]]):
        return xs, None

    assert [x.shape for x in examples(Rule(join))[0].args[0]] == [(3, 4)] * 3


def test_the_large_example_has_the_size_asked_for():
    assert [x.shape for x in large(Rule(affine), size=64, batch=8).args] == [(8, 64), (64, 64), (64,)]
    assert [x.shape for x in large(Rule(ramp, kinks=lambda z, at: z - at), batch=5000).args] == [(5000, 256)]


def test_what_cannot_be_drawn_is_explained():
    def plain(x):
        return x, None

    def index(i: Int[Array, ""]):
        return i, None

    with pytest.raises(ValueError, match=r"plain: no example can be drawn for x.*\n.*Annotate it"):
        examples(Rule(plain))
    with pytest.raises(ValueError, match="index: say which values i takes"):
        examples(Rule(index))
