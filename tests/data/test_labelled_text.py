"""Labelled lines and CSV of class, title, description."""

import gzip

import pytest

from jaxbackprop.data import DataError, Texts, read_lines, read_text_csv, read_tokens

GOOD = "__label__a the first\n__label__b __label__c\tthe second one \n\nthird __label__a end\r\n"


def write(tmp_path, text: str | bytes, name: str = "train.txt"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_labels_are_found_wherever_they_stand(compress, tmp_path):
    path = write(tmp_path, compress(GOOD.encode()))
    found = read_lines(path)
    assert found.texts == ("the first", "the second one", "third end")
    assert found.labels == (("a",), ("b", "c"), ("a",))
    assert found.lines == (1, 2, 4)
    assert found.source == str(path)
    assert found.classes == ("a", "b", "c")
    assert len(found) == 3


def test_the_label_prefix_is_a_setting(tmp_path):
    found = read_lines(write(tmp_path, "#a #b word__label__ x#y\n"), label_prefix="#")
    assert found.texts == ("word__label__ x#y",)
    assert found.labels == (("a", "b"),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "train.txt: found no labelled line"),
        ("\n \n", "found no labelled line"),
        (GOOD + "no label here\n", r"line 5: found a line without label \('no label here'\), expected .* __label__"),
        (GOOD + "__label__a\n", "line 5: found an empty text with the label 'a'"),
        (GOOD + "__label__a __label__b  \t\n", "line 5: found an empty text with the label 'a b'"),
    ],
)
def test_what_is_wrong_with_a_line_is_said(text, message, tmp_path):
    with pytest.raises(DataError, match=message):
        read_lines(write(tmp_path, text))


def test_lines_without_label_or_text_are_skipped_or_kept_where_that_is_asked(tmp_path):
    path = write(tmp_path, "__label__a one\nno label\n__label__b\n")
    assert read_lines(path, unlabelled="skip", empty="skip").lines == (1,)
    kept = read_lines(path, unlabelled="keep", empty="keep")
    assert kept.texts == ("one", "no label", "")
    assert kept.labels == (("a",), (), ("b",))


def test_bytes_that_are_not_utf8_follow_the_policy(tmp_path):
    path = write(tmp_path, b"__label__a fine\n__label__b caf\xe9\n")
    assert read_lines(path).texts[1].encode("utf-8", "surrogateescape") == b"caf\xe9"
    assert read_lines(path, invalid="replace").texts[1] == "caf\ufffd"
    with pytest.raises(DataError, match="line 2: found the byte 0xe9, which is not UTF-8 here"):
        read_lines(path, invalid="refuse")
    with pytest.raises(ValueError, match='one of "keep"'):
        read_lines(path, invalid="ignore")  # type: ignore[arg-type]


def test_the_line_of_a_bad_byte_is_counted_over_all_blocks(tmp_path):
    lines = b"__label__a some words\n" * 60_000
    assert len(lines) > 2 << 19
    with pytest.raises(DataError, match="line 60001: found the byte 0xff"):
        read_lines(write(tmp_path, lines + b"__label__b \xff\n"), invalid="refuse")


def test_a_byte_order_mark_is_no_text(tmp_path):
    assert read_lines(write(tmp_path, b"\xef\xbb\xbf__label__a x\n")).labels == (("a",),)


def test_tokens_of_a_file_are_its_bytes(tmp_path):
    read = read_tokens(write(tmp_path, b"__label__a caf\xe9\n"))
    assert read.words.to_pylist() == [b"__label__a", b"caf\xe9", b"</s>"]
    assert read.source is not None
    assert read.source.endswith("train.txt")


AG = '"3","Wall St.","Short-sellers, again"\n"4","A ""quoted"" title","two\nlines"\n'


@pytest.mark.parametrize(
    "text",
    [
        AG,
        "Class Index,Title,Description\n" + AG,
        'Title,Category,Description\nWall St.,3,"Short-sellers, again"\n"A ""quoted"" title",4,"two\nlines"\n',
    ],
)
def test_class_title_and_description_become_labelled_texts(text, tmp_path):
    found = read_text_csv(write(tmp_path, text, "train.csv"))
    assert found.texts == ("Wall St. Short-sellers, again", 'A "quoted" title two\nlines')
    assert found.labels == (("3",), ("4",))
    start = 1 if text is AG else 2
    assert found.lines == (start, start + 1)


def test_the_header_and_the_label_column_can_be_said(tmp_path):
    path = write(tmp_path, "kind,text\ncat,meow\n", "train.csv")
    assert read_text_csv(path).labels == (("kind",), ("cat",))
    assert read_text_csv(path, header=True).labels == (("cat",),)
    assert read_text_csv(path, label_column="text").labels == (("meow",),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "train.csv: found an empty file"),
        ("alone\n", r"line 1: found one column \('alone'\)"),
        (AG + '"5","too","many","cells"\n', "line 4: found 4 cells, expected 3, as in the first row"),
        (AG + '"5","few"\n', "line 4: found 2 cells"),
        (AG + '"","a","b"\n', "line 4: found a line without label .*, expected a class"),
        (AG + '"1","",""\n', "line 4: found an empty text with the label '1'"),
        (AG + '"1","never closed\n', "line 4: found a row that is not CSV"),
        ("label,text\n", "found no row"),
    ],
)
def test_what_is_wrong_with_a_row_is_said(text, message, tmp_path):
    with pytest.raises(DataError, match=message):
        read_text_csv(write(tmp_path, text, "train.csv"))


def test_a_missing_label_column_names_the_nearest(tmp_path):
    with pytest.raises(DataError, match=r"expected one named labl.\n  Did you mean label\?"):
        read_text_csv(write(tmp_path, "label,text\na,b\n", "train.csv"), label_column="labl")


def test_texts_are_taken_in_the_order_asked():
    whole = Texts(("x", "y", "z"), ((), ("a",), ("b",)), (1, 2, 3), "here")
    part = whole.take([2, 0])
    assert part == Texts(("z", "x"), (("b",), ()), (3, 1), "here")
    assert part.line(0) == 3
    assert Texts(("x",), ((),)).line(0) is None


@pytest.mark.parametrize(
    ("parts", "message"), [((("a",), ()), "1 texts but 0"), ((("a",), ((),), (1, 2)), "1 texts but 2 line numbers")]
)
def test_texts_that_do_not_fit_together_are_refused(parts, message):
    with pytest.raises(ValueError, match=message):
        Texts(*parts)


def test_a_label_with_a_control_character_is_refused():
    with pytest.raises(DataError, match="a control character in the label"):
        Texts(("x",), (("a\x0eb",),)).tokens("__label__")


@pytest.mark.parametrize("name", ["trec", "clinc150", "reuters21578", "cooking", "langid75", "imdb"])
def test_the_real_sets_hold_as_many_lines_and_classes_as_their_description_says(name, shared_data):
    """shared/data/README.md's table."""
    rows, classes = {
        "trec": (5_452, 6),
        "clinc150": (15_000, 150),
        "reuters21578": (7_775, None),
        "cooking": (12_404, 735),
        "langid75": (59_141, 75),
        "imdb": (25_000, 2),
    }[name]
    found = read_lines(shared_data / name / "train.txt.gz", empty="keep")
    assert len(found) == rows
    assert len(found.classes) == classes if classes else len(found.classes) >= 90
