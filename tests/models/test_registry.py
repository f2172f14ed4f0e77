"""A model becomes plain data and comes back."""

import json

import jax
import pytest
from flax import nnx

from jaxbackprop.models import MLP, BagOfWords, TwoLayerScorer, WindowClassifier, build, describe

MADE = [
    MLP(5, [4, 3], 2, unit="gelu", dropout=0.25, norm="batch", smoothing=0.1, rngs=nnx.Rngs(0)),
    TwoLayerScorer(5, (4, 3), unit="tanh", margin=0.5, rngs=nnx.Rngs(0)),
    WindowClassifier(9, 4, 3, 7, unit="hard_tanh", margin=2.0, rngs=nnx.Rngs(0)),
    BagOfWords(7, 4, 3, pool="sum", rngs=nnx.Rngs(0)),
]


@pytest.mark.parametrize("model", MADE, ids=lambda model: type(model).__name__)
def test_a_model_is_built_again_from_json(model: nnx.Module):
    """None of the settings above is a default, so one that is forgotten shows."""
    description = json.loads(json.dumps(describe(model)))
    again = build(description, rngs=nnx.Rngs(1))
    assert describe(again) == describe(model)
    for a, b in zip(jax.tree.leaves(nnx.state(model)), jax.tree.leaves(nnx.state(again)), strict=True):
        assert a.shape == b.shape


def test_a_model_of_ones_own_is_only_named():
    class Mine(nnx.Module):
        def __init__(self, size: int):
            self.size = size

    assert describe(Mine(3)) == {"class": "Mine"}
    with pytest.raises(ValueError, match="no model is called 'Mine'"):
        build(describe(Mine(3)), rngs=nnx.Rngs(0))
