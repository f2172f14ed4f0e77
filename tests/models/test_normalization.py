"""Batch norm's running statistics, and the settings of all three normalisations."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxbackprop.models.normalization import MOMENTUM, Norm

X = np.random.default_rng(0).normal(3, 2, (40, 5)).astype(np.float32)


def test_running_statistics_move_towards_the_batch_and_are_used_in_evaluation():
    norm: Any = Norm("batch", 5)
    norm(jnp.asarray(X))
    mean = (1 - MOMENTUM) * X.mean(0)
    var = MOMENTUM + (1 - MOMENTUM) * X.var(0)
    assert np.asarray(norm.mean[...]) == pytest.approx(mean, rel=1e-5)
    assert np.asarray(norm.var[...]) == pytest.approx(var, rel=1e-5)
    norm.eval()
    assert np.asarray(norm(jnp.asarray(X))) == pytest.approx((X - mean) / np.sqrt(var + 1e-5), rel=1e-4, abs=1e-5)
    assert np.asarray(norm.mean[...]) == pytest.approx(mean, rel=1e-5)  # evaluation moves nothing


def test_in_training_the_batch_has_mean_shift_and_spread_scale():
    norm: Any = Norm("batch", 5)
    norm.scale[...] = jnp.full(5, 2.0)
    norm.shift[...] = jnp.full(5, -1.0)
    y = np.asarray(norm(jnp.asarray(X)), np.float64)
    assert y.mean(0) == pytest.approx(np.full(5, -1.0), abs=1e-5)
    assert y.std(0) == pytest.approx(np.full(5, 2.0), rel=1e-4)


def test_only_batch_norm_has_running_statistics_and_rms_norm_has_no_shift():
    assert len(nnx.to_flat_state(nnx.state(Norm("batch", 5), nnx.BatchStat))) == 2
    assert len(nnx.to_flat_state(nnx.state(Norm("layer", 5)))) == 2
    assert len(nnx.to_flat_state(nnx.state(Norm("rms", 5)))) == 1
