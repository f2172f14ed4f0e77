"""What a checkpoint of a training holds, and how a training continues from one."""

from time import perf_counter
from typing import Any

import jax.numpy as jnp
from jax import Array

from ....training.stop_signals import StopSignals
from ..chunks import Chunker
from ..epochs import BEST, EpochMonitor
from ..progress import ProgressTracker
from ..tables import Rows, Tables
from .storage import Checkpoint, Checkpoints


class CheckpointManager:
    """Saves a training now and then, and lets it continue from its last checkpoint.

    Sampler, chunks, progress and epochs are set to where they were; without checkpoints it does nothing.

    Attributes:
        signals: what asks the training to stop; it is saved first.
        room: for how many ids and labels of a batch the program was compiled: another one would round otherwise.
    """

    def __init__(
        self,
        checkpoints: Checkpoints | None,
        training: dict[str, Any],
        chunker: Chunker,
        tracker: ProgressTracker,
        monitor: EpochMonitor | None = None,
    ):
        self.checkpoints, self.training, self.chunker, self.tracker = checkpoints, training, chunker, tracker
        self.monitor = monitor
        self.signals: StopSignals | None = None
        self.kept: Checkpoint | None = None if checkpoints is None else checkpoints.last(training)
        self.done, self.room = 0, (1, 1)
        if self.kept is not None:
            self.done = chunker.skip = self.kept.chunks
            chunker.sampler.state = self.kept.rest["sampler"]
            self.room = (self.kept.rest["room"][0], self.kept.rest["room"][1])
            tracker.texts, tracker.loss = self.kept.rest["texts"], self.kept.rest["loss"]
            tracker.begun -= self.kept.rest["seconds"]
            if monitor is not None:
                monitor.restore(self.kept.rest["monitor"], self.kept.parts)

    def tables(self) -> Tables | None:
        """The tables to go on from, where there are any; None at a second call."""
        kept, self.kept = self.kept, None
        if kept is None:
            return None
        parts = {name: jnp.array(part, copy=True) for name, part in kept.parts.items()}
        return Tables(*(Rows(*(parts.get(f"{t}.{p}") for p in Rows._fields)) for t in Tables._fields))  # type: ignore

    def visited(self, tables: Tables) -> None:
        """One chunk more was begun; its tables are waited for, and kept, if it is time."""
        self.done += 1
        is_stopped = self.signals is not None and self.signals.received is not None
        if self.checkpoints is None or not (is_stopped or self.checkpoints.due()):
            return
        self.tracker.settle()
        rest = {
            "sampler": self.chunker.sampler.state,
            "room": self.room,
            "texts": self.tracker.texts,
            "loss": self.tracker.loss,
            "seconds": perf_counter() - self.tracker.begun,
        }
        parts = _named(tables)
        if self.monitor is not None:
            rest["monitor"] = self.monitor.state
            parts |= dict(zip(BEST, self.monitor.best or (), strict=False))
        self.checkpoints.keep(self.done, parts, self.training, rest)
        if self.signals is not None and is_stopped:
            self.signals.stop(f"saved after {self.tracker.texts:,} texts in {self.checkpoints.folder}")


def _named(tables: Tables) -> dict[str, Array]:
    """The parts of the tables that there are, by name: input.rows, input.second_moment, ..."""
    parts = {f"{t}.{p}": getattr(getattr(tables, t), p) for t in Tables._fields for p in Rows._fields}
    return {name: part for name, part in parts.items() if part is not None}
