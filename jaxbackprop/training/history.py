"""The metrics of a run: one record per epoch, and all of them together."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..core.html_table import html_table


@dataclass(frozen=True)
class Epoch:
    """One pass over the examples.

    epoch                        counted from 1
    loss, accuracy               over the epoch, while the model changed: means over its examples; a text classifier's
                                 training does not count how many were correct: None
    valid_loss, valid_accuracy   of the held-out examples at its end; None where nothing is held out
    seconds                      for training, without the held-out examples
    examples_per_second          examples trained on
    """

    epoch: int
    loss: float
    accuracy: float | None
    valid_loss: float | None
    valid_accuracy: float | None
    seconds: float
    examples_per_second: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def better_than(self, other: "Epoch | None") -> bool:
        """Whether more of the held-out examples were right, or as many at a smaller loss; later, where none are."""
        if other is None or self.valid_accuracy is None or other.valid_accuracy is None:
            return True
        return (self.valid_accuracy, -(self.valid_loss or 0.0)) > (other.valid_accuracy, -(other.valid_loss or 0.0))


@dataclass(frozen=True)
class History:
    """What training did.

    epochs           every epoch, those before a resumption included
    best             the epoch whose parameters the model now has: the best on held-out data, or else the last
    stopped_early    whether patience ran out
    compile_seconds  for tracing and compiling an epoch, before the first one; None for a run that was loaded
    """

    epochs: tuple[Epoch, ...]
    best: Epoch
    stopped_early: bool
    compile_seconds: float | None

    def __repr__(self) -> str:
        epochs = f"{len(self.epochs)} epoch{'s' * (len(self.epochs) != 1)}"
        return f"<history of {epochs}, the best is {self.best.epoch}: loss {self.best.loss:.4f}>"

    def _repr_html_(self) -> str:
        rows = ([*_cells(epoch), "best" if epoch == self.best else ""] for epoch in self.epochs)
        return html_table([*HEAD, ""], rows)

    def __str__(self) -> str:
        head = f"{'epoch':>5}  {'loss':>8}  {'accuracy':>8}  {'held-out loss':>13}  {'accuracy':>8}  {'examples/s':>10}"
        lines = [_line(epoch) + ("  best" if epoch == self.best else "") for epoch in self.epochs]
        return "\n".join([head, *lines])


def best_of(epochs: Sequence[Epoch]) -> Epoch:
    """The best epoch, the first of equals."""
    best = epochs[0]
    for epoch in epochs[1:]:
        best = epoch if epoch.better_than(best) else best
    return best


HEAD = ("epoch", "loss", "accuracy", "held-out loss", "held-out accuracy", "examples/s")


def _cells(e: Epoch) -> list[str]:
    """An epoch as texts, empty for what is not known."""
    numbers = [(e.loss, ".4f"), (e.accuracy, ".2%"), (e.valid_loss, ".4f"), (e.valid_accuracy, ".2%")]
    return [str(e.epoch), *("" if x is None else format(x, f) for x, f in numbers), f"{e.examples_per_second:,.0f}"]


def _line(e: Epoch) -> str:
    def share(x: float | None, width: int) -> str:
        return f"{'' if x is None else format(x, '.2%'):>{width}}"

    valid = f"{'' if e.valid_loss is None else format(e.valid_loss, '.4f'):>13}  {share(e.valid_accuracy, 8)}"
    return f"{e.epoch:>5}  {e.loss:>8.4f}  {share(e.accuracy, 8)}  {valid}  {e.examples_per_second:>10,.0f}"
