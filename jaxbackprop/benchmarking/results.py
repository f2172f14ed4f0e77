"""The result of a benchmark: one row per contender, as a table, as JSON, as a plot over sizes."""

import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any

from ..core.html_table import html_lines, html_table

BY_HAND, AUTODIFF = "by hand", "autodiff"
HEAD = ("contender", "time", "spread", "by hand / this", "temporary", "residuals", "error", "ulp, one sign")


@dataclass(frozen=True)
class Row:
    """One contender at one size; what could not be measured is None and `note` gives the reason.

    Attributes:
        name: the contender: "by hand", "autodiff", "autodiff, checkpoint(...)", "autodiff into refs", or its own.
        size: which size it was measured at.
        seconds: the median time of one forward and backward pass.
        spread: the width of the middle half of the times, divided by the median.
        time_ratio: the hand-derived pass's time over this one's, the median over rounds; below 1 the hand-derived
            pass is faster.
        time_interval: where that median lies with 95 % confidence.
        within_noise: whether that ratio could be 1.
        temporary_bytes: the peak of what the compiled program allocates beside its inputs and outputs.
        memory_ratio: the hand-derived pass's temporary bytes over this one's.
        residual_bytes: what the backward pass keeps from the forward pass, arguments not counted.
        error: the largest difference from float64, divided by the largest number of the array it occurs in.
        ulps: the same for upstream gradients of one sign, in units of the type's last place at the size of the number:
            what long sums lose.
        note: a remark about the row, such as why it has no figures.
    """

    name: str
    size: str
    seconds: float | None = None
    spread: float | None = None
    time_ratio: float | None = None
    time_interval: tuple[float, float] | None = None
    within_noise: bool | None = None
    temporary_bytes: int | None = None
    memory_ratio: float | None = None
    residual_bytes: int | None = None
    error: float | None = None
    ulps: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Benchmark:
    """A hand-derived backward pass beside autodiff of the same function, in time, memory and accuracy.

    Attributes:
        name: the name of the function.
        rows: one per contender and size, sizes in the order given.
        sizes: each size with its arguments' dtypes and shapes as text.
        setting: versions and device.
    """

    name: str
    rows: tuple[Row, ...]
    sizes: dict[str, str] = field(default_factory=dict)
    setting: dict[str, str] = field(default_factory=dict)

    def row(self, contender: str, size: str | None = None) -> Row:
        """The row of a contender, at the last size where none is named.

        Raises:
            KeyError: no such row; the message lists those there are.
        """
        rows = [r for r in self.rows if r.name == contender and size in (None, r.size)]
        if not rows:
            known = ", ".join(dict.fromkeys(f"{r.name!r} at {r.size!r}" for r in self.rows))
            raise KeyError(f"no row {contender!r}{f' at {size!r}' if size else ''}; there are {known}")
        return rows[-1]

    @property
    def time_ratio(self) -> float:
        """Time by hand over time by plain autodiff, at the last size: below 1 is better."""
        return _or_nan(self.row(AUTODIFF).time_ratio)

    @property
    def memory_ratio(self) -> float:
        """Temporary memory by hand over that of plain autodiff, at the last size: below 1 is better."""
        return _or_nan(self.row(AUTODIFF).memory_ratio)

    @property
    def within_noise(self) -> bool:
        """Whether the difference in time from plain autodiff, at the last size, could be chance."""
        return self.row(AUTODIFF).within_noise is not False

    @property
    def agrees(self) -> bool:
        """Whether the hand-derived pass has the plain function's numbers, up to rounding, at every size."""
        return not any(r.note for r in self.rows if r.name == BY_HAND)

    def __repr__(self) -> str:
        known = [r for r in self.rows if r.name == AUTODIFF and r.time_ratio is not None]
        ratio = f": {self.time_ratio:.2f}x the time of autodiff{' (within noise)' * self.within_noise}" if known else ""
        return f"<benchmark of {self.name}{ratio}>"

    def _repr_html_(self) -> str:
        blocks = [html_lines([self._title()])]
        for size, description in self.sizes.items():
            rows = [r for r in self.rows if r.size == size]
            blocks += [html_lines([f"{size}: {description}"]), html_table(HEAD, map(_cells, rows))]
            blocks.append(html_lines(f"{r.name}: {r.note}" for r in rows if r.note))
        return "".join(blocks)

    def _title(self) -> str:
        setting = ", ".join(f"{key} {value}" for key, value in self.setting.items())
        return f"{self.name}: forward and backward pass ({setting})" if setting else self.name

    def __str__(self) -> str:
        blocks = [self._title()]
        for size, description in self.sizes.items():
            rows = [r for r in self.rows if r.size == size]
            blocks.append(f"\n{size}: {description}\n{_table([HEAD, *map(_cells, rows)])}")
            blocks += [f"  {r.name}: {r.note}" for r in rows if r.note]
        return "\n".join(blocks)

    def to_json(self) -> str:
        """Everything as JSON; NaN and infinity as the strings "nan" and "inf"."""
        return json.dumps(_json_ready(asdict(self)), indent=1)

    def plot(self, path: str) -> None:
        """Draw time and temporary memory of every contender over the sizes into an image file (matplotlib)."""
        from matplotlib.figure import Figure

        figure = Figure((9, 3.6), layout="constrained")
        axes = figure.subplots(1, 2)
        sizes = list(self.sizes)
        for name in dict.fromkeys(r.name for r in self.rows):
            rows = [r for r in self.rows if r.name == name and r.seconds is not None]
            at = [sizes.index(r.size) for r in rows]
            style: dict[str, Any] = {"marker": "o", "label": name, "linewidth": 2.5 if name == BY_HAND else 1.2}
            axes[0].plot(at, [1e3 * (r.seconds or 0) for r in rows], **style)
            axes[1].plot(at, [(r.temporary_bytes or 0) / 2**20 for r in rows], **style)
        for axis, title in zip(axes, ("milliseconds", "temporary memory, MiB"), strict=True):
            axis.set_title(title)
            axis.set_yscale("symlog", linthresh=1e-3)
            axis.set_xticks(range(len(sizes)), sizes)
            axis.grid(alpha=0.3)
        axes[0].legend(fontsize="small")
        figure.suptitle(self.name)
        figure.savefig(path, dpi=120)


