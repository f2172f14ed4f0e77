"""Whole epochs of an MLP: this library's scan beside flax + optax in one scan, and as a Python loop, and torch.

All train 784-512-512-10 with ReLU and plain SGD on the same random pictures, shuffled anew each epoch, data on the
device. Each has a process of its own, for two runtimes in one process hold each other's threads up, and they run an
epoch in turn. Whoever is not installed does not run.

    python experiments/bench_training.py NAME BATCH EXAMPLES     such a process: an epoch for each line it reads
"""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxbackprop.benchmarking.timing import interleaved, interval_of_median
from jaxbackprop.models.mlp import MLP
from jaxbackprop.training.data_source import ArraySource
from jaxbackprop.training.minibatches import on_device
from jaxbackprop.training.optimizer import make_optimizer
from jaxbackprop.training.step import prepare

SIZES, RATE = (784, 512, 512, 10), 0.01
MIN_ROUNDS = 5
OURS = "jaxbackprop"


def pictures(examples: int, sizes: tuple[int, ...] = SIZES) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.random((examples, sizes[0]), np.float32), rng.integers(0, sizes[-1], examples).astype(np.int32)


def ours(
    x: np.ndarray, y: np.ndarray, batch: int, sizes: tuple[int, ...] = SIZES, *, dtype: str | None = None
) -> Callable[[], Any]:
    """One epoch of `fit`: one compiled loop over as many steps as a call may have, in an order drawn on the device."""
    model = MLP(sizes[0], sizes[1:-1], sizes[-1], rngs=nnx.Rngs(0))
    program, state = prepare(model, None, make_optimizer("sgd", optax.constant_schedule(RATE)), dtype=dtype)
    source, held = ArraySource(on_device((x, y), batch), jax.random.key(0)), [state]
    source.compile(program, state)

    def epoch():
        for chunk in source.chunks(program, held[0], 1, 0):
            held[0] = chunk.after
        return held[0]

    return epoch


