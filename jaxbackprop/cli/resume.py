"""`resume`: a run that was interrupted is continued."""

from typing import Annotated

import typer

from .console import app
from .options import Json, RunPath


@app.command("resume")
def resume_command(
    run: RunPath,
    epochs: Annotated[int | None, typer.Option(help="Train to this many epochs in all, not as many as before.")] = None,
    as_json: Json = False,
) -> None:
    """Continue a run that was interrupted, to the bits it would have had without the interruption."""
    from ..data import DataError
    from ..fasttext.files.model_folder import is_model
    from ..fasttext.run import is_unfinished
    from .train.mlp import resume_module
    from .train.text import resume_classifier

    if is_unfinished(run):
        if epochs is not None:
            raise ValueError("--epochs: the learning rate of this run falls to 0 over the epochs it was begun with.")
        return resume_classifier(run, as_json=as_json)
    if is_model(run):
        advice = "Train anew, with more --epochs."
        raise DataError("a finished model", expected="a run that was interrupted", file=run, advice=advice)
    resume_module(run, epochs, as_json=as_json)
