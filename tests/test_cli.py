"""The commands that train, test, predict, resume and inform: what they print, keep, and end with."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jaxbackprop
from jaxbackprop.cli import main
from jaxbackprop.cli.train import mlp

Run = Callable[..., tuple[int, str, str]]
LINES = {"warm": "sun heat fire summer sand", "cold": "snow ice frost winter wind"}


def write_texts(path: Path, examples: int, seed: int) -> None:
    """Lines of two classes that have no word in common."""
    rng = np.random.default_rng(seed)
    names = rng.choice(list(LINES), examples)
    lines = [f"__label__{name} " + " ".join(rng.choice(LINES[name].split(), 4)) for name in names]
    path.write_text("\n".join(lines) + "\n")


def write_numbers(path: Path, examples: int, seed: int) -> None:
    """Two numbers and the name of the larger one."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(examples, 2))
    lines = ["left,right,label", *(f"{a},{b},{'left' if a > b else 'right'}" for a, b in rows)]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def texts(run: Run) -> str:
    """A trained run of the text classifier."""
    write_texts(Path("train.txt"), 80, 0)
    write_texts(Path("test.txt"), 30, 1)
    data = ("--data", "train.txt", "--test-data", "test.txt", "--bucket", "50", "--out", "run")
    assert run("train", "text", *data, "--epochs", "3")[0] == 0
    return "run"


def test_a_text_classifier_is_trained_tested_and_asked(run: Run, texts: str):
    kept = {p.name for p in Path(texts).iterdir()}
    assert {"config.json", "metrics.jsonl", "model.bin", "test.json"} <= kept
    assert len(Path("run/metrics.jsonl").read_text().splitlines()) == 3

    status, out, _ = run("test", texts, "--json")
    assert status == 0
    assert json.loads(out) == {"run": "run", **json.loads(Path("run/test.json").read_text())}
    assert json.loads(out)["accuracy"] == 1.0
    assert "P@1 100.00%, R@1 100.00%, 30 examples" in run("test", texts)[1]

    Path("ask.txt").write_text("snow and ice\nfire\n")
    status, out, _ = run("predict", texts, "ask.txt")
    answers = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [answer["label"] for answer in answers] == ["cold", "warm"]
    status, out, _ = run("predict", texts, "ask.txt", "--top", "2")
    classes = json.loads(out.splitlines()[0])["classes"]
    assert [c["label"] for c in classes] == ["cold", "warm"]
    assert sum(c["probability"] for c in classes) == pytest.approx(1, abs=3e-5)  # fastText adds 1e-5 to each


def test_a_perceptron_is_trained_on_a_csv_file_and_reports_as_json(run: Run):
    write_numbers(Path("train.csv"), 300, 0)
    write_numbers(Path("test.csv"), 100, 1)
    status, out, _ = run(
        *("train", "mlp", "--data", "train.csv", "--test-data", "test.csv", "--hidden", "16", "--epochs", "30"),
        *("--lr", "0.02", "--norm", "none", "--dropout", "0", "--valid", "0.2", "--patience", "20", "--json"),
    )
    assert status == 0
    report = json.loads(out)  # nothing else is on stdout
    assert report["run"] == "runs/mlp-train-1"
    assert report["test"]["examples"] == 100
    assert report["test"]["accuracy"] > 0.9
    assert report["best"]["valid_accuracy"] > 0.9
    Path("rows.csv").write_text("left,right\n3,1\n\n-1 0\n")
    status, out, _ = run("predict", report["run"], "rows.csv")
    assert [json.loads(line)["label"] for line in out.splitlines()] == ["left", "right"]
    labelled = [json.loads(line)["label"] for line in run("predict", report["run"], "test.csv")[1].splitlines()]
    own = [line.rpartition(",")[2] for line in Path("test.csv").read_text().splitlines()[1:]]
    assert np.mean(np.array(labelled) == own) == pytest.approx(report["test"]["accuracy"])
    status, out, _ = run("test", report["run"], "--data", "train.csv")
    assert status == 0
    assert "of 300 wrong" in out


@pytest.mark.slow
def test_by_default_the_digits_are_learned(run: Run):
    """The mark of the demo: at most nine of the 359 test digits wrong."""
    pytest.importorskip("sklearn")
    status, out, _ = run("train", "mlp", "--json")
    assert status == 0
    assert json.loads(out)["test"]["accuracy"] >= 0.975


