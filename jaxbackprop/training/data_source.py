"""Where the minibatches of an epoch come from: arrays on the device, shuffled there, or a loader of the caller's.

Both are trained on in chunks of steps: between two of them the run is saved, stopped and looked at.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.typing import ArrayLike

from ..data.bags import Bags
from .minibatches import Batches, Data, arguments_of, on_device, parts_of
from .processes import everywhere, largest, local, put
from .step import MOST_STEPS, EvalMetrics, Program, State, StepMetrics

Loader = Iterable[Any] | Callable[[int], Iterable[Any]]
"""Minibatches, or a function of the epoch (from 1) that returns them."""

SECONDS = 1.0
"""A chunk takes about so long: a signal is answered within it. Each call of the steps allocates its memory anew, which
takes long for minibatches of thousands: the fewer calls the better."""
MOST_GROWTH = 8
STEPS_ON_ACCELERATOR = 256
MOST_HELD = 64
"""Minibatches of a loader in a chunk at most: they are held until their losses are known to be finite."""
EVALUATION_BATCH = 1024


@dataclass(frozen=True, eq=False)
class Chunk:
    """Some steps of an epoch.

    before, after  the state before the first and after the last step
    metrics        of each step, on the host
    sizes          the examples of each step
    minibatches    gives them again
    """

    before: State
    after: State
    metrics: StepMetrics
    sizes: np.ndarray
    minibatches: Callable[[], Iterator[tuple]]


class DataSource(Protocol):
    """What is trained on."""

    @property
    def steps(self) -> int | None:
        """How many an epoch has; None where only its end will show."""
        ...

    @property
    def compile_seconds(self) -> float:
        """The time that compiling has taken so far."""
        ...

    def compile(self, program: Program, state: State) -> None:
        """Compile what an epoch runs, as far as its shapes are known."""
        ...

    def chunks(self, program: Program, state: State, epoch: int, first: int) -> Iterator[Chunk]:
        """The steps of an epoch (from 1), without the `first` ones."""
        ...


@dataclass
class _Pace:
    """How many steps a chunk has, so that it takes about `SECONDS`."""

    most: int
    count: int = 1

    def adapt(self, steps: int, seconds: float) -> None:
        """Learn that so many steps took so long."""
        fitting = int(steps * SECONDS / seconds) if seconds else self.most
        self.count = largest(max(min(fitting, MOST_GROWTH * self.count, self.most), 1))


@dataclass
class ArraySource:
    """Examples on the device: each epoch visits all of them, in an order drawn with the key.

    A chunk ends where `every` steps of the epoch have been made, and at each multiple of that.
    """

    batches: Batches
    key: jax.Array
    every: int | None = None
    compile_seconds: float = 0.0
    _compiled: dict[int | None, Any] = field(default_factory=dict)

    def __post_init__(self):
        self.key = put(self.key, everywhere(self.batches.share))
        self._order = jax.jit(Batches.order)
        self._pace = _Pace(min(self.batches.steps, MOST_STEPS))
        self._is_paced = jax.default_backend() == "cpu"
        if not self._is_paced:
            self._pace.count = min(self._pace.most, STEPS_ON_ACCELERATOR)

    @property
    def steps(self) -> int:
        """The whole minibatches, and the remainder."""
        return self.batches.steps + bool(self.batches.rest)

    def compile(self, program: Program, state: State) -> None:
        """Compile the steps, and the last one where it is smaller."""
        order = self._order(self.batches, self.key)
        self._program(program, state, order, self._pace.count)
        if self.batches.rest:
            began = time.monotonic()
            self._compiled[None] = program.rest.lower(state, self.batches, order).compile()
            self.compile_seconds += time.monotonic() - began

    def _program(self, program: Program, state: State, order: jax.Array, count: int) -> Any:
        """The compiled steps: one program for any number of them, or where the number is static, one for each."""
        name = 0 if self._is_paced else count
        if name not in self._compiled:
            began, number = time.monotonic(), np.int32(count) if self._is_paced else count
            self._compiled[name] = program.steps.lower(state, self.batches, order, np.int32(0), number).compile()
            self.compile_seconds += time.monotonic() - began
        return self._compiled[name]

    def chunks(self, program: Program, state: State, epoch: int, first: int) -> Iterator[Chunk]:
        """The steps of an epoch (from 1), without the `first` ones."""
        batches = self.batches
        order = self._order(batches, jax.random.fold_in(self.key, epoch))
        while first < batches.steps:
            count, began = min(self._pace.count, batches.steps - first, _until(self.every, first)), time.monotonic()
            run = self._program(program, state, order, count)
            after, metrics = run(state, batches, order, np.int32(first), *([np.int32(count)] * self._is_paced))
            metrics = jax.tree.map(lambda m: m[:count], jax.device_get(metrics))  # noqa: B023
            if self._is_paced:
                self._pace.adapt(count, time.monotonic() - began)
            again = partial(_minibatches, batches, order, first, count)
            yield Chunk(state, after, metrics, np.full(count, batches.batch), again)
            state, first = after, first + count
        if first == batches.steps and batches.rest:
            after, metrics = self._compiled[None](state, batches, order)
            metrics = jax.tree.map(lambda m: m[None], jax.device_get(metrics))
            again = partial(_minibatches, batches, order)
            yield Chunk(state, after, metrics, np.array([batches.rest]), again)


def _until(every: int | None, first: int) -> int:
    """The steps until their number is a multiple of `every`."""
    return MOST_STEPS if every is None else every - first % every


def _minibatches(batches: Batches, order: jax.Array, first: int = 0, count: int | None = None) -> Iterator[tuple]:
    """`count` whole minibatches from `first` on, or the remainder."""
    batches, order = batches.on_one_device(), local(order)
    which = [batches.remainder(order)] if count is None else batches.whole(order)[first : first + count]
    return map(batches.take, which)


@dataclass
class LoaderSource:
    """Minibatches as an iterable gives them, or a function of the epoch that returns one.

    A run that is resumed within an epoch passes over the minibatches before.
    """

    loader: Any
    share: NamedSharding | None = None
    every: int | None = None
    compile_seconds: float = 0.0
    _pace: _Pace = field(default_factory=lambda: _Pace(MOST_HELD))
    _shapes: set[Any] = field(default_factory=set)

    @property
    def steps(self) -> int | None:
        """The loader's length, where it has one."""
        try:
            return len(self.loader)
        except TypeError:
            return None

    def compile(self, program: Program, state: State) -> None:
        """Nothing: the shapes are those of the first minibatch."""

    def chunks(self, program: Program, state: State, epoch: int, first: int) -> Iterator[Chunk]:
        """The steps of an epoch (from 1), without the `first` ones."""
        minibatches = islice(minibatches_of(self.loader, epoch), first, None)
        while True:
            began, before, steps, held = time.monotonic(), state, [], []
            for batch in islice(minibatches, min(self._pace.count, _until(self.every, first))):
                state, metrics = self._step(program, state, batch)
                steps.append(metrics)
                held.append(batch)
            if not held:
                return
            metrics = jax.tree.map(lambda *each: np.stack(each), *jax.device_get(steps))
            self._pace.adapt(len(held), time.monotonic() - began)
            sizes = np.array([rows_of(batch) for batch in held])
            first += len(held)
            yield Chunk(before, state, metrics, sizes, lambda: iter(held))  # noqa: B023

    def _step(self, program: Program, state: State, batch: tuple) -> tuple[State, StepMetrics]:
        """One step; the first of each shape is compiled in the call, which returns before it is computed."""
        batch = self._on_device(batch)
        leaves, structure = jax.tree.flatten(batch)
        shapes, began = (structure, *((leaf.shape, leaf.dtype) for leaf in leaves)), time.monotonic()
        stepped = program.one_step(state, batch)
        if shapes not in self._shapes:
            self._shapes.add(shapes)
            self.compile_seconds += time.monotonic() - began
        return stepped

    def _on_device(self, batch: tuple) -> tuple:
        if self.share is None:
            return jax.tree.map(jnp.asarray, batch)
        return put(batch, self.share if rows_of(batch) % self.share.num_devices == 0 else everywhere(self.share))