def _or_nan(x: float | None) -> float:
    return math.nan if x is None else x


def _table(rows: list[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def line(cells: tuple[str, ...]) -> str:
        first, *others = [c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths))]
        return "  ".join(["", first, *others]).rstrip()

    return "\n".join(map(line, rows))


def _cells(r: Row) -> tuple[str, ...]:
    if r.seconds is None:
        return (r.name, *["-"] * 7)
    return (
        r.name,
        in_seconds(r.seconds),
        f"{100 * (r.spread or 0):.0f} %",
        _ratio_cell(r),
        in_bytes(r.temporary_bytes),
        in_bytes(r.residual_bytes),
        "-" if r.error is None else f"{r.error:.1e}",
        "-" if r.ulps is None else f"{r.ulps:.1f}",
    )


def _ratio_cell(r: Row) -> str:
    if r.time_ratio is None or r.time_interval is None:
        return ""
    low, high = r.time_interval
    return f"{r.time_ratio:.2f} ({low:.2f} to {high:.2f}){' noise' if r.within_noise else '      '}"


def in_seconds(seconds: float) -> str:
    """A time with its unit, such as 3.21 ms."""
    factor, unit = next(((f, u) for f, u in ((1, "s"), (1e3, "ms")) if seconds * f >= 1), (1e6, "us"))
    return f"{seconds * factor:.3g} {unit}"


def in_bytes(count: int | None) -> str:
    """A size with its unit, such as 3.21 MB."""
    if count is None:
        return "-"
    for factor, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count} B"


def _json_ready(x: Any) -> Any:
    if isinstance(x, dict):
        return {key: _json_ready(value) for key, value in x.items()}
    if isinstance(x, list | tuple):
        return [_json_ready(value) for value in x]
    return str(x) if isinstance(x, float) and not math.isfinite(x) else x
