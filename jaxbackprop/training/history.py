"""The metrics of a run: one record per epoch, and all of them together."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..core.html_table import html_table


@dataclass(frozen=True)
class Epoch:
    """One pass over the examples.

    epoch                        counted from 1
    loss, accuracy               over the epoch, while the model changed: means over its examples; None where accuracy
                                 is no metric of the model, or as with text classifiers not counted in training
    valid_loss, valid_accuracy   of the held-out examples at its end; None where nothing is held out
    seconds                      for training, without compiling and without the held-out examples
    examples_per_second          examples trained on
    step                         the steps since training began
    learning_rate                of the last step; None where the optimizer does not say
    gradient_norm                the mean over the epoch's steps; None where it was not wanted
    metrics, valid_metrics       means of the loss's other metrics, by name
    steps_per_second             of training; None of text classifiers
    """

    epoch: int
    loss: float
    accuracy: float | None
    valid_loss: float | None
    valid_accuracy: float | None
    seconds: float
    examples_per_second: float
    step: int | None = None
    learning_rate: float | None = None
    gradient_norm: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    valid_metrics: Mapping[str, float] = field(default_factory=dict)
    steps_per_second: float | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def better_than(self, other: "Epoch | None") -> bool:
        """Whether it did better on the held-out examples, later where there are none.

        Better is more of them right, or as many at a smaller loss; where accuracy is no metric, a smaller loss.
        """
        if other is None or self.valid_loss is None or other.valid_loss is None:
            return True
        if self.valid_accuracy is None or other.valid_accuracy is None:
            return self.valid_loss < other.valid_loss
        return (self.valid_accuracy, -self.valid_loss) > (other.valid_accuracy, -other.valid_loss)


@dataclass(frozen=True)
class Step:
    """One update.

    step           the steps since training began, this one included
    epoch          counted from 1
    loss           the mean over the minibatch
    gradient_norm  the Euclidean norm of the whole gradient, before clipping; None where it was not wanted
    learning_rate  of the update; None where the optimizer does not say
    metrics        means over the minibatch, by name
    """

    step: int
    epoch: int
    loss: float
    gradient_norm: float | None
    learning_rate: float | None
    metrics: Mapping[str, float]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class History:
    """What training did.

    epochs           every epoch, those before a resumption included
    best             the epoch whose parameters the model now has: the best on held-out data, or else the last
    stopped_early    whether patience ran out
    compile_seconds  for tracing and compiling the steps, which the epochs' seconds leave out; None for a run that was
                     loaded, or finished before
    """

    epochs: tuple[Epoch, ...]
    best: Epoch
    stopped_early: bool
    compile_seconds: float | None

    def __repr__(self) -> str:
        epochs = f"{len(self.epochs)} epoch{'s' * (len(self.epochs) != 1)}"
        return f"<history of {epochs}, the best is {self.best.epoch}: loss {self.best.loss:.4f}>"

    def _repr_html_(self) -> str:
        names = self._names()
        head = ["epoch", "loss", *names, "held-out loss", *(f"held-out {name}" for name in names), "examples/s", ""]
        rows = ([*_cells(epoch, names), "best" if epoch == self.best else ""] for epoch in self.epochs)
        return html_table(head, rows)

    def __str__(self) -> str:
        names = self._names()
        head = ["epoch", "loss", *names, "held-out loss", *names, "examples/s"]
        widths = [5, *(max(len(title), 8) for title in head[1:])]
        rows = [head, *(_cells(epoch, names) for epoch in self.epochs)]
        lines = ["  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows]
        ends = ["", *("  best" if epoch == self.best else "" for epoch in self.epochs)]
        return "\n".join(line + end for line, end in zip(lines, ends, strict=True))

    def _names(self) -> list[str]:
        """The metrics that are shown: accuracy, unless there are only others."""
        first = self.epochs[0]
        counted = first.accuracy is not None or first.valid_accuracy is not None or not first.metrics
        return [*(["accuracy"] if counted else []), *first.metrics]


def best_of(epochs: Sequence[Epoch]) -> Epoch:
    """The best epoch, the first of equals."""
    best = epochs[0]
    for epoch in epochs[1:]:
        best = epoch if epoch.better_than(best) else best
    return best


def _cells(e: Epoch, names: Sequence[str]) -> list[str]:
    """An epoch as texts, empty for what is not known."""

    def shown(loss: float | None, accuracy: float | None, metrics: Mapping[str, float]) -> list[str]:
        texts = {name: format(value, ".4g") for name, value in metrics.items()}
        texts["accuracy"] = "" if accuracy is None else format(accuracy, ".2%")
        return ["" if loss is None else format(loss, ".4f"), *(texts.get(name, "") for name in names)]

    trained, held_out = shown(e.loss, e.accuracy, e.metrics), shown(e.valid_loss, e.valid_accuracy, e.valid_metrics)
    return [str(e.epoch), *trained, *held_out, f"{e.examples_per_second:,.0f}"]
