"""The text form of word vectors: written as fastText writes it, read fast, and a bad line named."""

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxbackprop.data import DataError
from jaxbackprop.fasttext.corpus.vocabulary import Vocabulary
from jaxbackprop.fasttext.files import vec_file
from jaxbackprop.fasttext.files.fasttext_model import read_model
from jaxbackprop.fasttext.files.vec_file import pretrained_rows, read_vectors, write_vectors
from jaxbackprop.fasttext.predict.vectors import word_vectors

GOLDEN = Path(__file__).parents[1] / "golden"
GOOD = b"3 2\nthe 0.1 -2e-05 \ncr\xc3\xa8me 3 4.5 \n\xff 1 1 \n"


def read(folder: Path, data: bytes):
    (folder / "v.vec").write_bytes(data)
    return read_vectors(folder / "v.vec")


def refused(folder: Path, data: bytes) -> DataError:
    with pytest.raises(DataError) as caught:
        read(folder, data)
    assert caught.value.file == str(folder / "v.vec")
    return caught.value


def vocabulary(*words: str) -> Vocabulary:
    names = [word.encode() for word in (*words, "__label__a")]
    return Vocabulary(pa.array(names, pa.binary()), np.ones(len(names), np.int64), len(names))


def test_words_and_their_numbers_are_read(tmp_path):
    words, vectors = read(tmp_path, GOOD)
    assert words == ("the", "crème", "\udcff")
    assert vectors.dtype == np.float32
    assert np.array_equal(vectors, np.array([[0.1, -2e-05], [3, 4.5], [1, 1]], "f"))


@pytest.mark.parametrize(
    "data",
    [
        GOOD.replace(b" \n", b"\n"),
        GOOD.replace(b"\n", b"\r\n"),
        GOOD.replace(b"3 4.5", b"3\t 4.5"),
        GOOD.replace(b" \n", b"   \n"),
        GOOD[:-1],
        GOOD[:-2],
        GOOD.replace(b"1 1", b"+1 1e0"),
        GOOD.replace(b"\n\xff", b"\n\n\xff"),
    ],
    ids=["no blank at the end", "CR", "tab", "blanks", "no last newline", "cut blank", "signs", "an empty line"],
)
def test_other_white_space_and_numbers_are_read_too(data, tmp_path):
    words, vectors = read(tmp_path, data)
    assert words == ("the", "crème", "\udcff")
    assert np.array_equal(vectors, np.array([[0.1, -2e-05], [3, 4.5], [1, 1]], "f"))


def test_signs_that_csv_takes_for_its_own_are_words(tmp_path):
    words, _ = read(tmp_path, b"4 1\n\" 1\n' 2\n\\ 3\n, 4\n")
    assert words == ('"', "'", "\\", ",")


def test_a_file_may_be_compressed(tmp_path):
    (tmp_path / "v.vec.gz").write_bytes(gzip.compress(GOOD))
    assert read_vectors(tmp_path / "v.vec.gz")[0] == ("the", "crème", "\udcff")


def test_a_file_read_in_many_blocks_is_the_same(tmp_path, monkeypatch):
    names = [f"w{k}" for k in range(500)]
    data = b"500 3\n" + b"".join(f"{name} {k} {k / 2} -{k} \n".encode() for k, name in enumerate(names))
    monkeypatch.setattr(vec_file, "BLOCK", 100)
    words, vectors = read(tmp_path, data)
    assert words == tuple(names)
    assert np.array_equal(vectors, np.array([[k, k / 2, -k] for k in range(500)], "f"))
    error = refused(tmp_path, data.replace(b"w400 400", b"w400 four"))
    assert (error.line, error.byte) == (402, data.index(b"w400"))


