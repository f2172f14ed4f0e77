"""fastText's files: what it wrote is read, what is written is the same to the byte, what is damaged is named."""

import tracemalloc
from dataclasses import replace
from typing import get_args

import numpy as np
import pyarrow as pa
import pytest
from damaged_files import GOLDEN, HEADER, MODELS, SAID, VERSION, damaged, patched

from jaxbackprop.data import DataError
from jaxbackprop.fasttext.corpus.vocabulary import Vocabulary
from jaxbackprop.fasttext.files.fasttext_model import read_model, write_model
from jaxbackprop.fasttext.model import Model
from jaxbackprop.fasttext.settings import Loss, Settings

SOFTMAX = ["softmax.bin", "prefix.bin", "before_cutoff.bin", "plain.ftz", "cutoff.ftz", "words.ftz"]
LOSSES = get_args(Loss)
BAD_FIELDS = {
    "dim": (0, 0),
    "epoch": (2, -1),
    "loss": (6, 5),
    "model": (7, 0),
    "bucket": (8, -7),
    "maxn": (10, 1 << 30),
}


def made(loss: Loss = "softmax", *, dim=5, labels=4, words=30, bucket=50, seed=0, **ngrams) -> Model:
    """A model with random tables, made here."""
    rng = np.random.default_rng(seed)
    names = [b"</s>", *(f"wört{k}".encode() for k in range(words)), *(f"__label__l{k}".encode() for k in range(labels))]
    counts = np.r_[np.arange(words + 1, 0, -1), np.arange(labels, 0, -1)] * 3
    vocabulary = Vocabulary(pa.array(names, pa.binary()), counts, 12345, bucket=bucket, **ngrams)
    given = Settings(dim=dim, loss=loss, bucket=vocabulary.bucket or Settings.bucket, **ngrams)
    input, output = rng.normal(size=(vocabulary.rows, dim)), rng.normal(size=(labels, dim))
    return Model(vocabulary, given, input.astype(np.float32), output.astype(np.float32))


