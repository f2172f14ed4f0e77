"""`data get`, `data list` and `info`: what there is to train on, and what this installation can do."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from .console import app, err, out, print_json

data_app = typer.Typer(help="Data sets: what there is by name, and fetching it.", no_args_is_help=True)
app.add_typer(data_app, name="data")

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]

EXTRAS = {
    "digits, downloads": ("data", ("sklearn", "pooch")),
    "pictures": ("plots", ("matplotlib",)),
    "benchmarks": ("bench", ("sklearn", "matplotlib")),
}


@data_app.command("get")
def get_command(
    name: Annotated[str, typer.Argument(help="mnist, fashion_mnist, kmnist or ag_news.")],
    folder: Annotated[Path | None, typer.Option(help="Where to keep it; the user's cache by default.")] = None,
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


@app.command("info")
def info_command(as_json: Json = False) -> None:
    """Versions, devices, and which extras are installed."""
    import jax

    from ..training.run_folder import versions

    devices = [f"{device.platform} {device.id}: {device.device_kind}" for device in jax.devices()]
    extras = {name: all(find_spec(module) for module in modules) for name, (_, modules) in EXTRAS.items()}
    if as_json:
        return print_json({"versions": versions(), "devices": devices, "extras": extras})
    console = out()
    for name, version in versions().items():
        console.print(f"[bold]{name:<18}[/] {version}")
    console.print(f"[bold]{'devices':<18}[/] {', '.join(devices)}")
    for name, there in extras.items():
        lacking = escape(f"no; pip install 'jaxbackprop[{EXTRAS[name][0]}]'")
        console.print(f"[bold]{name:<18}[/] {'yes' if there else lacking}")