@pytest.mark.parametrize(
    ("data", "line", "byte", "found"),
    [
        (b"", 1, 0, "nothing"),
        (b"the 0.1 0.2\n", 1, 0, "the line 'the 0.1 0.2'"),
        (b"3 0\n", 1, 0, "the line '3 0'"),
        (GOOD.replace(b"3 4.5", b"3 4.5 5"), 3, 20, "3 numbers after 'crème'"),
        (GOOD.replace(b"3 4.5", b"3"), 3, 20, "1 numbers after 'crème'"),
        (GOOD.replace(b"0.1 ", b""), 2, 4, "1 numbers after 'the'"),
        (GOOD.replace(b"4.5", b"x"), 3, 20, "'x' after 'crème'"),
        (GOOD.replace(b"4.5", b"nan"), 3, 20, "'nan' after 'crème'"),
        (GOOD.replace(b"4.5", b"1e999"), 3, 20, "'1e999' after 'crème'"),
        (GOOD.replace(b"3 2\n", b"3 999999999\n"), 2, 12, "2 numbers after 'the'"),
        (GOOD.replace(b"3 2\n", b"999999999999 2\n"), 5, 52, "3 words"),
        (GOOD.replace(b"3 2\n", b"2 2\n"), 5, 41, "3 words"),
        (GOOD[:-5], 4, 34, "0 numbers after '\\\\xff'"),
    ],
)
def test_a_line_that_is_none_is_named(data, line, byte, found, tmp_path):
    error = refused(tmp_path, data)
    assert (error.line, error.byte, error.found) == (line, byte, found)


@given(st.binary(max_size=80), st.integers(0, len(GOOD)), st.integers(0, 8))
def test_no_bytes_raise_anything_but_a_data_error(tmp_path_factory, noise, at, removed):
    path = tmp_path_factory.mktemp("vec") / "v.vec"
    path.write_bytes(GOOD[:at] + noise + GOOD[at + removed :])
    try:
        words, vectors = read_vectors(path)
    except DataError:
        return
    assert vectors.shape[0] == len(words)
    assert np.isfinite(vectors).all()


@pytest.mark.parametrize("name", ["softmax.bin", "ns.bin", "cutoff.ftz"])
def test_what_is_written_is_read(name, tmp_path):
    model = read_model(GOLDEN / name)
    write_vectors(model, tmp_path / "m.vec")
    words, vectors = read_vectors(tmp_path / "m.vec")
    assert words == model.vocabulary.words
    assert np.allclose(vectors, word_vectors(model), rtol=5.1e-5, atol=0)  # five digits


def test_a_line_is_written_as_fasttext_writes_it(tmp_path):
    """A blank after each number, five digits, no more than needed: C++'s default form at precision 5."""
    model = read_model(GOLDEN / "softmax.bin")
    table = np.zeros((19, 4), np.float32)
    table[1] = [1.5, -0.123456, 1e-7, 123456.7]
    write_vectors(type(model)(model.vocabulary, model.settings, table, model.output), tmp_path / "m.vec")
    lines = (tmp_path / "m.vec").read_bytes().split(b"\n")
    assert lines[:3] == [b"19 4", b"</s> 0 0 0 0 ", b"the 1.5 -0.12346 1e-07 1.2346e+05 "]


def test_words_of_the_vocabulary_get_their_vectors(tmp_path):
    (tmp_path / "v.vec").write_bytes(b"5 2\nb 1 2\nx 3 4\na 5 6\n__label__a 7 7\nb 8 9\n")
    words, vectors = read_vectors(tmp_path / "v.vec", 2)
    rows, places = pretrained_rows(words, vocabulary("a", "c", "b"))
    found = dict(zip(rows.tolist(), vectors[places].tolist(), strict=True))
    assert found == {0: [5, 6], 2: [8, 9]}  # the later b counts, a label gets none


def test_no_word_in_common_gives_no_rows():
    rows, places = pretrained_rows(["the", "salt"], vocabulary("other"))
    assert rows.shape == places.shape == (0,)


def test_vectors_of_another_length_are_refused(tmp_path):
    (tmp_path / "v.vec").write_bytes(GOOD)
    with pytest.raises(DataError, match="vectors of 2 numbers, expected 100"):
        read_vectors(tmp_path / "v.vec", 100)


def test_fasttext_trains_from_what_is_written_here(tmp_path):
    """With no step of training its rows are the file's."""
    fasttext = pytest.importorskip("fasttext")
    fasttext.FastText.eprint = lambda _: None
    model = read_model(GOLDEN / "softmax.bin")
    write_vectors(model, tmp_path / "m.vec")
    (tmp_path / "train.txt").write_text("__label__a the oven\n__label__b salt bread\n", encoding="utf-8")
    theirs = fasttext.train_supervised(
        str(tmp_path / "train.txt"), dim=4, lr=0.0, thread=1, verbose=0, pretrainedVectors=str(tmp_path / "m.vec")
    )
    words, vectors = read_vectors(tmp_path / "m.vec")
    rows, places = pretrained_rows(words, vocabulary(*theirs.words))
    assert len(rows) == 19
    assert np.array_equal(theirs.get_input_matrix()[rows], vectors[places])