def softmax(scores: np.ndarray) -> np.ndarray:
    e = np.exp(scores - scores.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.mark.parametrize("name", MODELS)
def test_a_file_of_fasttexts_read_and_written_again_is_the_same_to_the_byte(name, tmp_path):
    write_model(read_model(GOLDEN / name), tmp_path / name)
    assert (tmp_path / name).read_bytes() == (GOLDEN / name).read_bytes()


@pytest.mark.parametrize("name", MODELS)
def test_words_and_labels_are_fasttexts(name):
    known = read_model(GOLDEN / name).vocabulary
    assert list(known.words) == SAID["models"][name]["words"]
    assert [known.label_prefix + label for label in known.labels] == SAID["models"][name]["labels"]


@pytest.mark.parametrize("name", SOFTMAX)
def test_rows_and_tables_give_fasttexts_probabilities(name):
    """QuantizedTable and pruned tables among them: right only if the codes, the norms and the kept n-grams are.

    fastText adds 1e-5 to a probability before it takes its logarithm, and answers with that.
    """
    model = read_model(GOLDEN / name)
    labels = [model.vocabulary.label_prefix + label for label in model.vocabulary.labels]
    output = model.output[np.arange(len(labels))]
    for bag, predicted in zip(model.encode(SAID["texts"]), SAID["models"][name]["predictions"], strict=True):
        found = softmax(output @ model.input[bag].mean(0)) if len(bag) else np.zeros(len(labels))
        for probability, label in predicted:
            assert abs(found[labels.index(label)] + 1e-5 - probability) < 1e-6


@pytest.mark.parametrize(
    ("name", "loss", "ngrams"),
    [
        ("softmax.bin", "softmax", (1, 0, 0)),
        ("hs.bin", "hs", (2, 0, 0)),
        ("ns.bin", "ns", (1, 2, 3)),
        ("ova.bin", "ova", (3, 1, 2)),
    ],
)
def test_the_settings_are_those_it_was_trained_with(name, loss, ngrams):
    found = read_model(GOLDEN / name).settings
    assert (found.loss, found.dim, found.epoch, found.ws) == (loss, 4, 20, 5)
    assert (found.word_ngrams, found.minn, found.maxn) == ngrams


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("ngrams", [{}, {"word_ngrams": 2}, {"minn": 2, "maxn": 3}], ids=str)
def test_a_model_comes_back_as_it_was_written(loss, ngrams, tmp_path):
    model = made(loss, **ngrams)
    write_model(model, tmp_path / "m.bin")
    back = read_model(tmp_path / "m.bin")
    assert back.vocabulary.state() == model.vocabulary.state()
    assert back.settings == model.settings
    assert np.array_equal(np.asarray(back.input), np.asarray(model.input))
    assert np.array_equal(np.asarray(back.output), np.asarray(model.output))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("ngrams", [{}, {"word_ngrams": 2}, {"minn": 2, "maxn": 3}], ids=str)
def test_fasttext_loads_what_is_written_here_and_writes_it_again_the_same(loss, ngrams, tmp_path):
    fasttext = pytest.importorskip("fasttext")
    fasttext.FastText.eprint = lambda _: None
    model = made(loss, **ngrams)
    write_model(model, tmp_path / "m.bin")
    theirs = fasttext.load_model(str(tmp_path / "m.bin"))
    assert np.array_equal(theirs.get_input_matrix(), np.asarray(model.input))
    assert np.array_equal(theirs.get_output_matrix(), np.asarray(model.output))
    text = "wört3 wört1 unheard wört3"
    mean = model.input[model.encode([text])[0]].mean(0)
    assert np.allclose(theirs.get_sentence_vector(text), mean, rtol=1e-5, atol=1e-6)
    predicted = dict((label, p) for p, label in theirs.f.predict(text + "\n", 4, 0.0, "strict"))
    if loss == "softmax":
        ours = softmax(mean @ np.asarray(model.output).T)
        assert np.allclose([predicted[f"__label__l{k}"] for k in range(4)], ours + 1e-5, atol=1e-6)
    theirs.save_model(str(tmp_path / "again.bin"))
    assert (tmp_path / "again.bin").read_bytes() == (tmp_path / "m.bin").read_bytes()


def test_a_table_in_other_order_or_type_is_written_as_fasttext_needs_it(tmp_path):
    """A table padded to whole sectors and cut again does not lie in one piece; one of JAX is no NumPy array."""
    import jax.numpy as jnp

    model = made(words=40)
    write_model(model, tmp_path / "plain.bin")
    padded = np.zeros((model.input.shape[0], 16), np.float64)
    padded[:, :5] = np.asarray(model.input)
    write_model(replace(model, input=padded[:, :5], output=jnp.asarray(model.output)), tmp_path / "other.bin")
    assert (tmp_path / "other.bin").read_bytes() == (tmp_path / "plain.bin").read_bytes()


def test_odd_bytes_in_words_are_kept(tmp_path):
    model = made()
    odd = model.vocabulary.entries.to_pylist()
    odd[3], odd[4], odd[-1] = b"\xff\xfe", b"\xc3", b"__label__\x80"
    model = replace(model, vocabulary=replace(model.vocabulary, entries=pa.array(odd, pa.binary())))
    write_model(model, tmp_path / "m.bin")
    assert read_model(tmp_path / "m.bin").vocabulary.entries.to_pylist() == odd


def test_the_prefix_of_labels_is_found_and_may_be_given():
    assert read_model(GOLDEN / "prefix.bin").vocabulary.label_prefix == "#"
    given = read_model(GOLDEN / "prefix.bin", label_prefix="#l").vocabulary
    assert sorted(given.labels) == ["0", "1", "2", "3", "4", "5"]
    with pytest.raises(DataError, match="__label__ does not tell labels from words"):
        read_model(GOLDEN / "prefix.bin", label_prefix="__label__")


def test_a_prefix_that_words_have_too_is_not_taken(tmp_path):
    """Words that begin with __label__, in a model whose labels begin with @@: both stay what the file says."""
    model = made()
    names = [name.replace(b"__label__", b"@@") for name in model.vocabulary.entries.to_pylist()]
    names[2] = b"__label__a_word"
    known = replace(model.vocabulary, entries=pa.array(names, pa.binary()), label_prefix="@@")
    write_model(replace(model, vocabulary=known), tmp_path / "m.bin")
    back = read_model(tmp_path / "m.bin").vocabulary
    assert (back.label_prefix, back.labels, back.words[2]) == ("@@", ("l0", "l1", "l2", "l3"), "__label__a_word")


@pytest.mark.parametrize(("kind", "number"), [("cbow", 1), ("skipgram", 2)])
def test_a_model_of_word_vectors_is_read_and_written_as_one(tmp_path, kind, number):
    (tmp_path / "m.bin").write_bytes(patched("skipgram.bin", HEADER + 4 * 7, "i", number))
    model = read_model(tmp_path / "m.bin")
    assert (model.kind, model.vocabulary.labels) == (kind, ())
    assert list(model.vocabulary.words) == SAID["models"]["skipgram.bin"]["words"]
    write_model(model, tmp_path / "again.bin")
    assert (tmp_path / "again.bin").read_bytes() == (tmp_path / "m.bin").read_bytes()


def test_settings_that_training_does_not_allow_do_not_hinder_reading(tmp_path):
    """fastText trains 0 epochs to turn vectors into a model."""
    (tmp_path / "m.bin").write_bytes(patched("softmax.bin", HEADER + 8, "i", 0))
    assert read_model(tmp_path / "m.bin").settings.epoch == 1


def test_the_version_before_has_no_character_ngrams(tmp_path):
    (tmp_path / "old.bin").write_bytes(patched("ns.bin", VERSION, "i", 11))
    assert read_model(tmp_path / "old.bin").settings.maxn == 0


def test_what_is_no_model_is_named(tmp_path):
    error = damaged(tmp_path, b"__label__a some words\n" * 20)
    assert error.byte == 0
    assert "793712314" in error.expected
    assert "version 13" in str(damaged(tmp_path, patched("softmax.bin", VERSION, "i", 13)))
    assert "gzip data" in str(damaged(tmp_path, b"\x1f\x8b" + bytes(50)))
    assert "0 bytes" in str(damaged(tmp_path, b""))
    with pytest.raises(DataError, match="no such file"):
        read_model(tmp_path / "nowhere.bin")


@pytest.mark.parametrize("name", BAD_FIELDS)
def test_a_setting_out_of_range_is_named_with_its_byte(name, tmp_path):
    place, value = BAD_FIELDS[name]
    error = damaged(tmp_path, patched("ova.bin", HEADER + 4 * place, "i", value))
    assert error.byte == HEADER + 4 * place
    assert error.found == f"{name} {value:,}"


def test_bytes_after_the_model_are_refused(tmp_path):
    data = (GOLDEN / "softmax.bin").read_bytes()
    error = damaged(tmp_path, data + b"more")
    assert (error.found, error.byte) == ("4 more bytes", len(data))


def test_a_table_is_read_and_written_without_a_second_copy(tmp_path):
    model = made(dim=100, words=10, bucket=40_000, word_ngrams=2)  # 16 MB
    size = np.asarray(model.input).nbytes
    tracemalloc.start()
    write_model(model, tmp_path / "m.bin")
    written = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    back = read_model(tmp_path / "m.bin")
    read = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert back.input.shape == model.input.shape
    assert written < size / 50
    assert size < read < size * 1.02


def test_a_file_is_replaced_only_by_a_whole_one(tmp_path):
    class Broken:
        shape = (31, 5)

        def __getitem__(self, rows):
            raise OSError("no more")

    path = tmp_path / "m.bin"
    write_model(made(), path)
    before = path.read_bytes()
    with pytest.raises(OSError, match="no more"):
        write_model(replace(made(seed=1), input=Broken()), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(DataError, match="no such file or folder"):
        write_model(made(), tmp_path / "nowhere" / "m.bin")


def test_what_fasttext_has_no_form_for_is_refused(tmp_path):
    model, small = made(word_ngrams=2), read_model(GOLDEN / "qout.ftz")
    kept = np.array([[4, 0]], np.int32)
    with pytest.raises(ValueError, match="quantize the input table"):
        write_model(replace(model, kept=kept, input=np.asarray(model.input)[:32]), tmp_path / "m.bin")
    unquantised = np.zeros((270, 3), np.float32)
    with pytest.raises(ValueError, match="quantize the input table"):
        write_model(replace(small, kept=None, input=unquantised), tmp_path / "m.bin")
    with pytest.raises(ValueError, match="the input table has 80 rows for 81"):
        write_model(replace(model, input=np.asarray(model.input)[1:]), tmp_path / "m.bin")
    with pytest.raises(ValueError, match=r"the output table is \(3, 5\); labels and dim make it \(4, 5\)"):
        write_model(replace(model, output=np.asarray(model.output)[1:]), tmp_path / "m.bin")
    with pytest.raises(ValueError, match="min_count is 2147483648"):
        write_model(replace(model, settings=replace(model.settings, min_count=2**31)), tmp_path / "m.bin")
    assert not list(tmp_path.iterdir())
