"""The commands with text classifiers: what they print, keep, and end with."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jaxbackprop.fasttext import Settings, TextClassifier
from jaxbackprop.fasttext.train import chunks as chunk_module
from jaxbackprop.fasttext.train.checkpoints.storage import Checkpoints

Run = Callable[..., tuple[int, str, str]]
WORDS = {"warm": "sun heat fire summer sand", "cold": "snow ice frost winter wind"}
SMALL = ("--preset", "fasttext", "--dim", "6", "--bucket", "50", "--lr", "0.5", "--epochs", "10")
FILES = {"config.json", "confusion.png", "metrics.jsonl", "model.bin", "test.json"}


@pytest.fixture
def trained(run: Run) -> str:
    """A trained classifier and the data beside it."""
    for side, lines in (("train", 60), ("test", 20)):
        words = {name: said.split() for name, said in WORDS.items()}
        rows = [
            f"__label__{name} {said[k % 5]} {said[(k + 1) % 5]} {said[(3 * k) % 5]}"
            for k in range(lines // 2)
            for name, said in words.items()
        ]
        Path(f"{side}.txt").write_text("\n".join(rows) + "\n")
    data = ("--data", "train.txt", "--test-data", "test.txt")
    status, out, err = run("train", "text", *data, *SMALL, "--out", "run")
    assert status == 0, err
    assert "P@1 100.00%" in out
    assert "words/s" in err
    return "run"


def test_a_classifier_is_trained_tested_and_asked(run: Run, trained: str):
    assert {p.name for p in Path(trained).iterdir()} == FILES
    status, out, _ = run("test", trained, "--json")
    assert status == 0
    assert json.loads(out) == {"run": "run", **json.loads(Path("run/test.json").read_text())}
    assert json.loads(out)["accuracy"] == 1.0
    for model in (trained, "run/model.bin"):
        status, out, _ = run("test", model, "--data", "test.txt", "--k", "2", "--json")
        assert json.loads(out)["precision"] == 0.5
    status, out, _ = run("test", trained, "--labels")
    assert "recall 1.0000  f1score 1.0000  __label__cold" in out
    Path("ask.txt").write_text("snow and ice\nfire\n")
    answers = [json.loads(line) for line in run("predict", trained, "ask.txt")[1].splitlines()]
    assert [answer["label"] for answer in answers] == ["cold", "warm"]
    found = json.loads(run("predict", trained, "ask.txt", "--k", "-1")[1].splitlines()[0])["classes"]
    assert [c["label"] for c in found] == ["cold", "warm"]
    assert (
        run("predict", trained, "ask.txt", "--threshold", "1.5")[1].splitlines()
        == ['{"label": null, "probability": null}'] * 2
    )
    assert run("predict", trained, "ask.txt", "--plain")[1].splitlines()[0].startswith("__label__cold 0.9")


def test_lines_on_standard_input_are_classified(run: Run, trained: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"snow ice\nsun heat\n")))
    status, out, _ = run("predict", trained)
    assert status == 0
    assert [json.loads(line)["label"] for line in out.splitlines()] == ["cold", "warm"]


def test_a_model_becomes_small(run: Run, trained: str):
    status, out, _ = run("quantize", trained, "--qnorm", "--test-data", "test.txt")
    assert status == 0
    assert "P@1 100.00%" in out
    assert Path("run/model.ftz").is_file()
    assert run("test", "run/model.ftz", "--data", "test.txt")[0] == 0
    status, _, err = run("quantize", trained)
    assert status == 2
    assert "there already" in err
    status, out, _ = run("quantize", trained, "--cutoff", "20", "--retrain", "train.txt", "--out", "c.ftz", "--json")
    assert status == 0
    assert json.loads(out)["bytes"] == Path("c.ftz").stat().st_size


def test_probabilities_are_set_right_by_texts_not_trained_on(run: Run, trained: str):
    """Three labels in ten of them are wrong: a model that is sure of all is too sure."""
    lines = Path("test.txt").read_text().splitlines()
    wrong = {"__label__warm": "__label__cold", "__label__cold": "__label__warm"}
    pairs = [line.split(" ", 1) for line in lines]
    said = [f"{wrong[label] if k % 10 < 3 else label} {words}" for k, (label, words) in enumerate(pairs)]
    Path("noisy.txt").write_text("\n".join(said) + "\n")
    how = ("train", "text", "--data", "train.txt", *SMALL, "--idf", "1", "--smoothing", "0.01")
    how += ("--shuffle",)
    status, out, _ = run(*how, "--calibrate-on", "noisy.txt", "--out", "sure")
    assert status == 0
    assert "log loss" in out
    status, out, _ = run(*how, "--calibrate-on", "noisy.txt", "--out", "json", "--json")
    found = json.loads(out)["calibration"]
    assert found["temperature"] > 1
    assert found["log_loss"][1] < found["log_loss"][0]
    settings = json.loads(Path("sure/config.json").read_text())["settings"]
    assert (settings["idf"], settings["smoothing"], settings["shuffle"]) == (1.0, 0.01, True)
    assert TextClassifier.load("sure").predict("snow ice")[1][0] < 0.8


def test_the_settings_that_do_best_are_searched_for(run: Run, trained: str):
    status, out, _ = run(
        *("train", "text", "--data", "train.txt", "--tune-on", "test.txt", "--tune-seconds", "2", "--dim", "5"),
        *("--bucket", "40", "--out", "tuned"),
    )
    assert status == 0
    assert "dim 5" in out
    assert TextClassifier.load("tuned").get_dimension() == 5


def test_a_training_that_was_interrupted_ends_as_one_that_was_not(
    run: Run, trained: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(chunk_module, "TEXTS", 16)
    keep, kept = Checkpoints.keep, []

    def keep_and_interrupt(self, *what):
        keep(self, *what)
        kept.append(self)
        if len(kept) == 12:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoints, "keep", keep_and_interrupt)
    monkeypatch.setattr(Checkpoints, "due", lambda self: True)
    how = ("--data", "train.txt", "--test-data", "test.txt", *SMALL)
    status, _, err = run("train", "text", *how, "--out", "broken", "--checkpoint-seconds", "1e-9")
    assert status == 130
    assert "jaxbackprop resume broken" in err
    assert run("resume", "broken", "--epochs", "20")[0] == 2
    status, out, err = run("resume", "broken")
    assert status == 0, err
    assert "P@1 100.00%" in out
    assert Path("broken/model.bin").read_bytes() == Path(trained, "model.bin").read_bytes()
    assert {p.name for p in Path("broken").iterdir()} == FILES
    assert run("resume", "broken")[0] == 2


@pytest.mark.parametrize("loss", ["softmax", "hs", "ns", "ova"])
@pytest.mark.parametrize("optimizer", ["sgd", "adagrad", "adam"])
def test_every_loss_and_optimizer_has_validation_and_early_stopping(run: Run, trained: str, loss: str, optimizer: str):
    """Words that two classes never share are soon known; no epoch after that is better, and patience runs out."""
    how = ("--loss", loss, "--optimizer", optimizer, "--lr", "0.5" if optimizer == "sgd" else "0.1", "--dim", "6")
    valid = ("--bucket", "50", "--epochs", "40", "--valid", "test.txt", "--patience", "3", "--smoothing", "0")
    status, out, err = run("train", "text", "--data", "train.txt", *how, *valid, "--out", "checked", "--json")
    assert status == 0, err
    report = json.loads(out)
    epochs = [json.loads(line) for line in Path("checked/metrics.jsonl").read_text().splitlines()]
    assert report["best"] in epochs
    assert report["best"]["valid_accuracy"] == 1.0
    assert Path("checked/curves.png").exists()
    assert len(epochs) == report["epochs"]
    assert len(epochs) == min(report["best"]["epoch"] + 3, 40)
    assert [epoch["epoch"] for epoch in epochs] == list(range(1, len(epochs) + 1))
    assert epochs[-1]["loss"] < epochs[0]["loss"]
    again = json.loads(run("test", "checked", "--data", "test.txt", "--json")[1])
    assert again["accuracy"] == report["best"]["valid_accuracy"]


def test_a_share_is_held_out_of_the_vocabulary_too(run: Run, trained: str):
    """Each of 50 words stands in one line alone: those of the held-out lines are unknown to the model."""
    lines = [f"__label__{'warm' if k % 2 else 'cold'} word{k} {'sun' if k % 2 else 'snow'}" for k in range(50)]
    Path("own.txt").write_text("\n".join(lines) + "\n")
    assert run("train", "text", "--data", "own.txt", *SMALL, "--valid", "0.3", "--out", "share")[0] == 0
    words = TextClassifier.load("share").words
    known = sum(word.startswith("word") for word in words)
    assert 25 < known < 45
    assert json.loads(Path("share/config.json").read_text())["valid"] == 0.3
    epochs = [json.loads(line) for line in Path("share/metrics.jsonl").read_text().splitlines()]
    assert epochs[-1]["valid_accuracy"] == 1.0


def test_fasttexts_defaults_are_a_preset(run: Run, trained: str):
    assert run("train", "text", "--data", "train.txt", "--preset", "fasttext", "--out", "theirs")[0] == 0
    assert TextClassifier.load("theirs").model.settings == Settings()


def test_an_interrupted_training_with_held_out_texts_ends_as_one_that_was_not(
    run: Run, trained: str, monkeypatch: pytest.MonkeyPatch
):
    """Interrupted in the middle of the fourth epoch, after the best one."""
    monkeypatch.setattr(chunk_module, "TEXTS", 16)
    how = ("--data", "train.txt", "--test-data", "test.txt", *SMALL, "--valid", "test.txt", "--patience", "4")
    assert run("train", "text", *how, "--out", "straight")[0] == 0
    keep, kept = Checkpoints.keep, []

    def keep_and_interrupt(self, *what):
        keep(self, *what)
        kept.append(self)
        if len(kept) == 14:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoints, "keep", keep_and_interrupt)
    monkeypatch.setattr(Checkpoints, "due", lambda self: True)
    assert run("train", "text", *how, "--out", "broken", "--checkpoint-seconds", "1e-9")[0] == 130
    assert not Path("broken/model.bin").exists()
    status, _, err = run("test", "broken")
    assert status == 2
    assert "jaxbackprop resume broken" in err
    assert run("resume", "broken")[0] == 0
    for name in ("model.bin", "test.json"):
        assert Path("broken", name).read_bytes() == Path("straight", name).read_bytes()
    broken, straight = (
        [json.loads(line) for line in Path(folder, "metrics.jsonl").read_text().splitlines()]
        for folder in ("broken", "straight")
    )
    assert len(broken) == len(straight)
    for name in ("epoch", "loss", "valid_loss", "valid_accuracy"):
        assert [epoch[name] for epoch in broken] == [epoch[name] for epoch in straight]


def test_where_nothing_is_kept_it_is_said(run: Run, trained: str, monkeypatch: pytest.MonkeyPatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(TextClassifier, "train", interrupt)
    how = ("--data", "train.txt", *SMALL)
    status, _, err = run("train", "text", *how, "--out", "broken", "--checkpoint-seconds", "0")
    assert status == 130
    assert "nothing is saved" in err
    assert not Path("broken").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("train", "text", "--data", "train.txt", "--loss", "sofmax"), "one of softmax, hs, ns, ova"),
        (("train", "text", "--data", "train.txt", "--preset", "fast"), "it is default or fasttext"),
        (("train", "text", "--data", "train.txt", "--valid", "1.5"), "--valid is 1.5"),
        (("train", "text", "--data", "train.txt", "--valid", "none.txt"), "no such file"),
        (("train", "text", "--data", "train.txt", "--patience", "0"), "patience is 0"),
        (("train", "text", "--data", "train.txt", "--optimizer", "adma"), "sgd, adagrad, adam. Did you mean adam"),
        (("train", "text", "--data", "train.txt", "--C", "5"), "only the linear model has a use for it"),
        (("train", "text", "--data", "train.txt", "--seed", "-1"), "seed is -1"),
        (("train", "text", "--data", "train.txt", "--loss", "hs", "--out", "run"), "a run that is there already"),
        (("train", "text", "--data", "trian.txt", "--loss", "hs"), "train.txt"),
        (("train", "text", "--data", "bad.txt", "--loss", "hs"), "bad.txt, line 2, byte 15"),
        (("test", "run/model.bin"), "Give labelled data to test on"),
        (("test", "run", "--data", "other.txt"), "no line to test on"),
        (("predict", "run", "--k", "0"), "--top is 0"),
        (("predict", "run", "none.txt"), "no such file"),
        (("predict", "none.bin"), "no such file"),
        (("resume", "run"), "a finished model"),
        (("quantize", "runs"), "no model.bin"),
    ],
)
def test_bad_input_ends_with_status_2_and_one_clear_message(
    arguments: tuple[str, ...], said: str, run: Run, trained: str
):
    Path("bad.txt").write_text("__label__a x y\nz z\n")
    Path("other.txt").write_text("__label__strange x y\n")
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert said in err
    assert "Traceback" not in err


def test_an_unknown_label_is_counted_and_told(run: Run, trained: str):
    Path("other.txt").write_text("__label__strange snow\n__label__cold snow\nno label\n")
    status, out, err = run("test", trained, "--data", "other.txt")
    assert status == 0
    assert "1 examples" in out
    assert "1 label(s) never seen in training, the first 'strange' in line 1" in err
    assert "1 line(s) without label" in err


def test_training_that_diverges_ends_with_status_1(run: Run, trained: str):
    status, _, err = run("train", "text", "--data", "train.txt", "--lr", "1e30", "--out", "worse")
    assert status == 1
    assert "lr 1e+30 is too large" in err
    assert "in epoch 1, in the texts 1 to" in err.replace("\n", " ")
    assert not Path("worse").exists()


def test_fasttexts_options_are_there_and_what_was_skipped_is_noted(run: Run):
    """Two lines have no label, the others stand in the order of their labels; a word has the vector it was given."""
    lines = [f"__label__{name} {word} the {other}" for name, said in WORDS.items()
             for word in said.split() for other in said.split()]  # fmt: skip
    Path("train.txt").write_text("\n".join([*lines, "no label", "none"]) + "\n")
    Path("some.vec").write_text("1 6\nsnow 1 2 3 4 5 6\n")
    how = ("--data", "train.txt", "--skip-unlabelled", "--pretrained", "some.vec", "--max-words", "8", *SMALL)
    status, _, err = run("train", "text", *how, "--lr", "1e-9", "--thread", "1", "--out", "run")
    assert status == 0, err
    assert "train.txt: 2 lines without label skipped, the first is line 51." in err
    assert "sorted by label" in err
    model = TextClassifier.load("run")
    assert model["snow"].tolist() == pytest.approx([1, 2, 3, 4, 5, 6], abs=1e-4)
    assert (len(model.words), model.shuffle) == (8, False)
    status, _, err = run("train", "text", *how, "--thread", "2", "--out", "two")
    assert status == 0
    assert "sorted" not in err
    assert TextClassifier.load("two").shuffle
    status, _, err = run("train", "text", *how, "--tune-on", "train.txt", "--out", "three")
    assert status == 2
    assert "--pretrained" in err


def test_a_linear_model_is_trained_tested_and_asked(run: Run, trained: str):
    data = ("--data", "train.txt", "--test-data", "test.txt")
    status, out, err = run("train", "text", "--model", "linear", *data, "--C", "2", "--out", "linear")
    assert status == 0, err
    assert "P@1 100.00%" in out
    assert Path("linear/model.linear").is_file()
    assert "P@1 100.00%" in run("test", "linear")[1]
    assert "P@1 100.00%" in run("test", "linear/model.linear", "--data", "test.txt")[1]
    Path("ask.txt").write_text("snow and ice\n")
    assert json.loads(run("predict", "linear", "ask.txt")[1])["label"] == "cold"
    status, _, err = run("train", "text", "--model", "linear", *data, "--lr", "0.5", "--out", "no")
    assert status == 2
    assert "no use for it" in err


def test_texts_have_weights_and_the_linear_model_is_held_out_tuned_and_calibrated(run: Run, trained: str):
    Path("weights.txt").write_text("1\n" * len(Path("train.txt").read_text().splitlines()))
    how = ("--data", "train.txt", "--model", "linear", "--class-weight", "cold=2,warm=0.5")
    more = ("--sample-weight", "weights.txt", "--valid", "0.2", "--calibrate-on", "test.txt", "--patience", "3")
    status, out, err = run("train", "text", *how, *more, "--out", "weighted")
    assert status == 0, err
    assert "held-out" in out
    assert "temperature" in out
    settings = json.loads(Path("weighted/config.json").read_text())["settings"]
    assert settings["class_weight"] == {"cold": 2.0, "warm": 0.5}
    tuned = ("--tune-on", "test.txt", "--tune-seconds", "1", "--tune-metric", "macroF1")
    status, out, err = run("train", "text", *how, *tuned, "--out", "tuned")
    assert status == 0, err
    assert "C 1, idf 1" in out
    status, _, err = run("train", "text", "--data", "train.txt", "--class-weight", "cold=two", "--out", "no")
    assert status == 2
    assert "'cold=two' is not such as label=2" in err
