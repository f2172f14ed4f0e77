"""Small models: which rows are kept, how near the centroids come, and that fastText reads them as they are meant."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from jaxbackprop.fasttext.corpus.vocabulary import Vocabulary
from jaxbackprop.fasttext.files.fasttext_model import read_model, write_model
from jaxbackprop.fasttext.model import Model
from jaxbackprop.fasttext.quantize.product_quantizer import nearest, prune, quantize, quantize_table
from jaxbackprop.fasttext.quantize.table import QuantizedTable
from jaxbackprop.fasttext.settings import Settings

GOLDEN = Path(__file__).parents[1] / "golden"
TEXT = "w3 w1 unheard w3 w17"


def made(*, dim=5, labels=4, words=200, bucket=150, seed=0, **ngrams) -> Model:
    """A model with random tables whose rows differ in norm."""
    rng = np.random.default_rng(seed)
    names = [*(f"w{k}".encode() for k in range(words)), b"</s>", *(f"__label__l{k}".encode() for k in range(labels))]
    counts = np.r_[np.arange(words + 1, 0, -1), np.arange(labels, 0, -1)] * 3
    vocabulary = Vocabulary(pa.array(names, pa.binary()), counts, 12345, bucket=bucket, **ngrams)
    given = Settings(dim=dim, bucket=bucket, **ngrams)
    input = rng.normal(size=(vocabulary.rows, dim)) * rng.uniform(0.1, 2, (vocabulary.rows, 1))
    return Model(vocabulary, given, input.astype(np.float32), rng.normal(size=(labels, dim)).astype(np.float32))


def whole(table) -> np.ndarray:
    return np.asarray(table[np.arange(table.shape[0])])


def error(found: QuantizedTable, table: np.ndarray) -> float:
    """The root of the mean square of what is lost."""
    return float(np.sqrt(np.mean((whole(found).astype(np.float64) - table) ** 2)))


@pytest.mark.parametrize("d", [1, 2, 5])
def test_the_nearest_centroid_is_the_nearest(d):
    rng = np.random.default_rng(d)
    points, centroids = rng.normal(size=(700, d)).astype("f"), rng.normal(size=(256, d)).astype("f")
    distances = ((points[:, None].astype(float) - centroids) ** 2).sum(2)
    chosen = distances[np.arange(700), nearest(points, centroids)]
    # what rounding x c - c c / 2 may cost, twice, with sums of d + 1 terms
    rounding = 4 * (d + 1) * np.finfo(np.float32).eps * (np.abs(points).sum(1) + np.abs(centroids).sum(1).max()) ** 2
    assert (chosen <= distances.min(1) + rounding).all()


def test_centroids_of_evenly_spread_numbers_come_near_the_best_there_are():
    """256 evenly spaced ones lose (1/256)^2 / 12 a number; Lloyd's rounds from a random start come within a third."""
    table = np.random.default_rng(0).uniform(size=(20_000, 1)).astype("f")
    best = 1 / 256 / 12**0.5
    found = error(quantize_table(table, 1, qnorm=False, rng=np.random.default_rng(0)), table)
    assert 0.97 * best < found < 1.33 * best


def test_centroids_of_an_evenly_spread_square_come_near_the_best_there_are():
    """256 hexagons lose 5 / (36 sqrt 3) of their area, by Fejes Toth's theorem for many of them."""
    table = np.random.default_rng(0).uniform(size=(40_000, 2)).astype("f")
    best = (5 / (36 * 3**0.5) / 256) ** 0.5
    found = error(quantize_table(table, 2, qnorm=False, rng=np.random.default_rng(0)), table)
    assert 0.97 * best < found < 1.1 * best


def test_points_in_few_places_are_kept_as_they_are():
    """A table of 3,000 rows in 20 places: more centroids than places, so that most have no point."""
    rng = np.random.default_rng(1)
    table = rng.normal(size=(20, 4)).astype("f")[rng.integers(0, 20, 3000)]
    assert error(quantize_table(table, 2, qnorm=False, rng=rng), table) < 1e-6


