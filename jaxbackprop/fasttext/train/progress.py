"""How far training is: counted as chunks are trained, reported now and then."""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

from jax import Array

from ..settings import Settings
from .learning_rate_schedule import linear_decay

AHEAD = 2  # chunks prepared while one is trained on
A_WHILE = 0.1  # seconds between two reports


@dataclass(frozen=True)
class Report:
    """How far training is.

    progress     share of the work done, 0 to 1
    epoch        passes over the corpus finished
    words        tokens visited
    words_per_s  tokens visited a second
    lr           the learning rate now
    loss         the mean loss of a text, since training began
    seconds_left until training is done, at the speed so far
    """

    progress: float
    epoch: int
    words: int
    words_per_s: float
    lr: float
    loss: float
    seconds_left: float


class ProgressTracker:
    """Keeps count of what was visited, and reports it; never waits for more than what was begun some chunks ago."""

    def __init__(self, texts: int, tokens: int, settings: Settings, progress: Callable[[Report], None] | None):
        self.in_a_pass, self.tokens, self.settings, self.progress = max(texts, 1), tokens, settings, progress
        self.begun, self.reported = perf_counter(), 0.0
        self.pending: deque[tuple[int, Array]] = deque()
        self.texts, self.loss = 0, 0.0

    def visited(self, texts: int, loss: Array) -> None:
        """So many texts were begun, and their loss will be known."""
        self.pending.append((texts, loss))
        while len(self.pending) > AHEAD:
            self._settle()
        now = perf_counter()
        if self.progress is not None and now - self.reported > A_WHILE and self.texts:
            self.reported = now
            self._tell()

    def settle(self) -> None:
        """Waits for all that was begun."""
        while self.pending:
            self._settle()

    def end(self) -> None:
        """Waits for all that was begun, and reports it."""
        self.settle()
        if self.progress is not None:
            self._tell()

    def _settle(self) -> None:
        texts, loss = self.pending.popleft()
        value = float(loss)
        if not math.isfinite(value):
            done = self.texts % self.in_a_pass
            raise FloatingPointError(
                f"The loss is {'NaN' if math.isnan(value) else 'infinite'}: training stopped in epoch "
                f"{self.texts // self.in_a_pass + 1}, in the texts {done + 1:,} to {done + texts:,}.\n"
                f"  lr {self.settings.lr:g} is too large: try a tenth of it."
            )
        self.loss += value
        self.texts += texts

    def _tell(self) -> None:
        assert self.progress is not None
        share = min(self.texts / (self.settings.epoch * self.in_a_pass), 1.0)
        seconds = max(perf_counter() - self.begun, 1e-9)
        words = round(share * self.settings.epoch * self.tokens)
        self.progress(
            Report(
                progress=share,
                epoch=int(share * self.settings.epoch),
                words=words,
                words_per_s=words / seconds,
                lr=float(linear_decay(self.settings.lr, share)),
                loss=self.loss / max(self.texts, 1),
                seconds_left=seconds * (1 - share) / share if share else float("inf"),
            )
        )
