"""Whole epochs of an MLP: this library's scan beside torch and flax + optax as a user would write them.

All train 784-512-512-10 with ReLU and plain SGD on the same random pictures, shuffled anew each epoch, data on the
device, and run interleaved in one process. Whoever is not installed does not run.
"""

import time
from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxbackprop.bench.timing import interleaved, interval_of_median
from jaxbackprop.models.mlp import MLP
from jaxbackprop.training.batches import on_device
from jaxbackprop.training.fit import prepare
from jaxbackprop.training.optimizer import make_optimizer

SIZES, RATE = (784, 512, 512, 10), 0.01


def pictures(examples: int, sizes: tuple[int, ...] = SIZES) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.random((examples, sizes[0]), np.float32), rng.integers(0, sizes[-1], examples).astype(np.int32)


def ours(x: np.ndarray, y: np.ndarray, batch: int, sizes: tuple[int, ...] = SIZES) -> Callable[[], Any]:
    """One epoch of `fit`: one compiled scan, the state donated from epoch to epoch."""
    model = MLP(sizes[0], sizes[1:-1], sizes[-1], rngs=nnx.Rngs(0))
    program, state = prepare(model, None, make_optimizer("sgd", optax.constant_schedule(RATE)))
    batches, key = on_device((x, y), batch), jax.random.key(0)
    compiled = program.epoch.lower(state, batches, key).compile()
    held = [state]

    def epoch():
        held[0], tally = compiled(held[0], batches, key)
        return tally

    return epoch


def flax_and_optax(x: np.ndarray, y: np.ndarray, batch: int, sizes: tuple[int, ...] = SIZES) -> Callable[[], Any]:
    """A Python loop over minibatches around a jitted step."""

    class Network(nnx.Module):
        def __init__(self, rngs: nnx.Rngs):
            self.layers = nnx.List([nnx.Linear(a, b, rngs=rngs) for a, b in pairwise(sizes)])

        def __call__(self, x):
            *hidden, last = self.layers
            for layer in hidden:
                x = nnx.relu(layer(x))
            return last(x)

    model = Network(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.sgd(RATE), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer, x, y):
        def loss(model):
            return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()

        value, gradient = nnx.value_and_grad(loss)(model)
        optimizer.update(model, gradient)
        return value

    images, labels, rng = jnp.asarray(x), jnp.asarray(y), np.random.default_rng(0)

    def epoch():
        order, value = rng.permutation(len(x)), None
        for start in range(0, len(x) - batch + 1, batch):
            which = order[start : start + batch]
            value = step(model, optimizer, images[which], labels[which])
        return value

    return epoch


def torch_eager(
    x: np.ndarray, y: np.ndarray, batch: int, sizes: tuple[int, ...] = SIZES, *, compiled: bool = False
) -> Callable[[], Any]:
    """A Python loop over minibatches; with `compiled` the model and its loss under `torch.compile`."""
    import torch  # pyright: ignore[reportMissingImports]

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    parts: list = []
    for a, b in pairwise(sizes):
        parts += [torch.nn.Linear(a, b), torch.nn.ReLU()]
    model = torch.nn.Sequential(*parts[:-1]).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    images, labels = torch.from_numpy(x).to(device), torch.from_numpy(y).long().to(device)

    def objective(x, y):
        return torch.nn.functional.cross_entropy(model(x), y)

    if compiled:
        objective = torch.compile(objective, mode="max-autotune" if device == "cuda" else "default")

    def epoch():
        order, loss = torch.randperm(len(x), device=device), torch.zeros(())
        for start in range(0, len(x) - batch + 1, batch):
            which = order[start : start + batch]
            optimizer.zero_grad(set_to_none=True)
            loss = objective(images[which], labels[which])
            loss.backward()
            optimizer.step()
        return loss.item()

    return epoch


def epochs(batch: int, examples: int, seconds: float) -> dict[str, Any]:
    """Seconds an epoch of each that is installed, and how many times as long as ours."""
    x, y = pictures(examples)
    makers: dict[str, Callable[..., Callable[[], Any]]] = {"jaxbackprop": ours, "flax + optax": flax_and_optax}
    if find_spec("torch"):
        makers["torch eager"] = torch_eager
        makers["torch.compile"] = lambda *a: torch_eager(*a, compiled=True)
    started, programs, first = time.perf_counter(), [], {}
    for name, make in makers.items():
        program = make(x, y, batch)
        jax.block_until_ready(program())
        programs.append(program)
        first[name] = time.perf_counter() - started
        started = time.perf_counter()
    times = interleaved(programs, seconds=seconds)
    return {
        name: {
            "seconds": float(np.median(times[:, i])),
            "until first epoch": first[name],
            "times ours": interval_of_median(times[:, i] / times[:, 0]),
        }
        for i, name in enumerate(makers)
    }


def costs(examples: int, seconds: float) -> dict[str, dict[str, float]]:
    """Microseconds an example of our epoch, against width, depth, batch and classes, one varied at a time."""
    varied: dict[str, dict[str, tuple[tuple[int, ...], int]]] = {
        "width": {str(w): ((256, w, w, 10), 128) for w in (32, 64, 128, 256, 512)},
        "depth": {str(d): ((256, *[128] * d, 10), 128) for d in (1, 2, 4, 8, 16)},
        "batch": {str(b): ((256, 128, 128, 10), b) for b in (8, 32, 128, 512, 2048)},
        "classes": {str(c): ((256, 128, 128, c), 128) for c in (2, 10, 100, 1000, 10000)},
    }
    measured: dict[str, dict[str, float]] = {}
    for name, cases in varied.items():
        programs = [ours(*pictures(examples, sizes), batch, sizes) for sizes, batch in cases.values()]
        times = np.median(interleaved(programs, seconds=seconds), 0)
        measured[name] = {case: 1e6 * float(t) / examples for case, t in zip(cases, times, strict=True)}
    return measured