@pytest.mark.parametrize("rows", [1, 6, 255])
def test_a_table_of_fewer_rows_than_centroids_is_kept_as_it_is(rows):
    """fastText refuses one."""
    rng = np.random.default_rng(1)
    table = rng.normal(size=(rows, 5)).astype("f")
    assert np.array_equal(whole(quantize_table(table, 2, qnorm=False, rng=rng)), table)


@pytest.mark.parametrize("qnorm", [False, True])
@pytest.mark.parametrize(("dim", "dsub"), [(6, 2), (5, 2), (5, 3), (4, 1), (3, 7)])
def test_a_row_is_put_together_from_its_codes(dim, dsub, qnorm):
    """Number by number, from what the fields of QuantizedTable are said to hold."""
    rng = np.random.default_rng(2)
    found = quantize_table(rng.normal(size=(400, dim)).astype("f"), dsub, qnorm=qnorm, rng=rng)
    assert found.shape == (400, dim)
    for row in (0, 7, 399):
        for j in range(dim):
            stretch, place = divmod(j, dsub)
            length = min(dsub, dim - stretch * dsub)
            number = found.centroids[stretch * dsub * 256 + int(found.codes[row, stretch]) * length + place]
            if found.norms is not None and found.norm_codes is not None:
                number *= found.norms[found.norm_codes[row]]
            assert found[np.array(row)][j] == number
    assert found[np.array([[1, 2, 3], [4, 5, 6]])].shape == (2, 3, dim)
    assert found[np.zeros(0, int)].shape == (0, dim)


def test_norms_apart_keep_rows_of_very_different_norms():
    """Norms from 1 to e^6: together with them the directions of small rows are lost, apart from them they are not."""
    rng = np.random.default_rng(3)
    table = (rng.normal(size=(5000, 4)) * np.exp(rng.uniform(0, 6, (5000, 1)))).astype("f")
    small = np.linalg.norm(table, axis=1) < 5

    def cosine(qnorm):
        found = whole(quantize_table(table, 2, qnorm=qnorm, rng=rng))[small]
        both = np.maximum(np.linalg.norm(found, axis=1) * np.linalg.norm(table[small], axis=1), 1e-12)
        return ((found * table[small]).sum(1) / both).mean()

    assert cosine(qnorm=True) > 0.99
    assert cosine(qnorm=False) < 0.5


def test_a_byte_stands_for_dsub_numbers(tmp_path):
    model = made(words=3000, dim=10)
    small = quantize(model, dsub=5, qnorm=True)
    assert isinstance(small.input, QuantizedTable)
    assert small.input.codes.shape == (3001, 2)
    assert small.input.nbytes == 3001 * (2 + 1) + 256 * (10 + 1) * 4
    assert small.output is model.output


def test_pruning_keeps_the_greatest_rows_and_the_end_of_line():
    """Norms by hand: row r of 201 words and 150 n-grams has norm (7 r mod 351) + 1, so each another one."""
    model = made(word_ngrams=2, bucket=150, dim=2)
    norms = (np.arange(351) * 7) % 351 + 1.0
    norms[200] = 0.0  # the end of line
    table = np.stack([norms * 0.6, norms * 0.8], 1).astype("f")
    pruned = prune(replace(model, input=table), 100)
    best = [r for r in np.argsort(-norms)[:99].tolist()]
    words, grams = sorted(r for r in best if r < 200), [r for r in best if r > 200]
    assert list(pruned.vocabulary.words) == [f"w{r}" for r in words] + ["</s>"]
    assert pruned.vocabulary.labels == model.vocabulary.labels
    assert pruned.vocabulary.counts.tolist() == [(201 - r) * 3 for r in [*words, 200]] + [12, 9, 6, 3]
    assert pruned.kept is not None
    assert pruned.kept.tolist() == [[r - 201, k] for k, r in enumerate(grams)]  # by falling norm
    assert np.array_equal(whole(pruned.input), table[[*words, 200, *grams]])