@pytest.mark.slow
def test_by_default_questions_are_told_apart_as_well_as_fasttext_does(run: Run, shared_data: Path):
    """TREC: fastText 0.9.2 has 91.4 % with bigrams and dimension 10; the mark is 91 %."""
    status, out, _ = run("train", "text", "--data", str(shared_data / "trec"), "--json")
    assert status == 0
    assert json.loads(out)["test"]["accuracy"] >= 0.91


def test_an_interrupted_run_says_how_to_go_on_and_ends_as_one_that_was_not(run: Run, monkeypatch: pytest.MonkeyPatch):
    write_numbers(Path("train.csv"), 80, 0)
    write_numbers(Path("test.csv"), 30, 1)
    command = ("train", "mlp", "--data", "train.csv", "--test-data", "test.csv", "--hidden", "8", "--epochs", "5")
    assert run(*command, "--out", "straight")[0] == 0
    status_of = mlp._status

    def interrupt(epoch: Any) -> str:
        if epoch.epoch == 3:
            raise KeyboardInterrupt
        return status_of(epoch)

    monkeypatch.setattr(mlp, "_status", interrupt)
    status, _, err = run(*command, "--out", "broken")
    assert status == 130
    assert "jaxbackprop resume broken" in err
    monkeypatch.setattr(mlp, "_status", status_of)
    assert run("resume", "broken")[0] == 0
    assert Path("broken/test.json").read_text() == Path("straight/test.json").read_text()
    losses = [
        [json.loads(line)["loss"] for line in Path(folder, "metrics.jsonl").read_text().splitlines()]
        for folder in ("broken", "straight")
    ]
    assert losses[0] == losses[1]


def test_a_loss_that_becomes_nan_ends_with_status_1_and_names_the_rule(run: Run):
    write_numbers(Path("train.csv"), 100, 0)
    status, _, err = run(
        *("train", "mlp", "--data", "train.csv", "--hidden", "8", "--optimizer", "sgd", "--lr", "1e30"),
        *("--norm", "none", "--epochs", "2"),
    )
    assert status == 1
    assert "training stopped in epoch 1" in err
    assert "not finite is affine" in err


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("train mlp --hidden 5,x", "--hidden is '5,x'"),
        ("train mlp --valid 1.5", "--valid is 1.5"),
        ("train mlp --data two.csv --optimizer adamm", "Did you mean adam"),
        ("train mlp --data two.csv --lr -1", "lr is -1"),
        ("train mlp --data two.csv --batch 0", "batch is 0"),
        ("train mlp --data two.csv --dtype float8", "dtype is 'float8'"),
        ("train mlp --data two.csv --out two.csv", "two.csv: found a file, expected a new folder"),
        ("train text --out .", "found a folder that is not empty"),
        ("train text --data labelled.txt --calibrate-on nowhere.txt", "nowhere.txt"),
        ("train mlp --unit rleu", "'rleu' is not a unit"),
        ("train mlp --data nowhere.csv", "nowhere.csv: found no such file"),
        ("train mlp --data docstrings", "found labelled texts, expected numbers"),
        ("train text --data broken.txt", "broken.txt, line 2"),
        ("test nowhere", "nowhere: found no such folder"),
        ("resume .", "no config.json"),
        ("data get mnits", "Did you mean mnist"),
    ],
)
def test_bad_input_ends_with_status_2_and_one_clear_message(run: Run, command: str, message: str):
    Path("broken.txt").write_text("__label__a some words\nno label here\n")
    Path("labelled.txt").write_text("__label__a some words\n__label__b other ones\n")
    write_numbers(Path("two.csv"), 20, 0)
    status, out, err = run(*command.split())
    assert status == 2
    assert message in err.replace("\n", " ")
    assert "Traceback" not in err
    assert out == ""
    assert not list(Path().glob("runs/*")), "nothing was begun"


