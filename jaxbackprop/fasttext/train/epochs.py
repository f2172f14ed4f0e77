"""What happens at the end of each epoch: its metrics, the best epoch on held-out texts, and when to stop early."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from time import perf_counter
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from ...data import Bags
from ...training.history import Epoch, History, best_of
from ..model import Model
from ..predict.metrics import Scoring
from ..predict.predictor import Predictor
from ..settings import LABEL_BY_LABEL, Settings
from .progress import ProgressTracker

CELLS = 1 << 22  # probabilities computed at a time
BEST = ("best.input", "best.output")  # as a checkpoint names them


class EpochMonitor:
    """Measures each epoch, keeps the tables of the best one, and stops training where none gets better.

    Args:
        held_out: texts not trained on, as rows and labels, each with one of both at least; empty: nothing is held out,
            and the last epoch counts as the best.
        patience: stop after this many epochs without a better one on the held-out texts; None: never.
        on_epoch: called with each epoch's metrics.

    Attributes:
        epochs: the metrics of the epochs so far.
        best: the arrays that were trained, as they were after the best epoch; None where nothing is held out.
    """

    def __init__(
        self,
        held_out: Sequence[tuple[Bags, Bags]] = (),
        patience: int | None = None,
        on_epoch: Callable[[Epoch], None] | None = None,
    ):
        if patience is not None and patience < 1:
            raise ValueError(f"patience is {patience}; it must be at least 1.")
        if patience is not None and not held_out:
            raise ValueError("patience counts epochs without progress on held-out texts: give valid as well.")
        self.held_out, self.patience, self.on_epoch = list(held_out), patience, on_epoch
        self.epochs: list[Epoch] = []
        self.best: tuple[Array, Array] | None = None
        self._texts, self._loss, self._began = 0, 0.0, perf_counter()

    @property
    def identity(self) -> list[int | None]:
        """What tells this validation from another one, for checkpoints."""
        return [sum(len(rows) for rows, _ in self.held_out), self.patience]

    def end_of_epoch(
        self, arrays: tuple[Array, Array], tracker: ProgressTracker, model_of: Callable[[Any, Any], Model]
    ) -> bool:
        """Measure the epoch that has ended.

        Args:
            arrays: what is trained, as it is now: the input and output table, or weights and bias.
            tracker: the texts and losses so far; it is waited for.
            model_of: the model that has these arrays.

        Returns:
            Whether training is to stop.

        Raises:
            FloatingPointError: the loss is not finite.
        """
        tracker.settle()
        now, texts = perf_counter(), tracker.texts - self._texts
        loss, seconds = (tracker.loss - self._loss) / max(texts, 1), max(now - self._began, 1e-9)
        if not np.isfinite(loss):
            raise FloatingPointError(
                f"training met a number that is not finite in epoch {len(self.epochs) + 1}; "
                f"{_too_large(tracker.settings)}."
            )
        valid_loss, valid_accuracy, copies = None, None, None
        if self.held_out:
            copies = jnp.copy(arrays[0]), jnp.copy(arrays[1])  # training writes into them
            valid_loss, valid_accuracy = evaluate(model_of(*copies), self.held_out)
        epoch = Epoch(len(self.epochs) + 1, loss, None, valid_loss, valid_accuracy, seconds, texts / seconds)
        if self.held_out and (not self.epochs or epoch.better_than(best_of(self.epochs))):
            self.best = copies
        self.epochs.append(epoch)
        self._texts, self._loss, self._began = tracker.texts, tracker.loss, perf_counter()
        if self.on_epoch is not None:
            self.on_epoch(epoch)
        return self.is_over

    @property
    def is_over(self) -> bool:
        """Whether patience has run out."""
        return self.patience is not None and len(self.epochs) - self._best_epoch >= self.patience

    @property
    def _best_epoch(self) -> int:
        return best_of(self.epochs).epoch if self.epochs else 0

    def history(self, of: int) -> History:
        """The metrics of all epochs of a training that would have had `of`."""
        return History(tuple(self.epochs), best_of(self.epochs), self.is_over and len(self.epochs) < of, None)

    @property
    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of it beside the best tables, as JSON can hold it."""
        seconds = perf_counter() - self._began
        epochs = [asdict(epoch) for epoch in self.epochs]
        return {"epochs": epochs, "texts": self._texts, "loss": self._loss, "seconds": seconds}

    def restore(self, state: dict[str, Any], parts: dict[str, np.ndarray]) -> None:
        """Continue from a checkpoint."""
        self.epochs = [Epoch(**epoch) for epoch in state["epochs"]]
        self._texts, self._loss, self._began = state["texts"], state["loss"], perf_counter() - state["seconds"]
        if BEST[0] in parts:
            self.best = jnp.array(parts[BEST[0]], copy=True), jnp.array(parts[BEST[1]], copy=True)


def evaluate(model: Model, held_out: Sequence[tuple[Bags, Bags]]) -> tuple[float, float]:
    """The mean loss of texts, and the share of them whose most probable label is one of theirs.

    The loss is -log p of the text's label, the mean over its labels where it has several; where each label is judged
    for itself, the sum over all labels of the cross-entropy of its presence.
    """
    predictor, loss, correct, texts = Predictor(model), 0.0, 0, 0
    every_label = model.settings.loss in LABEL_BY_LABEL
    size = max(CELLS // predictor.labels, 1)
    for rows, gold in held_out:
        texts += len(gold)
        correct += int(Scoring.of(gold, predictor.best(rows), predictor.labels).right.sum())
        for first in range(0, len(rows), size):
            which = np.arange(first, min(first + size, len(rows)))
            own = gold.take(which)
            p = predictor.probabilities(rows.take(which)).astype(np.float64).clip(1e-30, 1)
            text = np.repeat(np.arange(len(own)), own.lengths)
            if every_label:
                absent = -np.log1p(-p.clip(max=1 - 1e-16))
                loss += float(absent.sum() - absent[text, own.ids].sum() - np.log(p[text, own.ids]).sum())
            else:
                loss -= float((np.log(p[text, own.ids]) / own.lengths[text]).sum())
    return loss / texts, correct / texts


def _too_large(settings: Settings) -> str:
    """Which setting lets training diverge."""
    return f"C {settings.C} is too large" if settings.model == "linear" else f"lr {settings.lr} is too large"
