"""The numbers of a failure: what came, what should have come, and where it all happened."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...jaxprs.inputs import Leaves
from ..oracles.autodiff import Case
from ..rounding import Judgement, compare, elements


@dataclass(frozen=True)
class Evidence:
    """One gradient that is wrong.

    Attributes:
        case: where, in float64 (or the point's own precision).
        judged: what was compared with what.
        upstream: the cotangent that was sent in.
        leaf: the live array whose gradient is wrong.
    """

    case: Case
    judged: Judgement
    upstream: Leaves
    leaf: int

    @property
    def found(self) -> np.ndarray:
        """What came."""
        return np.asarray(self.judged.found[self.leaf])

    @property
    def truth(self) -> np.ndarray:
        """What should have come."""
        return np.asarray(self.judged.truth[self.leaf])

    @property
    def wrong(self) -> np.ndarray:
        """Which elements are wrong."""
        return self.judged.wrong[self.leaf]

    @property
    def argument(self) -> str:
        """The argument's name."""
        return self.case.names()[self.leaf]

    def with_another_upstream(self) -> "Evidence | None":
        """The same fault for another upstream gradient, as a witness; None where autodiff is not the truth."""
        if self.judged.by or not np.isfinite(self.truth).all() or not np.isfinite(self.found).all():
            return None
        upstream = self.case.upstream(3)
        found = [np.asarray(g) for g in self.case.hand(self.case.point.arrays, upstream)[1]]
        truth = [np.asarray(g) for g in self.case.auto(self.case.point.arrays, upstream)[1]]
        judged = compare(found, truth, self.judged.bar, self.case.dtype)
        return Evidence(self.case, judged, upstream, self.leaf) if judged.wrong[self.leaf].any() else None

    def worst(self) -> tuple[int, ...] | None:
        """The index of the wrong element that is farthest off."""
        return next((index for leaf, index in elements(self.judged) if leaf == self.leaf), None)

    def sentence(self) -> str:
        """Which argument, which element, hand-derived value, truth with its error bar."""
        at = self.worst()
        if at is None:
            return "; ".join(self.judged.outside[:2])
        place = f"[{', '.join(map(str, at))}]" if at else ""
        bar = np.asarray(self.judged.bar[self.leaf])[at]
        count = int(self.wrong.sum())
        return (
            f"{self.argument}{place}: by hand {_shown(self.found[at])}, true {_shown(self.truth[at])} +- {bar:.0e}; "
            f"{count} of {self.wrong.size} wrong"
        )


def _shown(x: Any) -> str:
    return f"{complex(x):.6g}" if np.iscomplexobj(x) else f"{float(x):.6g}"