def test_a_text_has_the_rows_that_are_left_of_those_it_had():
    model = made(word_ngrams=2, minn=2, maxn=3, bucket=50)
    pruned = prune(model, 150)
    had, left = (m.encode([TEXT, "", "w4 w5 w6", "no such"]) for m in (model, pruned))
    assert pruned.kept is not None
    new = {int(old) + 201: int(now) + len(pruned.vocabulary.words) for old, now in pruned.kept}
    new |= {model.vocabulary.word_id(word): k for k, word in enumerate(pruned.vocabulary.words)}
    for before, after in zip(had, left, strict=True):
        assert after.tolist() == [new[r] for r in before.tolist() if r in new]
    for word in ("w3", "w17", "unheard", "</s>"):
        expected = [new[r] for r in model.subwords(word).tolist() if r in new]
        assert pruned.subwords(word).tolist() == expected


def test_where_no_ngram_is_left_a_text_has_its_words_rows():
    model = made(word_ngrams=2, bucket=50)
    table = np.asarray(model.input).copy()
    table[201:] *= 1e-6
    pruned = prune(replace(model, input=table), 100)
    assert pruned.kept is not None
    assert pruned.kept.shape == (0, 2)
    ids = pruned.encode(["w0 w1 w2 w3 w4 w5 w6 w7"])[0]
    assert len(ids)
    assert (ids < 100).all()


def test_the_pruned_model_is_trained_further_before_it_is_quantised():
    seen = []

    def retrain(model: Model) -> Model:
        seen.append(model)
        return replace(model, input=np.zeros_like(model.input), output=np.asarray(model.output) + 1)

    model = made()
    small = quantize(model, cutoff=50, retrain=retrain)
    assert isinstance(seen[0].input, np.ndarray)
    assert seen[0].input.shape == (50, 5)
    assert (whole(small.input) == 0).all()
    assert np.array_equal(whole(small.output), np.asarray(model.output) + 1)


@pytest.mark.parametrize(
    "how",
    [{}, {"qnorm": True}, {"qout": True}, {"dsub": 3, "qnorm": True, "qout": True, "cutoff": 300}, {"cutoff": 60}],
    ids=str,
)
def test_a_quantised_model_comes_back_as_it_was_written(how, tmp_path):
    small = quantize(made(word_ngrams=2, minn=2, maxn=2), **how)
    write_model(small, tmp_path / "m.ftz")
    back = read_model(tmp_path / "m.ftz")
    assert np.array_equal(whole(back.input), whole(small.input))
    assert np.array_equal(whole(back.output), whole(small.output))
    assert back.vocabulary.state() == small.vocabulary.state()
    assert np.array_equal(back.encode([TEXT])[0], small.encode([TEXT])[0])


@pytest.mark.parametrize(
    "how",
    [{}, {"qnorm": True}, {"qout": True}, {"dsub": 3, "qnorm": True, "qout": True, "cutoff": 300}, {"cutoff": 60}],
    ids=str,
)
def test_fasttext_predicts_with_a_quantised_model_what_its_rows_say(how, tmp_path):
    fasttext = pytest.importorskip("fasttext")
    fasttext.FastText.eprint = lambda _: None
    small = quantize(made(word_ngrams=2, minn=2, maxn=2), **how)
    write_model(small, tmp_path / "m.ftz")
    theirs = fasttext.load_model(str(tmp_path / "m.ftz"))
    assert theirs.words == list(small.vocabulary.words)
    mean = small.input[small.encode([TEXT])[0]].mean(0)
    assert np.allclose(theirs.get_sentence_vector(TEXT), mean, rtol=1e-5, atol=1e-6)
    e = np.exp(whole(small.output) @ mean)
    predicted = {label: p for p, label in theirs.f.predict(TEXT + "\n", 4, 0.0, "strict")}
    # fastText adds 1e-5 to a probability before it takes the logarithm, and answers with that
    assert np.allclose([predicted[f"__label__l{k}"] for k in range(4)], e / e.sum() + 1e-5, atol=1e-6)


