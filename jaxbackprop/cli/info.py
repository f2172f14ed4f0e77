"""`info`: versions, devices, and which extras are installed."""

from importlib.util import find_spec

from rich.markup import escape

from .console import app, out, print_json
from .options import Json

EXTRAS = {
    "digits, downloads": ("data", ("sklearn", "pooch")),
    "pictures": ("plots", ("matplotlib",)),
    "TensorBoard": ("tensorboard", ("tensorboardX",)),
    "benchmarks": ("bench", ("sklearn", "matplotlib")),
}


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
