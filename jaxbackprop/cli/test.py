"""`test`: the metrics of a trained run on its own test set or on other labelled data."""

from typing import TYPE_CHECKING, Annotated

import typer

from .console import app, note, out, print_json
from .options import Json, RunPath, Threshold

if TYPE_CHECKING:
    from ..data import Examples
    from ..fasttext.corpus.reading import Source
    from ..training import Run


@app.command("test")
def evaluate_command(
    run: RunPath,
    data: Annotated[str | None, typer.Option(help="Other labelled data than the run's own test set.")] = None,
    k: Annotated[int, typer.Option(help="Text: count the K best labels of each example; -1 for all.")] = 1,
    threshold: Threshold = 0.0,
    labels: Annotated[bool, typer.Option(help="Text: precision, recall and F1 of each label, too.")] = False,
    as_json: Json = False,
) -> None:
    """Test the best model of a run."""
    from ..training.run import MODULE, load_run

    loaded = load_run(run)
    if loaded.kind == MODULE:
        if k != 1 or threshold or labels:
            raise ValueError("--k, --threshold and --labels are for text classifiers.")
        return _test_module(loaded, data, as_json=as_json)
    _test_classifier(loaded, data, k, threshold, labels=labels, as_json=as_json)


def _test_module(run: "Run", data: str | None, *, as_json: bool) -> None:
    from ..training import evaluate
    from .train.mlp import as_line, metrics_of

    preprocessor = run.trained.preprocessor  # type: ignore[attr-defined]
    if preprocessor is None:
        raise ValueError(f"{run.path} was trained by fit() on arrays: evaluate(load_run(folder).model, data) tests it.")
    result = metrics_of(evaluate(run.model, preprocessor.pairs(_examples(run, data))))
    if as_json:
        return print_json({"run": str(run.path), **result})
    out().print(as_line(result))


def _examples(run: "Run", data: str | None) -> "Examples":
    """The examples to test on: the run's own test set, or other data."""
    from ..data import DataError, load

    own = run.config["data"]
    name, beside = (own["name"], own["test"]) if data is None else (data, None)
    loaded = load(name, beside, kind="examples", label_column=own["label_column"])
    test = loaded.test if data is None else loaded.test or loaded.train
    if test is None:
        raise DataError("no test set", file=own["name"], advice="Give labelled data to test on: --data.")
    return test  # type: ignore[return-value]


def _test_classifier(run: "Run", data: str | None, k: int, threshold: float, *, labels: bool, as_json: bool) -> None:
    from ..fasttext.run import evaluate, metrics_of
    from .train.text import as_line

    scoring, skipped, _ = evaluate(run.model, _texts(run, data), k, threshold)
    if str(skipped):
        note(f"{skipped}.")
    each = {label: scoring.of_label(number) for number, label in enumerate(run.model.labels)} if labels else {}
    if as_json:
        of_labels = {"labels": each} if labels else {}
        return print_json({"run": str(run.path), **metrics_of(scoring, k), **of_labels})
    out().print(as_line(metrics_of(scoring, k)))
    for label, metrics in each.items():
        numbers = "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        out().print(f"{numbers}  {label}", markup=False)


def _texts(run: "Run", data: str | None) -> "Source":
    """The texts to test on: the run's own test set, or other data."""
    from ..data import DataError
    from ..fasttext.corpus.reading import train_and_test_sources

    own = run.config.get("data", {})
    if data is not None:
        train, test = train_and_test_sources(data, label_column=own.get("label_column"))
        return train if test is None else test
    test = train_and_test_sources(own["name"], own["test"], own["label_column"])[1] if own else None
    if test is None:
        raise DataError("no test set", file=run.path, advice="Give labelled data to test on: --data.")
    return test
