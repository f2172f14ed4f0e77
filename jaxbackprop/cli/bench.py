"""`bench`: what the hand-derived backward passes save in time and memory."""

import json
from typing import Annotated

import typer

from .console import FAILED, app, note, out, print_json
from .options import Json


@app.command("bench")
def bench_command(
    names: Annotated[
        list[str] | None, typer.Argument(help="Rules, such as layer_norm; all of them by default.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="The smallest size only, and few rounds.")] = False,
    as_json: Json = False,
) -> None:
    """Time, memory and accuracy of rules beside autodiff of the same functions; exit status 1 where numbers differ."""
    from ..benchmarking import bench_rules

    found = []
    for comparison in bench_rules(names or None, quick=quick):
        found.append(comparison)
        if as_json:
            note(comparison.name)
        else:
            out().print(str(comparison), "\n", markup=False)
    if as_json:
        print_json([json.loads(comparison.to_json()) for comparison in found])
    if not all(comparison.agrees for comparison in found):
        raise SystemExit(FAILED)
