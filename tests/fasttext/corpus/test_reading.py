"""Where labelled text comes from, and how text to ask about arrives."""

import gzip
import subprocess
import sys
from pathlib import Path

import pytest
from labelled_lines import write_lines

from jaxbackprop.data import DataError, Texts
from jaxbackprop.fasttext.corpus.reading import iter_prediction_batches, text_groups, train_and_test_sources

ECHO = """
import sys
from jaxbackprop.fasttext.corpus.reading import iter_prediction_batches
for tokens in iter_prediction_batches("-"):
    print(len(tokens), len(tokens.codes), flush=True)
"""


def test_a_file_stays_where_it_is_and_a_folder_has_two_sides(tmp_path: Path):
    train = write_lines(tmp_path / "train.txt")
    assert train_and_test_sources(str(train)) == (train, None)
    test = tmp_path / "test.txt.gz"
    test.write_bytes(gzip.compress(b"__label__food soup\n"))
    assert train_and_test_sources(str(tmp_path)) == (train, test)
    assert train_and_test_sources(str(train), str(test)) == (train, test)
    assert train_and_test_sources(str(train), str(tmp_path)) == (train, test)


def test_a_table_and_a_set_by_name_become_texts(tmp_path: Path):
    (tmp_path / "train.csv").write_text("topic,text\nfood,bread soup\nmusic,drum\n")
    train, test = train_and_test_sources(str(tmp_path / "train.csv"), label_column="topic")
    assert isinstance(train, Texts)
    assert (train.classes, test) == (("food", "music"), None)
    train, test = train_and_test_sources("docstrings")
    assert isinstance(train, Texts)
    assert isinstance(test, Texts)


def test_what_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="no such file"):
        train_and_test_sources(str(tmp_path / "none.txt"))
    with pytest.raises(DataError, match=r"a file train\.\*"):
        train_and_test_sources(str(tmp_path))


def test_a_file_is_tokens_however_it_is_packed(tmp_path: Path):
    plain = write_lines(tmp_path / "train.txt", 50)
    packed = tmp_path / "train.txt.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    groups = [list(text_groups(path, "__label__")) for path in (plain, packed)]
    assert [sum(len(tokens) for tokens in group) for group in groups] == [50, 50]
    assert groups[0][0].codes.tolist() == groups[1][0].codes.tolist()
    assert sum(len(tokens) for tokens in iter_prediction_batches(str(plain))) == 50


def test_a_line_on_standard_input_is_there_before_the_next_comes():
    """Who writes a line and waits for the answer is not kept waiting for more lines."""
    asked = subprocess.Popen([sys.executable, "-c", ECHO], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert asked.stdin is not None
    assert asked.stdout is not None
    with asked:
        asked.stdin.write("one two\n")
        asked.stdin.flush()
        assert asked.stdout.readline() == "1 3\n"
        asked.stdin.write("three\nfour")
        asked.stdin.close()
        assert asked.stdout.read() in ("2 3\n", "1 2\n1 1\n")


def test_all_of_a_long_standard_input_is_read():
    done = subprocess.run(
        [sys.executable, "-c", ECHO], input="word\n" * 400_000, capture_output=True, text=True, check=True
    )
    counts = [int(line.split()[0]) for line in done.stdout.splitlines()]
    assert sum(counts) == 400_000
    assert len(counts) < 40  # not a piece for each of the 31 pipefuls of each 64 KiB, and not one a line
