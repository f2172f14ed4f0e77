"""How a training process begins: tests look into a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
TRAIN = """
import atexit, gc, sys, threading
from jaxbackprop.fasttext import TextClassifier
from jaxbackprop.fasttext.corpus.corpus import Corpus
before, read, seen = sys.getswitchinterval(), Corpus.read, []

def watched(*args, **kwargs):
    print(threading.active_count() > 1, sys.getswitchinterval() == before, gc.isenabled())
    return read(*args, **kwargs)

Corpus.read = watched
TextClassifier.train(sys.argv[1], dim=2, epoch=1)
print(sys.getswitchinterval() == before, gc.isenabled())
atexit.register(lambda: print(gc.get_freeze_count()))
"""


def printed(source: str, *arguments: str) -> list[str]:
    """What a new Python prints."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", source, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_what_asks_a_model_imports_no_jax():
    source = (
        "import sys; from jaxbackprop.fasttext import load_model, train_supervised, TextClassifier;"
        " print('jax' in sys.modules)"
    )
    assert printed(source) == ["False"]


def test_jax_is_imported_on_a_thread_while_the_text_is_read_and_the_process_stays_as_it_is(tmp_path):
    (tmp_path / "lines.txt").write_text("__label__a one two\n__label__b three\n")
    assert printed(TRAIN, str(tmp_path / "lines.txt")) == ["True"] * 5 + ["0"]
