"""`data get` and `data list`: what there is to train on."""

from pathlib import Path
from typing import Annotated

import typer

from .console import app, err, out, print_json
from .options import Json

data_app = typer.Typer(help="Data sets: what there is by name, and fetching it.", no_args_is_help=True)
app.add_typer(data_app, name="data")


@data_app.command("get")
def get_command(
    name: Annotated[str, typer.Argument(help="mnist, fashion_mnist, kmnist or ag_news.")],
    folder: Annotated[Path | None, typer.Option(help="Where to keep it; the user's cache by default.")] = None,
    as_json: Json = False,
) -> None:
    """Fetch a data set, checked by its checksums; a download that broke off goes on where it stopped."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    from ..data import get

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err()) as progress:
        tasks: dict[str, TaskID] = {}

        def arrived(file: str, now: int, total: int | None) -> None:
            if file not in tasks:
                tasks[file] = progress.add_task(file, total=total)
            progress.update(tasks[file], completed=now, total=total)

        where = get(name, folder=folder, progress=arrived)
    if as_json:
        return print_json({"name": name, "folder": str(where)})
    out().print(f"{name} is in {where}", markup=False)


@data_app.command("list")
def list_command(as_json: Json = False) -> None:
    """The data sets that have a name."""
    from ..data import BUILT_IN, DOWNLOADS

    known = {**BUILT_IN, **{name: download.about for name, download in DOWNLOADS.items()}}
    if as_json:
        return print_json(known)
    for name, about in known.items():
        how = "built in" if name in BUILT_IN else f"jaxbackprop data get {name}"
        out().print(f"[bold]{name:<14}[/] {about} [dim]({how})[/]")
