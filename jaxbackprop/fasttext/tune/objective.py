"""What autotune makes as large as it can: fastText's metrics, by fastText's words for them, and macroF1."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ...data.errors import did_you_mean
from ..predict.metrics import Scoring

KNOWN = "f1, f1:LABEL, macroF1, precisionAtRecall:PERCENT[:LABEL] or recallAtPrecision:PERCENT[:LABEL]"


@dataclass(frozen=True)
class Metric:
    """A number that says how good predictions are, more is better.

    Attributes:
        kind: F1, the mean of all labels' F1, the best precision at a recall of at least `share`, or the best recall at
            a precision of at least `share`.
        label: the only label it looks at, prefix included; None for all.
    """

    kind: Literal["f1", "macroF1", "precisionAtRecall", "recallAtPrecision"]
    share: float = 0.0
    label: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Metric":
        """The metric of these words, such as "f1", "f1:__label__x", "precisionAtRecall:30", with or without a label."""
        if text == "macroF1":
            return cls("macroF1")
        kind, *rest = text.split(":", 1 if text.startswith("f1") else 2)
        if kind == "f1" and all(rest):
            return cls("f1", label=rest[0] if rest else None)
        if (kind == "precisionAtRecall" or kind == "recallAtPrecision") and rest and all(rest):
            try:
                percent = float(rest[0])
            except ValueError:
                percent = math.nan
            if 0 <= percent <= 100:
                return cls(kind, percent / 100, rest[1] if len(rest) > 1 else None)
        raise ValueError(f"the metric is {text!r}; it must be {KNOWN}.")

    def of(self, scoring: Scoring, labels: Sequence[str]) -> float:
        """Its value; 0 where there is none, for nothing was predicted."""
        number = None
        if self.label is not None:
            if self.label not in labels:
                near = did_you_mean(self.label, labels)
                raise ValueError(f"the metric's label is {self.label!r}, never seen in training. {near}".rstrip())
            number = labels.index(self.label)
        if self.kind == "macroF1":
            value = scoring.macro_f1
        elif self.kind == "f1":
            value = scoring.f1 if number is None else scoring.of_label(number)["f1score"]
        elif self.kind == "precisionAtRecall":
            value = scoring.precision_at_recall(self.share, number)
        else:
            value = scoring.recall_at_precision(self.share, number)
        return 0.0 if math.isnan(value) else value