def test_raw_pixels_are_scaled_as_in_training(run: Run):
    """Trained on bytes, which are divided by 255; asked with the same pixels as numbers in a text file."""
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    x = (rng.integers(0, 100, (60, 4)) + 155 * (y[:, None] == [0, 1, 0, 1])).astype(np.uint8)
    np.savez("pixels.npz", x=x, y=y)
    train = ("train", "mlp", "--data", "pixels.npz", "--hidden", "", "--epochs", "60", "--lr", "0.05", "--out", "run")
    status, out, _ = run(*train)
    assert status == 0
    assert "training accuracy" in out
    np.savetxt("raw.csv", x, "%d", delimiter=",")
    np.savetxt("scaled.csv", x / 255, "%.6f", delimiter=",")
    raw, scaled, bytes_ = (run("predict", "run", file) for file in ("raw.csv", "scaled.csv", "pixels.npz"))
    assert [json.loads(line)["label"] for line in raw[1].splitlines()] == [str(label) for label in y]
    assert "divided by 255, as in training" in raw[2]
    for other in (scaled, bytes_):
        assert other[2] == ""
        for ours, theirs in zip(raw[1].splitlines(), other[1].splitlines(), strict=True):
            assert json.loads(ours)["probability"] == pytest.approx(json.loads(theirs)["probability"], abs=1e-4)
    np.savetxt("far.csv", 1000.0 * x, "%d", delimiter=",")
    assert "in training they were from 0 to 0.99" in run("predict", "run", "far.csv")[2].replace("\n", " ")
    status, _, err = run("resume", "run")
    assert status == 2
    assert "a finished run" in err


def test_an_unknown_option_ends_with_status_2(run: Run):
    assert run("train", "mlp", "--nope")[0] == 2


def test_a_row_that_does_not_fit_is_named(run: Run):
    write_numbers(Path("train.csv"), 60, 0)
    assert run("train", "mlp", "--data", "train.csv", "--hidden", "", "--epochs", "1", "--out", "run")[0] == 0
    for row, message in (
        ("1,2,3", "3 numbers, expected 2"),
        ("1,x", "'1,x', expected numbers"),
        ("1,nan", "not finite"),
    ):
        Path("rows.csv").write_text(f"1,2\n{row}\n")
        status, _, err = run("predict", "run", "rows.csv")
        assert status == 2
        assert "rows.csv, line 2" in err
        assert message in err.replace("\n", " ")
    status, _, err = run("test", "run")
    assert status == 2
    assert "no test set" in err


def test_info_and_data_list_are_json_where_asked(run: Run):
    status, out, _ = run("info", "--json")
    assert status == 0
    assert {"versions", "devices", "extras"} == set(json.loads(out))
    assert json.loads(out)["versions"]["numpy"] == np.__version__
    status, out, _ = run("data", "list", "--json")
    assert {"digits", "docstrings", "mnist"} <= set(json.loads(out))
    assert "jaxbackprop data get mnist" in run("data", "list")[1]
    assert "python" in run("info")[1]


COMMANDS = (
    "", "verify", "audit", "derive", "circuit", "bench", "train", "train mlp", "train text", "test", "predict",
    "resume", "quantize", "data", "data get", "data list", "info",
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_command_has_help(run: Run, command: str, option: str):
    status, out, _ = run(*command.split(), option)
    assert status == 0
    assert "Usage: jaxbackprop" in out


@pytest.mark.parametrize("command", [c for c in COMMANDS if c not in ("", "train", "data")])
def test_every_command_prints_json_where_asked(run: Run, command: str):
    assert "--json" in run(*command.split(), "--help")[1]


def test_a_negative_expression_is_no_option(run: Run):
    """Its letters are gates and names: -tanh(x) asks for no help."""
    status, out, _ = run("circuit", "-tanh(x)", "x=1", "--json")
    assert status == 0
    assert json.loads(out)


def test_the_version_is_printed(run: Run):
    assert run("--version")[:2] == (0, f"jaxbackprop {jaxbackprop.__version__}\n")


def test_the_package_runs_as_a_module():
    ended = subprocess.run(
        [sys.executable, "-m", "jaxbackprop", "--version"], capture_output=True, text=True, check=True
    )
    assert ended.stdout == f"jaxbackprop {jaxbackprop.__version__}\n"


def test_the_commands_themselves_import_nothing_heavy():
    """What a command needs it imports when it runs; only jaxbackprop itself and what it imports may be there before."""
    code = (
        "import sys, jaxbackprop; before = set(sys.modules); import jaxbackprop.cli;"
        "print(sorted(m for m in set(sys.modules) - before if m.split('.')[0] in"
        " ('flax', 'optax', 'orbax', 'pyarrow', 'sklearn', 'matplotlib', 'pooch') or m.startswith('jaxbackprop.tr')))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


def test_an_audit_without_the_functions_arguments_says_how_to_give_them(tmp_path, capsys):
    file = tmp_path / "program.py"
    file.write_text("def loss(W, x):\n    return W * x\n")
    with pytest.raises(SystemExit) as stopped:
        main(["audit", f"{file}:loss"])
    assert stopped.value.code == 2
    assert "missing a required argument: 'W'. Give a function that makes them: --args" in capsys.readouterr().err
