"""load_run(): what fit(out=) saved is loaded and predicts the same, and what a text classifier saved."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flax import nnx

import jaxbackprop as jbp
from jaxbackprop.data import DataError, Texts
from jaxbackprop.models import MLP
from jaxbackprop.training import scores

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4)).astype(np.float32)
Y = (X @ RNG.normal(size=(4, 3))).argmax(1)
TEXTS = Texts(("sun heat fire", "snow ice frost") * 20, (("warm",), ("cold",)) * 20)


def trained(folder: Path, **settings: Any) -> MLP:
    model = MLP(4, [8], 3, dropout=0.2, norm="batch", rngs=nnx.Rngs(0))
    jbp.fit(model, (X, Y), epochs=4, batch=16, lr=0.02, out=folder, **settings)
    return model


def test_what_fit_saved_is_loaded_and_predicts_the_same(tmp_path: Path):
    model = trained(tmp_path / "run")
    run = jbp.load_run(tmp_path / "run")
    assert np.array_equal(scores(run.model, X), scores(model, X))
    assert run.predict(X).tolist() == scores(model, X).argmax(-1).tolist()
    assert run.probabilities(X).sum(-1) == pytest.approx(np.ones(60), rel=1e-5)
    assert (run.kind, run.classes) == ("module", ())
    assert run.settings["lr"] == 0.02
    assert run.config["model"]["class"] == "MLP"


def test_the_history_is_the_one_that_fit_returned(tmp_path: Path):
    model = MLP(4, [8], 3, rngs=nnx.Rngs(0))
    history = jbp.fit(model, (X, Y), valid=0.2, epochs=30, patience=2, lr=0.5, out=tmp_path)
    loaded = jbp.load_run(tmp_path).history
    assert loaded is not None
    assert (loaded.epochs, loaded.best, loaded.stopped_early) == (history.epochs, history.best, history.stopped_early)


def test_a_module_of_ones_own_is_given(tmp_path: Path):
    class Linear(nnx.Module):
        def __init__(self):
            self.W = nnx.Param(np.zeros((4, 3), np.float32))

        def __call__(self, x: Any) -> Any:
            return x @ self.W[...]

    def loss_and_correct(model: Any, x: Any, y: Any) -> Any:
        z = model(x)
        return jbp.losses.softmax_cross_entropy(z, y), z.argmax(-1) == y

    model = Linear()
    jbp.fit(model, (X, Y), epochs=2, loss=loss_and_correct, out=tmp_path)
    with pytest.raises(DataError, match=r"load_run\(folder, model=...\)"):
        jbp.load_run(tmp_path)
    run = jbp.load_run(tmp_path, model=Linear())
    assert np.array_equal(run.predict(X), scores(model, X))


def test_a_saved_text_classifier_is_loaded_by_its_folder_or_its_file(tmp_path: Path):
    classifier = jbp.fasttext.TextClassifier.train(TEXTS, dim=6, bucket=50, lr=0.5)
    classifier.save(tmp_path / "run")
    for path in (tmp_path / "run", tmp_path / "run" / "model.bin"):
        run = jbp.load_run(path)
        assert run.kind == "text classifier"
        assert run.predict(["snow", "fire"]).tolist() == ["cold", "warm"]
        assert run.probabilities(["snow"]) == pytest.approx(classifier.probabilities(["snow"]))
        assert set(run.classes) == {"cold", "warm"}
        assert run.history is None
    assert jbp.load_run(tmp_path / "run").settings["dim"] == 6


def test_what_is_no_run_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match=r"no config\.json"):
        jbp.load_run(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        jbp.load_run(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no such file"):
        jbp.load_run(tmp_path / "none.bin")


def test_a_text_classifier_predicts_without_jax(tmp_path: Path):
    jbp.fasttext.TextClassifier.train(TEXTS, dim=6, bucket=50, lr=0.5).save(tmp_path / "run")
    code = (
        "import sys; from jaxbackprop.training.run import load_run; run = load_run(sys.argv[1]);"
        "print(run.predict(['snow'])[0], [m for m in ('jax', 'flax', 'optax', 'orbax') if m in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path / "run")], capture_output=True, text=True)
    assert ended.stdout.strip() == "cold []", ended.stderr
