"""A run's plots: learning curves, and the confusion matrix. Only files are written here.

matplotlib is imported where it is used: everything else works without it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .history import History

INK, FAINT, EMPTY, BLUE, ORANGE = "#1f2933", "#c3cbd4", "#f3f5f7", "#2563a8", "#d9731a"
STYLE = {
    "font.family": ["DejaVu Sans"],
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlepad": 12,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "figure.dpi": 150,
}
MOST_NUMBERED = 20
"""Up to this number of classes the confusion matrix shows counts; beyond it is a map with a list of the worst pairs."""


def draw_curves(history: History, path: Path) -> None:
    """Loss and accuracy by epoch, while training and on held-out data, as PNG.

    Where no accuracy was measured, the loss alone.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    _, figures = _matplotlib()
    with figures.style(STYLE):
        epochs = history.epochs
        measured = epochs[0].accuracy is not None or epochs[0].valid_accuracy is not None
        figure, panels = figures.subplots(1, 1 + measured, figsize=(5 + 5 * measured, 3.8))
        figure.get_layout_engine().set(w_pad=0.15, h_pad=0.12)
        left, right = panels if measured else (panels, None)
        _panel(left, "Loss", history, [e.loss for e in epochs], [e.valid_loss for e in epochs], "{:.3f}")
        if right is not None:
            accuracies = [None if e.accuracy is None else 100 * e.accuracy for e in epochs]
            held_out = [None if e.valid_accuracy is None else 100 * e.valid_accuracy for e in epochs]
            _panel(right, "Accuracy, %", history, accuracies, held_out, "{:.2f} %")
        figure.savefig(path)


def _panel(axes: Any, title: str, history: History, training: list, held_out: list, form: str) -> None:
    """One quantity: two lines, each named at its end, and the epoch that was kept."""
    at = [e.epoch for e in history.epochs]
    last, best = at[-1], history.best
    both = (("training", training, BLUE), ("held out", held_out, ORANGE))
    lines = [line for line in both if line[1][0] is not None]
    marker = "o" if len(at) == 1 else None
    for _, values, colour in lines:
        axes.plot(at, values, color=colour, linewidth=2, marker=marker, solid_capstyle="round", zorder=3)
    ends = _apart([values[-1] for _, values, _ in lines], axes)
    for (name, _, colour), end in zip(lines, ends, strict=True):
        axes.annotate(name, (last, end), (8, 0), textcoords="offset points", color=colour, va="center", weight="bold")
    _, values, colour = lines[-1]
    kept = values[at.index(best.epoch)]
    axes.plot([best.epoch], [kept], "o", color=colour, markeredgecolor="white", markersize=8, zorder=4)
    axes.set_title(f"{title}   ", pad=14)
    about = f"epoch {best.epoch}, kept: {form.format(kept)}"
    axes.text(1, 1.03, about, transform=axes.transAxes, ha="right", va="bottom", color=colour, fontsize=9)
    axes.set_xlabel("epoch")
    axes.set_xlim(1 - 0.02 * last, last + 0.02 * last)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(axis="y", color=FAINT, linewidth=0.6, alpha=0.7)
    axes.spines["left"].set_visible(False)


def _apart(ends: list[float], axes: Any) -> list[float]:
    """The heights of labels, moved apart where two lines end close together."""
    low, high = axes.get_ylim()
    least = 0.07 * (high - low)
    if len(ends) == 2 and abs(ends[0] - ends[1]) < least:
        middle, up = sum(ends) / 2, 1 if ends[0] >= ends[1] else -1
        return [middle + up * least / 2, middle - up * least / 2]
    return ends


