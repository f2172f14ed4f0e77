"""A damaged run folder is refused in one message that names the file, or gives what the whole one gave.

One change to one file of a trained run: bytes changed, cut off, emptied, removed, replaced by another file of the run,
a number in JSON changed, or a folder put in its place. Then the run is loaded and asked, its history and settings are
read. Wrong is whatever differs from the whole run without an error, and every error that is not the package's own.

    python experiments/damaged_runs.py
"""

import json
import random
import shutil
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from harness import report

import jaxbackprop as jbp
from jaxbackprop.data import DataError
from jaxbackprop.fasttext.run import TextRequest, finish, train

X = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
Y = (X[:, 0] > X[:, 1]).astype(int)
TEXTS = ["sun heat fire", "snow ice frost"] * 10
MOST_LINES = 3
OLDER = "an older checkpoint, with a warning"


def module_run(folder: Path) -> None:
    jbp.fit(jbp.MLP(4, [6], 2, rngs=nnx.Rngs(0)), (X, Y), valid=0.2, epochs=3, batch=8, out=folder)


def text_run(folder: Path) -> None:
    data = folder.with_name("texts.txt")
    data.write_text("".join(f"__label__{'ab'[k % 2]} {text}\n" for k, text in enumerate(TEXTS)))
    settings = {"dim": 4, "bucket": 20, "epoch": 3}
    request = TextRequest(str(data), test=str(data), settings=settings, valid=0.2, checkpoint_seconds=0)
    finish(train(request, folder), request, folder)


RUNS = {"module": module_run, "text": text_run}


def asked(folder: Path) -> tuple:
    """What a run says: its model's numbers, history, settings."""
    run = jbp.load_run(folder)
    if run.kind == "module":
        model = b"".join(np.asarray(x).tobytes() for x in jax.tree.leaves(nnx.state(run.model)))
    else:
        model = run.probabilities(TEXTS).tobytes()
    return model, run.history, json.dumps(run.config, sort_keys=True)


def damage(folder: Path, rng: random.Random) -> str:
    """Change one file; says how."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".png")
    path, other = rng.choice(files), rng.choice(files)
    content = path.read_bytes()
    how = rng.choice(["bit", "bytes", "cut", "emptied", "removed", "replaced", "number", "folder", "doubled"])
    if how in ("bit", "bytes") and content:
        changed = bytearray(content)
        for _ in range(1 if how == "bit" else rng.randint(2, 40)):
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
    elif how == "number" and path.suffix in (".json", ".jsonl"):
        digits = [k for k, byte in enumerate(content) if chr(byte).isdigit()]
        at = rng.choice(digits)
        path.write_bytes(content[:at] + str(rng.choice([0, 7, 10**9, -1])).encode() + content[at + 1 :])
    elif how == "cut" and content:
        path.write_bytes(content[: rng.randrange(len(content))])
    elif how == "replaced":
        path.write_bytes(other.read_bytes())
    elif how == "doubled":
        path.write_bytes(content + content)
    elif how == "folder":
        path.unlink()
        path.mkdir()
    elif how == "removed":
        path.unlink()
    else:
        path.write_bytes(b"")
        how = "emptied"
    return f"{path.relative_to(folder)}: {how}"


def measure(trials: int = 1000, seed: int = 0) -> dict[str, Any]:
    """For each kind of run: how many damaged ones were refused, gave the same, and the wrong ones."""
    rng, rows = random.Random(seed), {}
    with tempfile.TemporaryDirectory() as base:
        for kind, make in RUNS.items():
            whole, broken = Path(base, f"{kind}-whole"), Path(base, f"{kind}-broken")
            make(whole)
            expected, outcomes, wrong = asked(whole), Counter(), []
            for _ in range(trials):
                shutil.rmtree(broken, ignore_errors=True)
                shutil.copytree(whole, broken)
                change = damage(broken, rng)
                try:
                    with warnings.catch_warnings(record=True) as caught:
                        warnings.simplefilter("always")
                        same = asked(broken) == expected
                    if same:
                        outcome = "same, with a warning" if caught else "same"
                    else:
                        outcome = OLDER if caught else "wrong"
                except DataError as error:
                    message = str(error)
                    named = str(broken) in message and len(message.splitlines()) <= MOST_LINES
                    outcome = "refused" if named else "wrong"
                    change += f" ({message})"
                except Exception as error:
                    outcome, change = "wrong", f"{change} ({type(error).__name__}: {error})"
                outcomes[outcome] += 1
                if outcome == "wrong":
                    wrong.append(change.replace(str(base), ""))
            rows[kind] = {"damaged": trials, **outcomes, "examples of wrong": wrong[:10]}
    return rows


def claim(measured: dict[str, Any]) -> None:
    for kind, row in measured.items():
        assert not row.get("wrong"), f"{kind}: {row['examples of wrong']}"
        assert row["refused"] + row.get(OLDER, 0) > row["damaged"] / 4, kind


if __name__ == "__main__":
    report(measure, claim)
