"""`quantize`: a small copy of a text classifier."""

from pathlib import Path
from typing import Annotated

import typer

from .console import app, note, print_json
from .console import out as stdout
from .options import Json, RunPath


@app.command("quantize")
def quantize_command(
    run: RunPath,
    out: Annotated[Path | None, typer.Option(help="The .ftz file; by default beside the model.")] = None,
    cutoff: Annotated[int, typer.Option(help="Keep the CUTOFF words and n-grams of greatest norm; 0 for all.")] = 0,
    retrain: Annotated[str | None, typer.Option(help="Train the rows that are kept further on this data.")] = None,
    epochs: Annotated[int | None, typer.Option(help="--retrain: passes over the data; as before by default.")] = None,
    lr: Annotated[float | None, typer.Option(help="--retrain: the learning rate; as before by default.")] = None,
    qnorm: Annotated[bool, typer.Option("--qnorm", help="Quantize norms apart from directions.")] = False,
    qout: Annotated[bool, typer.Option("--qout", help="Quantize the output table, too.")] = False,
    dsub: Annotated[int, typer.Option(help="How many numbers one byte stands for.")] = 2,
    test_data: Annotated[str | None, typer.Option(help="Labelled data to test on, before and after.")] = None,
    as_json: Json = False,
) -> None:
    """Make a text classifier small: a .ftz file, which fastText reads, too."""
    from ..data import DataError
    from ..fasttext import TextClassifier
    from ..fasttext.files.model_folder import PLAIN, SMALL, is_model
    from ..fasttext.run import all_of, evaluate, metrics_of
    from .train.text import as_line

    if not is_model(run):
        raise DataError("no model.bin", expected="a trained text classifier, or a .bin", file=run)
    source = run / PLAIN if run.is_dir() else run
    target = out or (run / SMALL if run.is_dir() else run.with_suffix(".ftz"))
    if target.exists():
        raise DataError("a file that is there already", file=target, advice="Give another name: --out.")
    classifier, test = TextClassifier.load(run), None if test_data is None else all_of(test_data)

    def metrics() -> dict:
        scoring, skipped, _ = evaluate(classifier, test)  # type: ignore[arg-type]
        if str(skipped):
            note(f"{skipped}.")
        return metrics_of(scoring, 1)

    before = None if test is None else metrics()
    classifier.quantize(
        cutoff=cutoff, retrain=retrain is not None, input=retrain, epoch=epochs, lr=lr, qnorm=qnorm, qout=qout,
        dsub=dsub,
    )  # fmt: skip
    classifier.save_fasttext(target)
    after = None if test is None else metrics()
    sizes = source.stat().st_size, target.stat().st_size
    if as_json:
        return print_json({"file": str(target), "bytes": sizes[1], "bytes_before": sizes[0], "test": after})
    stdout().print(f"[bold]file [/] {target}: {sizes[1]:,} bytes, {sizes[1] / sizes[0]:.1%} of {sizes[0]:,}")
    if before is not None and after is not None:
        stdout().print(f"{as_line(after)}, before {before['precision']:.2%}")