def draw_confusion(
    confusion: np.ndarray, path: Path, *, classes: Sequence[str] = (), title: str = "Which class is taken for which"
) -> None:
    """A confusion matrix (true classes down, predicted across) as PNG.

    The diagonal and the errors have scales of their own, so that a few errors among many hits are seen.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    matplotlib, figures = _matplotlib()
    names = [str(name) for name in classes] or [str(k) for k in range(len(confusion))]
    right = np.trace(confusion) / max(confusion.sum(), 1)
    with figures.style(STYLE):
        if len(confusion) <= MOST_NUMBERED:
            size = max(4.6, 0.52 * len(confusion) + 2.2)
            figure, axes = figures.subplots(figsize=(size + 0.4, size))
            _cells(axes, confusion, matplotlib)
            _counts(axes, confusion)
            axes.set_xticks(range(len(names)), [_short(n, 14) for n in names], rotation=_slant(names), ha=_align(names))
            axes.set_yticks(range(len(names)), [_short(n, 18) for n in names])
        else:
            figure, (axes, aside) = figures.subplots(1, 2, figsize=(11, 7), width_ratios=(7, 4))
            _cells(axes, confusion, matplotlib)
            axes.set_xticks([])
            axes.set_yticks([])
            _worst(aside, confusion, names)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        wrong = int(confusion.sum() - np.trace(confusion))
        figure.suptitle(
            f"{title}: {right:.2%} right, {wrong:,} of {int(confusion.sum()):,} wrong",
            x=0.01, ha="left", weight="bold", fontsize=12,
        )  # fmt: skip
        figure.savefig(path)


def _cells(axes: Any, confusion: np.ndarray, matplotlib: Any) -> None:
    """Hits in blue by their share of the class, errors in orange by theirs beside the worst one's."""
    share = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    hits, errors = np.diag(np.diag(share)), share - np.diag(np.diag(share))
    blues, oranges = matplotlib.colormaps["Blues"], matplotlib.colormaps["Oranges"]
    picture = np.tile(matplotlib.colors.to_rgba(EMPTY), (*confusion.shape, 1))
    wrong = errors > 0
    picture[wrong] = oranges(0.1 + 0.55 * errors / max(errors.max(), 0.02))[wrong]
    diagonal = np.arange(len(confusion))
    picture[diagonal, diagonal] = blues(0.15 + 0.7 * np.diag(hits))
    axes.imshow(picture, interpolation="nearest")
    for side in axes.spines.values():
        side.set_visible(False)
    if len(confusion) <= MOST_NUMBERED:
        edges = np.arange(len(confusion) + 1) - 0.5
        axes.vlines(edges, -0.5, edges[-1], color="white", linewidth=1.5)
        axes.hlines(edges, -0.5, edges[-1], color="white", linewidth=1.5)


def _counts(axes: Any, confusion: np.ndarray) -> None:
    share = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    for i, j in np.argwhere(confusion > 0):
        dark = i == j and share[i, j] > 0.55
        axes.text(j, i, f"{confusion[i, j]:,}", ha="center", va="center", fontsize=9.5, color="white" if dark else INK)


def _worst(axes: Any, confusion: np.ndarray, names: Sequence[str]) -> None:
    """The pairs confused most often, as a list."""
    errors = confusion - np.diag(np.diag(confusion))
    pairs = np.argsort(-errors, axis=None, kind="stable")[:18]
    axes.axis("off")
    axes.text(0, 1, "most frequent errors: true → predicted", weight="bold", va="top", transform=axes.transAxes)
    for k, pair in enumerate(pairs):
        i, j = divmod(int(pair), len(names))
        if errors[i, j]:
            y = 0.94 - 0.05 * k
            number = axes.text(0.07, y, f"{errors[i, j]:,}", ha="right", va="top", transform=axes.transAxes)
            number.set(color=ORANGE, weight="bold")
            text = f"{_short(names[i], 24)} → {_short(names[j], 24)}"
            axes.text(0.11, y, text, fontsize=9, va="top", transform=axes.transAxes)


def _short(name: str, most: int) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


def _slant(names: Sequence[str]) -> int:
    return 45 if max(map(len, names)) > 3 else 0


def _align(names: Sequence[str]) -> str:
    return "right" if _slant(names) else "center"


class _Figures:
    """Figures that belong to no window and to no global state."""

    def __init__(self, matplotlib: Any):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.matplotlib, self.Figure, self.Canvas = matplotlib, Figure, FigureCanvasAgg

    def style(self, settings: dict[str, Any]) -> Any:
        return self.matplotlib.rc_context(settings)

    def subplots(self, rows: int = 1, columns: int = 1, *, figsize: Any, width_ratios: Any = None) -> Any:
        figure = self.Figure(figsize=figsize, layout="constrained")
        self.Canvas(figure)
        return figure, figure.subplots(rows, columns, width_ratios=width_ratios)


def _matplotlib() -> tuple[Any, _Figures]:
    try:
        import matplotlib
        import matplotlib.colors
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "no pictures were drawn: matplotlib is not installed (pip install 'jaxbackprop[plots]')."
        ) from None
    return matplotlib, _Figures(matplotlib)
