"""The metrics of a run as TensorBoard reads them. tensorboardX is imported where it is used: all else works without."""

from pathlib import Path
from typing import Any

from ..data.errors import DataError
from .history import Epoch, Step


class TensorBoard:
    """Writes metrics into a folder: those of steps as `step/NAME`, those of epochs as `epoch/NAME`, over the steps.

    What the folder holds of the first step written and of later ones, from before a run was interrupted, is hidden.

    Raises:
        DataError: tensorboardX is not installed.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._make, self._writer = _summary_writer(), None

    def add(self, metrics: Step | Epoch) -> None:
        """Write the metrics of a step or an epoch."""
        kind = "step" if isinstance(metrics, Step) else "epoch"
        step = metrics.epoch if metrics.step is None else metrics.step
        if self._writer is None:
            # Files are named by the second they begin in: the step keeps those of a run resumed within it apart.
            self._writer = self._make(str(self.folder), purge_step=step, filename_suffix=f".{step}")
        for name, value in _scalars(metrics).items():
            self._writer.add_scalar(f"{kind}/{name}", value, step)
        if kind == "epoch":
            self.flush()

    def flush(self) -> None:
        """Write all there is to the disk."""
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """The same, and close the file."""
        if self._writer is not None:
            self._writer.close()


def _scalars(metrics: Step | Epoch) -> dict[str, float]:
    named = metrics.as_dict()
    named |= named.pop("metrics")
    named |= {f"valid_{name}": value for name, value in named.pop("valid_metrics", {}).items()}
    return {name: value for name, value in named.items() if value is not None and name not in ("step", "epoch")}


def _summary_writer() -> Any:
    try:
        from tensorboardX import SummaryWriter
    except ModuleNotFoundError:
        advice = "Install it: pip install 'jaxbackprop[tensorboard]'."
        raise DataError("no tensorboardX, which writes for TensorBoard", advice=advice) from None
    return SummaryWriter