@dataclass(frozen=True)
class RowsLoader:
    """A Hugging Face dataset, whole or streamed, as minibatches: in a new order each epoch where there is a seed."""

    dataset: Any
    batch: int
    seed: int | None

    def __call__(self, epoch: int) -> Iterable[Any]:
        dataset = self.dataset if self.seed is None else self.dataset.shuffle(seed=self.seed + epoch)
        return dataset.with_format("numpy").iter(self.batch)

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.batch)


def as_loader(data: Data, batch: int, seed: int | None) -> Data:
    """A Hugging Face dataset, which gives rows one by one, as minibatches; other data as they are."""
    if hasattr(data, "with_format") and hasattr(data, "iter"):
        return RowsLoader(data, batch, seed)
    return data


def is_loader(data: Data) -> bool:
    """Whether data is minibatches to iterate over, or a function that returns them, and not arrays."""
    if hasattr(data, "x") and hasattr(data, "y"):
        return False
    return callable(data) or (
        isinstance(data, Iterable) and not isinstance(data, tuple | list | Mapping | Bags | np.ndarray | jax.Array)
    )


def is_iterator(data: Data) -> bool:
    """Whether data can be iterated over only once."""
    return is_loader(data) and hasattr(data, "__next__")


def minibatches_of(loader: Loader, epoch: int) -> Iterator[tuple]:
    """The minibatches of an epoch (from 1), each as the arguments of a loss behind the model.

    Raises:
        ValueError: there is none, or one without rows, or of a single example.
    """
    empty = True
    for batch in loader(epoch) if callable(loader) else loader:
        arguments = jax.tree.map(np.asarray, arguments_of(batch))
        leaves = jax.tree.leaves(arguments)
        if not leaves or rows_of(arguments) == 0 or any(leaf.ndim == 0 for leaf in leaves):
            shapes = ", ".join(str(leaf.shape) for leaf in leaves)
            raise ValueError(
                f"fit: the loader gave no minibatch in epoch {epoch}, but {type(batch).__name__} of shapes {shapes}.\n"
                "  Each array has one row an example: put the examples together in the loader."
            )
        yield arguments
        empty = False
    if empty:
        raise ValueError(f"fit: the loader gave no minibatch in epoch {epoch}; an iterator can be read only once.")


