"""The fused rules at the sizes that the benchmark suite runs, and what each is expected to save.

A case compares a rule, or a stack of them, with autodiff of the same function; where users write something else (a mask
by `jax.random.bernoulli`), that runs along under the name "usual", and the expectation is against it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxbackprop import layers, losses
from jaxbackprop.benchmarking import Benchmark, benchmark
from jaxbackprop.benchmarking.results import AUTODIFF

USUAL = "usual"


@dataclass(frozen=True)
class Case:
    """One line of the table: what to compare, against whom, and which ratios are expected at most."""

    name: str
    fun: Callable[..., Any]
    args: Callable[[], tuple]
    time: float
    memory: float
    reference: Callable[..., Any] | None = None
    against: tuple[tuple[str, Callable[..., Any]], ...] = ()

    def run(self, seconds: float) -> Benchmark:
        return benchmark(
            self.fun, *self.args(), reference=self.reference, against=dict(self.against), seconds=seconds, oracle=False
        )

    @property
    def rival(self) -> str:
        return USUAL if USUAL in dict(self.against) else AUTODIFF


def _normal(*shapes: tuple[int, ...]) -> list[Any]:
    """Normal numbers, scaled so that products keep their size."""
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.normal(size=s) / np.sqrt(s[-2] if len(s) > 1 else 1), jnp.float32) for s in shapes]


def usual_dropout(x, key, rate=0.5):
    """Dropout as it is usually written: random bits become a mask, and autodiff keeps it."""
    return jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0)


def usual_layer(x, W, b, key):
    return usual_dropout(jax.nn.relu(x @ W + b), key)


def usual_block(x, scale, shift, W1, b1, W2, b2, key):
    m = x.mean(-1, keepdims=True)
    n = (x - m) * jax.lax.rsqrt(((x - m) ** 2).mean(-1, keepdims=True) + 1e-5) * scale + shift
    return x + usual_dropout(jax.nn.gelu(n @ W1 + b1), key, 0.1) @ W2 + b2


def stacked(block):
    """A scan over layers."""
    return lambda x, *parameters: jax.lax.scan(lambda x, p: (block(x, *p), None), x, parameters)[0]


def normed_stack(norm):
    """Four times affine, batch norm and leaky ReLU, the norm and the unit by `norm`."""

    def stack(x, W, scale, shift):
        for layer in range(4):
            x = norm(layers.affine(x, W[layer]), scale, shift)
        return x

    return stack


def fused(quick: bool = False) -> list[Case]:
    """All cases; `quick` makes them small enough for a minute on two cores."""
    few = 4 if quick else 1
    B, C, S, key = 2048 // few, 32000, 1024 // few, jax.random.key(0)
    labels = jnp.asarray(np.random.default_rng(1).integers(0, C, B))
    gelu_block = partial(layers.residual_block, unit="gelu", rate=0.1)
    plain_block = partial(layers.residual_block.primal, unit="gelu", rate=0.1)
    checkpointed = jax.checkpoint(plain_block, policy=jax.checkpoint_policies.dots_saveable)

    def classes(D: int) -> tuple:
        return (*_normal((B, D), (D, C)), labels)

    def block() -> tuple:
        D, L = 256, 8 // min(few, 2)
        x, W1, W2 = _normal((512 // few, D), (L, D, D), (L, D, D))
        flat, ones = jnp.zeros((L, D)), jnp.ones((L, D))
        return x, ones, flat, W1, flat, W2, flat, jax.random.split(key, L)

    def over_time(parts: int) -> tuple:
        x, h, W, U = _normal((64, 32, 128), (32, 128), (128, parts * 128), (128, parts * 128))
        return (x, h, *([h] if parts == 4 else []), W, U, jnp.zeros(parts * 128))

    def normed() -> tuple:
        x, W = _normal((B, 256), (4, 256, 256))
        return x, W, jnp.ones(256), jnp.zeros(256)

    def tree() -> tuple:
        depth, rng = 15, np.random.default_rng(2)
        path = jnp.asarray(rng.integers(0, C, (B, depth)))
        return *_normal((B, 64), (C, 64)), path, jnp.asarray(rng.integers(0, 2, (B, depth)))

    def undone(x, scale, shift):
        return layers.batch_norm_unit(x, scale, shift)[0]

    def apart(x, scale, shift):
        return jax.nn.leaky_relu(layers.batch_norm.primal(x, scale, shift)[0], 2**-7)

    def heads() -> tuple:
        return tuple(_normal(*[(1, 4096 // few, 4, 64)] * 3))

    matrix = lambda: (_normal((B, S))[0], key)  # noqa: E731
    affine = lambda: (*_normal((B, S), (S, S)), jnp.zeros(S), key)  # noqa: E731
    block_rivals = (("checkpointed body", stacked(checkpointed)), (USUAL, stacked(usual_block)))
    causal, plain_causal = (partial(f, causal=True) for f in (layers.attention, layers.attention.primal))
    whole = f"{B} x {C}"
    return [
        *(
            Case(f"{made.name}, {D} features, {whole}", made, partial(classes, D), 0.75, 0.12)
            for made in (losses.linear_cross_entropy, losses.mean_linear_cross_entropy)
            for D in (64, 256)
        ),
        Case("affine_unit_dropout, relu", layers.affine_unit_dropout, affine, 0.9, 0.6, None, ((USUAL, usual_layer),)),
        Case(f"attention, causal, length {4096 // few}", causal, heads, 0.9, 0.1, plain_causal),
        Case("layer_norm", layers.layer_norm, lambda: (*matrix()[:1], jnp.ones(S), jnp.zeros(S)), 0.9, 0.6),
        Case("rms_norm", layers.rms_norm, lambda: (*matrix()[:1], jnp.ones(S)), 0.9, 0.6),
        Case("residual_block in a scan", stacked(gelu_block), block, 0.85, 0.3, stacked(plain_block), block_rivals),
        Case("hashed_dropout", layers.hashed_dropout, matrix, 0.25, 1.0, None, ((USUAL, usual_dropout),)),
        Case("lstm", layers.lstm, lambda: over_time(4), 0.75, 1.0),
        Case("gru", layers.gru, lambda: over_time(3), 1.05, 1.0),
        Case("rnn", layers.rnn, lambda: over_time(1), 1.05, 1.0),
        Case("batch_norm_unit behind affine, 4 layers", normed_stack(undone), normed, 1.05, 1.0, normed_stack(apart)),
        Case(f"hierarchical_softmax, {whole}", losses.hierarchical_softmax, tree, 1.05, 1.0),
    ]  # fmt: skip