def products_alone(x: np.ndarray, y: np.ndarray, batch: int, sizes: tuple[int, ...] = SIZES) -> Callable[[], Any]:
    """No training: the matrix products of an epoch and the weights' changes by them, as XLA computes both."""
    weights = [jnp.full(shape, 1e-3) for shape in pairwise(sizes)]
    batches = jnp.asarray(x[: len(x) // batch * batch]).reshape(-1, batch, sizes[0])

    def step(weights: list[jax.Array], x: jax.Array) -> tuple[list[jax.Array], None]:
        inputs, changed = [x], []
        for W in weights:
            inputs.append(inputs[-1] @ W)
        delta = inputs.pop()
        for W, h in zip(reversed(weights), reversed(inputs), strict=True):
            changed.append(W - 1e-9 * (h.T @ delta))  # so little that no number ever becomes subnormal
            delta = delta @ W.T if h is not x else delta
        return changed[::-1], None

    compiled = jax.jit(lambda weights, batches: jax.lax.scan(step, weights, batches)[0], donate_argnums=0)
    held = [weights]

    def epoch():
        held[0] = compiled(held[0], batches)
        return held[0]

    return epoch


class Network(nnx.Module):
    """The same MLP of flax's own layers."""

    def __init__(self, sizes: tuple[int, ...], rngs: nnx.Rngs):
        self.layers = nnx.List([nnx.Linear(a, b, rngs=rngs) for a, b in pairwise(sizes)])

    def __call__(self, x):
        *hidden, last = self.layers
        for layer in hidden:
            x = nnx.relu(layer(x))
        return last(x)


def flax_and_optax(x: np.ndarray, y: np.ndarray, batch: int, sizes: tuple[int, ...] = SIZES) -> Callable[[], Any]:
    """A Python loop over minibatches around a jitted step."""

    model = Network(sizes, nnx.Rngs(0))
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


def flax_and_optax_in_one_scan(
    x: np.ndarray, y: np.ndarray, batch: int, sizes: tuple[int, ...] = SIZES
) -> Callable[[], Any]:
    """The strongest form of flax and optax: an epoch is one jitted scan, its state donated, shuffled on the device."""
    graph, params = nnx.split(Network(sizes, nnx.Rngs(0)))
    optimizer = optax.sgd(RATE)

    def loss(params, x, y):
        return optax.softmax_cross_entropy_with_integer_labels(nnx.merge(graph, params)(x), y).mean()

    def train(state, key, images, labels):
        steps = len(images) // batch
        order = jax.random.permutation(key, len(images))[: steps * batch].reshape(steps, batch)

        def step(state, rows):
            params, optimizer_state = state
            value, gradient = jax.value_and_grad(loss)(params, images[rows], labels[rows])
            updates, optimizer_state = optimizer.update(gradient, optimizer_state, params)
            return (optax.apply_updates(params, updates), optimizer_state), value

        state, losses = jax.lax.scan(step, state, order)
        return state, losses.mean()

    compiled = jax.jit(train, donate_argnums=0)
    held = [(params, optimizer.init(params))]
    images, labels, key = jnp.asarray(x), jnp.asarray(y), jax.random.key(0)

    def epoch():
        held[0], value = compiled(held[0], key, images, labels)
        return value

    return epoch


def torch_eager(
    x: np.ndarray, y: np.ndarray, batch: int, sizes: tuple[int, ...] = SIZES, *, compiled: bool = False
) -> Callable[[], Any]:
    """A Python loop over minibatches; with `compiled` the model and its loss under `torch.compile`."""
    import torch  # pyright: ignore[reportMissingImports]

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")  # on a GPU TF32, as JAX takes by default there
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


CONTENDERS: dict[str, tuple[str, Callable[..., Callable[[], Any]]]] = {
    OURS: ("jax", ours),
    "flax + optax, one scan": ("flax", flax_and_optax_in_one_scan),
    "flax + optax": ("flax", flax_and_optax),
    "torch eager": ("torch", torch_eager),
    "torch.compile": ("torch", partial(torch_eager, compiled=True)),
    "XLA's products alone": ("jax", products_alone),
}
if jax.default_backend() == "gpu":  # a CPU without such units only emulates it
    CONTENDERS["jaxbackprop, bfloat16"] = ("jax", partial(ours, dtype="bfloat16"))


def serve(name: str, batch: int, examples: int) -> None:
    """Be one contender: say how long the first epoch took, compilation included; then run one for each line read."""
    started = time.perf_counter()
    _, make = CONTENDERS[name]
    program = make(*pictures(examples), batch)
    jax.block_until_ready(program())
    print(time.perf_counter() - started, flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        jax.block_until_ready(program())
        print(time.perf_counter() - started, flush=True)


class Contender:
    """The process of one contender."""

    def __init__(self, name: str, batch: int, examples: int):
        command = [sys.executable, __file__, name, str(batch), str(examples)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.first = self._answer()

    def epoch(self) -> float:
        """Seconds for one more epoch."""
        assert self.process.stdin is not None
        print(file=self.process.stdin, flush=True)
        return self._answer()

    def stop(self) -> None:
        """End the process."""
        self.process.communicate()

    def _answer(self) -> float:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args} ended with {self.process.wait()}; its message is above.")
        return float(line)


def epochs(batch: int, examples: int, seconds: float, names: Sequence[str] = tuple(CONTENDERS)) -> dict[str, Any]:
    """Seconds an epoch of ours and of each of `names` that is installed, and how many times as long as ours."""
    names = [
        name for name, (package, _) in CONTENDERS.items() if find_spec(package) and (name in names or name == OURS)
    ]
    contenders = [Contender(name, batch, examples) for name in names]
    end, rounds = time.perf_counter() + seconds, []
    while len(rounds) < MIN_ROUNDS or time.perf_counter() < end:
        rounds.append([contender.epoch() for contender in contenders])
    for contender in contenders:
        contender.stop()
    times = np.array(rounds)
    return {
        name: {
            "seconds": float(np.median(times[:, i])),
            "until first epoch": contenders[i].first,
            "times ours": interval_of_median(times[:, i] / times[:, 0]),
        }
        for i, name in enumerate(names)
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


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