def rows_of(batch: tuple) -> int:
    """How many examples a minibatch has."""
    shape = np.shape(jax.tree.leaves(batch)[0])
    return shape[0] if shape else 0


class HeldOut:
    """Held-out examples, arrays or a loader, evaluated after each epoch."""

    def __init__(self, data: Data, share: NamedSharding | None = None):
        self.loader = data if is_loader(data) else None
        self.batches = None if is_loader(data) else put(on_device(parts_of(data), EVALUATION_BATCH), everywhere(share))

    def evaluate(self, program: Program, state: State) -> tuple[float, dict[str, float]]:
        """The mean loss and the mean of each metric, in evaluation mode."""
        if self.batches is not None:
            found = jax.device_get(program.evaluate(state.params, state.model_state, self.batches))
            sizes = [self.batches.batch] * self.batches.steps + [self.batches.rest] * bool(self.batches.rest)
        else:
            assert self.loader is not None
            each, sizes = [], []
            for batch in minibatches_of(self.loader, 1):
                each.append(program.evaluate_one(state.params, state.model_state, batch))
                sizes.append(rows_of(batch))
            found: EvalMetrics = jax.tree.map(lambda *values: np.stack(values), *jax.device_get(each))
        totals = Totals()
        totals.add(found.loss, found.sums, np.asarray(sizes))
        return totals.means()


@dataclass
class Totals:
    """Losses and metrics added up over steps, in their order: the same sums however the steps are cut into chunks."""

    examples: int = 0
    loss: float = 0.0
    sums: dict[str, float] = field(default_factory=dict)

    def add(self, losses: ArrayLike, sums: Mapping[str, ArrayLike], sizes: np.ndarray) -> None:
        """Add steps: their mean losses, the sums of their metrics, how many examples they had."""
        self.examples += int(sizes.sum())
        self.loss = _in_order(self.loss, np.asarray(losses, np.float64) * sizes)
        for name, values in sums.items():
            self.sums[name] = _in_order(self.sums.get(name, 0.0), values)

    def means(self) -> tuple[float, dict[str, float]]:
        """The mean loss and the mean of each metric."""
        return self.loss / self.examples, {name: total / self.examples for name, total in self.sums.items()}


def _in_order(total: float, values: ArrayLike) -> float:
    return float(np.cumsum(np.concatenate([[total], np.asarray(values, np.float64)]))[-1])
