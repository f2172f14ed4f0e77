"""How a training process begins and ends: each test looks into a process of its own."""

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


def test_the_trainer_comes_from_another_thread_and_leaves_the_interpreter_as_it_was():
    source = """
import gc, sys, threading
from jaxbackprop.fasttext.train.starting import starting
before = sys.getswitchinterval()
with starting() as trainer:
    print(threading.active_count() > 1)
    print(trainer().__name__)
print(sys.getswitchinterval() == before, gc.isenabled())
"""
    assert told(source) == ["True", "jaxbackprop.fasttext.train.loop", "True", "True"]


def test_a_switched_off_collector_stays_off():
    source = """
import gc
from jaxbackprop.fasttext.train.starting import starting
gc.disable()
with starting() as trainer:
    trainer()
print(gc.isenabled())
"""
    assert told(source) == ["False"]


def test_at_the_end_nothing_is_searched_for_garbage_and_what_was_registered_still_runs():
    source = """
import atexit, gc
atexit.register(lambda: print(gc.get_freeze_count() > 10_000))
from jaxbackprop.fasttext.train.starting import starting
with starting() as trainer:
    trainer()
print(gc.get_freeze_count())
"""
    assert told(source) == ["0", "True"]


def test_an_error_on_the_way_is_the_callers():
    with pytest.raises(KeyError, match="mine"), starting():
        raise KeyError("mine")


def test_a_trainer_that_is_there_is_answered_at_once():
    with starting() as trainer:
        assert trainer() is train
