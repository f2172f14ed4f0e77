"""What the commands that train share: their group, a run's folder, a progress bar."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..console import INTERRUPTED, TERMINATED, app, err, fail

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

train_app = typer.Typer(help="Train a classifier: every gradient by a hand-derived rule.", no_args_is_help=True)
app.add_typer(train_app, name="train")


@contextmanager
def run_folder(given: Path | None, kind: str, data: str) -> Iterator[Path]:
    """The folder of a new run: the one given, checked; or runs/KIND-DATA-N, made with the first N that is free.

    Where training fails before it has written anything, none is left behind.
    """
    from ...training.run_folder import check_new, new_folder

    if given is not None:
        check_new(given)
        yield given
        return
    folder = new_folder(Path("runs"), f"{kind}-{Path(data).name.split('.')[0] or 'data'}")
    try:
        yield folder
    finally:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


@contextmanager
def says_how_to_go_on(folder: Path, can_resume: Callable[[], bool]) -> Iterator[None]:
    """SIGINT and SIGTERM end the command with their status, and with what the run's folder can be used for."""
    from ...training.stop_signals import Terminated

    try:
        yield
    except (KeyboardInterrupt, Terminated) as stopped:
        how = f"continue with: jaxbackprop resume {folder}" if can_resume() else "nothing is saved"
        fail(f"interrupted; {how}", TERMINATED if isinstance(stopped, Terminated) else INTERRUPTED)


def as_text(settings: Mapping[str, Any]) -> str:
    """Settings as a line, without those that are off."""
    return ", ".join(f"{name} {value}" for name, value in settings.items() if name == "seed" or value)


@contextmanager
def progress_bar(description: str, total: float, *, time_left: bool = True) -> Iterator[tuple["Progress", "TaskID"]]:
    """A bar on stderr with a text behind it, `status`; it is removed where training fails."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns: list[Any] = [TextColumn("{task.description}"), BarColumn(bar_width=24)]
    columns.append(TextColumn("{task.fields[status]}"))
    columns += [TimeRemainingColumn(compact=True)] if time_left else []
    with Progress(*columns, console=err()) as bar:
        task = bar.add_task(description, total=total, status="")
        try:
            yield bar, task
        except BaseException:
            bar.remove_task(task)
            raise


def files_in(folder: Path) -> str:
    """The names of the files in a folder."""
    return ", ".join(sorted(p.name for p in folder.iterdir() if p.is_file()))
