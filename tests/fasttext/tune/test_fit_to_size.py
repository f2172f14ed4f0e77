"""A classifier made to fit into a file of a given size."""

from pathlib import Path

import pytest
from labelled_lines import write_lines

from jaxbackprop.fasttext import TextClassifier
from jaxbackprop.fasttext.tune.fit_to_size import bytes_of, fit_to_size


@pytest.mark.parametrize(("size", "expected"), [(1234, 1234), ("1234", 1234), ("5k", 5_000), ("2M", 2_000_000)])
def test_a_size_is_read_as_fasttext_reads_it(size: int | str, expected: int):
    assert bytes_of(size) == expected


@pytest.mark.parametrize("size", ["", "M", "2.5M", "-3", "0", "2MB"])
def test_what_is_no_size_is_refused(size: str):
    with pytest.raises(ValueError, match="the model size is"):
        bytes_of(size)


def test_the_file_is_no_larger_and_answers_nearly_as_well(tmp_path: Path):
    path = write_lines(tmp_path / "train.txt", 600)
    whole = TextClassifier.train(path, dim=8, bucket=5_000, word_ngrams=2, lr=0.5, epoch=10)
    small = fit_to_size(whole, "20k", path)
    small.save(tmp_path / "small.ftz")
    assert (tmp_path / "small.ftz").stat().st_size <= 20_000
    assert small.test(path)[1] > whole.test(path)[1] - 0.05
    assert not whole.is_quantized()
    with pytest.raises(ValueError, match="fewer than 256 rows"):
        fit_to_size(whole, "9k", path)