@pytest.mark.parametrize("ngrams", [{}, {"word_ngrams": 2}, {"minn": 2, "maxn": 3}], ids=str)
def test_pruning_keeps_the_rows_that_fasttext_keeps(ngrams, tmp_path):
    fasttext = pytest.importorskip("fasttext")
    fasttext.FastText.eprint = lambda _: None
    model = made(words=300, bucket=150, **ngrams)
    write_model(model, tmp_path / "m.bin")
    theirs = fasttext.load_model(str(tmp_path / "m.bin"))
    theirs.quantize(cutoff=270)
    theirs.save_model(str(tmp_path / "m.ftz"))
    expected, found = read_model(tmp_path / "m.ftz"), prune(model, 270)
    assert found.vocabulary.state() == expected.vocabulary.state()
    assert found.kept is not None
    assert expected.kept is not None
    assert sorted(found.kept.tolist()) == sorted(expected.kept.tolist())


def test_the_pruned_model_of_fasttexts_is_found_from_the_whole_one_and_no_more_is_lost():
    """before_cutoff.bin is what cutoff.ftz was made from, by fastText; n-grams of one norm stand in any order there."""
    model, theirs = read_model(GOLDEN / "before_cutoff.bin"), read_model(GOLDEN / "cutoff.ftz")
    pruned, ours = prune(model, 300), quantize(model, cutoff=300)
    assert pruned.vocabulary.state() == ours.vocabulary.state() == theirs.vocabulary.state()
    assert pruned.kept is not None
    assert theirs.kept is not None
    grams = whole(model.input)[model.vocabulary.word_count :]
    norms = np.linalg.norm(grams, axis=1)
    by_row = [kept[np.argsort(kept[:, 1]), 0] for kept in (pruned.kept, theirs.kept)]
    assert sorted(by_row[0]) == sorted(by_row[1])
    assert np.array_equal(norms[by_row[0]], norms[by_row[1]])
    assert isinstance(ours.input, QuantizedTable)
    assert isinstance(theirs.input, QuantizedTable)
    table = np.concatenate([whole(pruned.input)[: pruned.vocabulary.word_count], grams[by_row[1]]])
    assert error(ours.input, whole(pruned.input)) < error(theirs.input, table)


def test_no_more_is_lost_than_by_fasttexts_own(tmp_path):
    fasttext = pytest.importorskip("fasttext")
    fasttext.FastText.eprint = lambda _: None
    model = made(words=5000, dim=8)
    write_model(model, tmp_path / "m.bin")
    for qnorm in (False, True):
        theirs = fasttext.load_model(str(tmp_path / "m.bin"))
        theirs.quantize(qnorm=qnorm)
        theirs.save_model(str(tmp_path / "m.ftz"))
        ours = quantize(model, qnorm=qnorm)
        write_model(ours, tmp_path / "ours.ftz")
        assert (tmp_path / "ours.ftz").stat().st_size == (tmp_path / "m.ftz").stat().st_size
        table = np.asarray(model.input)
        assert isinstance(ours.input, QuantizedTable)
        lost = read_model(tmp_path / "m.ftz").input
        assert isinstance(lost, QuantizedTable)
        assert error(ours.input, table) < error(lost, table)


def test_tables_of_jax_are_quantised_too():
    import jax.numpy as jnp

    model = made()
    on_device = replace(model, input=jnp.asarray(model.input), output=jnp.asarray(model.output))
    one, other = quantize(model, cutoff=150, qout=True), quantize(on_device, cutoff=150, qout=True)
    assert np.array_equal(whole(one.input), whole(other.input))
    assert np.array_equal(whole(one.output), whole(other.output))


def test_what_cannot_be_quantised_is_refused():
    model = made()
    with pytest.raises(ValueError, match="dsub is 0"):
        quantize(model, dsub=0)
    with pytest.raises(ValueError, match="cutoff -1"):
        quantize(model, cutoff=-1)
    with pytest.raises(ValueError, match="quantized already"):
        quantize(read_model(GOLDEN / "plain.ftz"))
    with pytest.raises(ValueError, match="pruned already"):
        prune(prune(model, 100), 50)
    with pytest.raises(ValueError, match="cutoff is 900 for 201 rows"):
        prune(model, 900)
