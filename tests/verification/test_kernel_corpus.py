"""Backward kernels, right and faulty: a few here, all of them in experiments/kernel_corpus.py."""

import kernel_corpus
import pytest
from kernel_corpus import Kernel

RIGHT = ("rotary, pallas", "embedding by segments")
WRONG = (
    "softmax, pallas: the last partial block is dropped",
    "embedding by segments: the last segment is dropped",
)


def entries(known: list[Kernel], names: tuple[str, ...]) -> list:
    return [pytest.param(entry, id=entry.name) for entry in known if entry.name in names]


def test_the_corpus_is_as_large_as_it_is_said_to_be():
    right, wrong = kernel_corpus.right(), kernel_corpus.wrong()
    assert len(right) >= 50
    assert len(wrong) >= 80
    assert len({entry.name for entry in (*right, *wrong)}) == len(right) + len(wrong)


@pytest.mark.parametrize("entry", entries(kernel_corpus.right(), RIGHT))
def test_a_right_kernel_passes(entry: Kernel):
    assert entry.verified().failures == ()


@pytest.mark.parametrize("entry", entries(kernel_corpus.wrong(), WRONG))
def test_a_faulty_kernel_is_found_and_placed(entry: Kernel):
    report = entry.verified()
    assert report.verdict == "wrong"
    assert entry.placed(report), report
