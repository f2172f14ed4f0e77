"""Several seeds at once: each is the run that `fit` makes of it, and mean and spread are theirs."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxbackprop.models import MLP
from jaxbackprop.training import fit, fit_seeds

RNG = np.random.default_rng(0)
X = RNG.normal(size=(42, 4)).astype(np.float32)
Y = (X @ RNG.normal(size=(4, 3))).argmax(1)
SETTINGS: dict[str, Any] = {"valid": (X, Y), "epochs": 3, "batch": 16, "optimizer": "momentum", "lr": 0.1}


def made(rngs: nnx.Rngs) -> MLP:
    return MLP(4, [8], 3, dropout=0.2, norm="batch", rngs=rngs)


def test_each_seed_is_the_run_of_fit_with_that_seed():
    together = fit_seeds(made, (X, Y), seeds=(1, 4), **SETTINGS)
    for seed, history, model in zip((1, 4), together.histories, together.models, strict=True):
        alone = made(nnx.Rngs(seed))
        expected = fit(alone, (X, Y), seed=seed, **SETTINGS)
        for name in ("loss", "valid_loss", "accuracy", "step"):
            ours, theirs = ([getattr(epoch, name) for epoch in of.epochs] for of in (history, expected))
            assert ours == pytest.approx(theirs, rel=1e-5)
        assert history.best.epoch == expected.best.epoch
        assert np.asarray(model(jnp.asarray(X))) == pytest.approx(np.asarray(alone(jnp.asarray(X))), rel=1e-3, abs=1e-4)
    first, second = (history.best.valid_loss or 0 for history in together.histories)
    assert together.mean["held-out loss"] == pytest.approx((first + second) / 2)
    assert together.spread["held-out loss"] == pytest.approx(abs(first - second) / np.sqrt(2))
    assert "held-out accuracy" in str(together)


def test_a_seed_that_diverges_stops_no_other():
    before: list[MLP] = []

    def make(rngs: nnx.Rngs) -> MLP:
        model = MLP(4, [], 3, rngs=rngs)
        if before:
            model.W[0][...] = jnp.full((4, 3), jnp.inf)
        before.append(model)
        return model

    together = fit_seeds(make, (X, Y), seeds=2, epochs=2)
    assert [bool(np.isfinite(history.best.loss)) for history in together.histories] == [True, False]


def test_what_cannot_be_trained_at_once_is_refused():
    with pytest.raises(ValueError, match="no seed"):
        fit_seeds(made, (X, Y), seeds=0)
    with pytest.raises(ValueError, match="data is a loader"):
        fit_seeds(made, lambda epoch: iter([(X, Y)]))
    with pytest.raises(ValueError, match="epochs is 0"):
        fit_seeds(made, (X, Y), epochs=0)
