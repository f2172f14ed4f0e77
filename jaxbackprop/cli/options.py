"""Options that several commands share, and how a dataclass of options becomes the options of a command."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

HELD_OUT = 0.1
"""The share of the examples that early stopping looks at, where none is given."""

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run, or a fastText model (.bin, .ftz).")]
Threshold = Annotated[float, typer.Option(help="Only classes with at least this probability.")]
Patience = Annotated[int | None, typer.Option(help="Stop after this many epochs without progress on held-out data.")]
Seed = Annotated[int, typer.Option(help="The same seed on the same machine gives the same bits.")]


@dataclass(frozen=True)
class Output:
    """Where a run goes, and how its result is printed."""

    out: Annotated[Path | None, typer.Option(help="The run's folder; runs/... by default.")] = None
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write the metrics for TensorBoard too, in the run's folder.")
    ] = False
    as_json: Json = False


def takes_options(function: Callable[..., None]) -> Callable[..., None]:
    """A command whose dataclass parameters are each made from options, one per field of the dataclass."""
    signature, hints = inspect.signature(function), get_type_hints(function, include_extras=True)
    groups = {name: hints[name] for name in signature.parameters if is_dataclass(hints[name])}
    parameters = []
    for name, parameter in signature.parameters.items():
        if name not in groups:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[name]))
            continue
        of = get_type_hints(groups[name], include_extras=True)
        for field in fields(groups[name]):
            kind = inspect.Parameter.KEYWORD_ONLY
            parameters.append(inspect.Parameter(field.name, kind, default=field.default, annotation=of[field.name]))

    def command(**given: Any) -> None:
        made = {name: of(**{field.name: given.pop(field.name) for field in fields(of)}) for name, of in groups.items()}
        function(**made, **given)

    command.__name__, command.__doc__, command.__module__ = function.__name__, function.__doc__, function.__module__
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return command
