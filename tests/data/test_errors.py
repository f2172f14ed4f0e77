"""What an error about data says."""

from pathlib import Path

import pytest

from jaxbackprop.data import DataError
from jaxbackprop.data.errors import did_you_mean, missing, shown


def test_the_message_says_where_what_was_found_what_was_expected_and_what_to_do():
    error = DataError("a cat", expected="a dog", advice="Look again.", file="zoo.txt", line=3)
    assert str(error) == "zoo.txt, line 3: found a cat, expected a dog.\n  Look again."
    assert isinstance(error, ValueError)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({}, "found a cat."),
        ({"file": Path("zoo.txt")}, "zoo.txt: found a cat."),
        ({"line": 3}, "line 3: found a cat."),
        ({"expected": "a dog"}, "found a cat, expected a dog."),
    ],
)
def test_what_is_not_known_is_left_out(parts, message):
    assert str(DataError("a cat", **parts)) == message


def test_a_missing_file_names_those_nearby(tmp_path):
    (tmp_path / "train.txt").touch()
    assert "Did you mean train.txt?" in str(missing(tmp_path / "trian.txt"))
    assert "Check the name" in str(missing(tmp_path / "something-else"))
    assert f"The folder {tmp_path / 'nowhere'} does not exist either" in str(missing(tmp_path / "nowhere" / "a.txt"))


def test_only_near_names_are_suggested():
    assert did_you_mean("mnits", ["mnist", "kmnist", "ag_news"]) == "Did you mean mnist or kmnist?"
    assert did_you_mean("weather", ["mnist"]) == ""


def test_long_text_is_cut():
    assert shown("short") == "'short'"
    assert len(shown("x" * 1000)) == 42
