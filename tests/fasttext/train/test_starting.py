"""How a training process begins: tests look into a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jaxbackprop.fasttext.train import loop as train
from jaxbackprop.fasttext.train.starting import starting

ROOT = Path(__file__).resolve().parents[3]


def told(source: str) -> list[str]:
    """What a new Python prints."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", source], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_what_asks_a_model_imports_no_jax():
    source = (
        "import sys; from jaxbackprop.fasttext import load_model, train_supervised, TextClassifier;"
        " print('jax' in sys.modules)"
    )
    assert told(source) == ["False"]


def test_the_trainer_comes_from_another_thread_and_the_process_stays_as_it_is():
    source = """
import gc, sys, threading
from jaxbackprop.fasttext.train.starting import starting
before = sys.getswitchinterval()
with starting() as trainer:
    print(threading.active_count() > 1, sys.getswitchinterval() == before, gc.isenabled())
    print(trainer().__name__)
import atexit
atexit.register(lambda: print(gc.get_freeze_count()))
"""
    assert told(source) == ["True", "True", "True", "jaxbackprop.fasttext.train.loop", "0"]


def test_an_error_on_the_way_is_the_callers():
    with pytest.raises(KeyError, match="mine"), starting():
        raise KeyError("mine")


def test_a_trainer_that_is_there_is_answered_at_once():
    with starting() as trainer:
        assert trainer() is train
