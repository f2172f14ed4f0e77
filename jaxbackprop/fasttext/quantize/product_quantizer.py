"""A trained model made small: rows of great norm kept, and each cut into subvectors that are one of 256 centroids.

Source  Joulin, Grave, Bojanowski, Douze, Jégou, Mikolov 2016, "FastText.zip", arXiv:1612.03651; fastText 0.9.2
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa

from ...data.tokens import END
from ..model import Model, Table, row_blocks
from .table import CENTROIDS, QuantizedTable, n_subvectors, subvector_slices

POINTS = 256 * CENTROIDS  # centroids are found from at most this number of rows
SAMPLE = 1 << 13  # their first places from this number of rows
ROUNDS = 25
OUTPUT_DSUB = 2  # fastText's, whatever dsub is for the input table
BLOCK = 1 << 8  # points worked on together: what they score stays in the cache, and BLAS wakes no second thread for it


def quantize(
    model: Model,
    *,
    cutoff: int = 0,
    qnorm: bool = False,
    qout: bool = False,
    dsub: int = 2,
    retrain: Callable[[Model], Model] | None = None,
    seed: int = 0,
) -> Model:
    """The same model in a fraction of its memory, by fastText's names.

    Args:
        cutoff: the number of words and n-grams to keep, those of greatest norm, and `</s>`; 0 keeps all.
        qnorm: quantize the norms of rows apart from their directions: a byte a row more.
        qout: quantize the output table too.
        dsub: how many numbers one byte stands for.
        retrain: what to do with the pruned model, its tables not yet quantized, before they are: train it further.
        seed: of the centroids' first places.

    Raises:
        ValueError: a model that is quantized already; a cutoff or dsub that cannot be.
    """
    if isinstance(model.input, QuantizedTable):
        raise ValueError("quantize: the model is quantized already.")
    if dsub < 1 or cutoff < 0:
        raise ValueError(f"quantize: dsub is {dsub} and cutoff {cutoff}; they must be at least 1 and 0.")
    if 0 < cutoff < model.input.shape[0]:
        model = prune(model, cutoff)
        model = model if retrain is None else retrain(model)
    rng = np.random.default_rng(seed)
    output = quantize_table(model.output, OUTPUT_DSUB, qnorm=qnorm, rng=rng) if qout else model.output
    return replace(model, input=quantize_table(model.input, dsub, qnorm=qnorm, rng=rng), output=output)


def prune(model: Model, cutoff: int) -> Model:
    """The model with the `cutoff` rows of greatest norm, `</s>` in any case; words and n-grams without a row are gone.

    Words keep their order; the n-grams that are left come by falling norm, as in fastText.
    """
    if model.kept is not None:
        raise ValueError("prune: the model is pruned already.")
    if not 0 < cutoff <= model.input.shape[0]:
        raise ValueError(f"prune: cutoff is {cutoff:,} for {model.input.shape[0]:,} rows.")
    vocabulary, words = model.vocabulary, model.vocabulary.word_count
    norms = row_norms(model.input)
    if (end := vocabulary.word_id(END.decode())) >= 0:
        norms[end] = np.inf
    best = np.argsort(-norms, kind="stable")[:cutoff]
    kept_words, grams = np.sort(best[best < words]), best[best >= words]
    entries = np.concatenate([kept_words, np.arange(words, len(vocabulary.entries))])
    pruned = replace(vocabulary, entries=vocabulary.entries.take(pa.array(entries)), counts=vocabulary.counts[entries])
    kept = np.stack([grams - words, np.arange(len(grams))], 1).astype(np.int32)
    table = np.asarray(model.input[np.concatenate([kept_words, grams])], np.float32)
    return replace(model, vocabulary=pruned, input=table, kept=kept)


def row_norms(table: Table) -> np.ndarray:
    """The Euclidean norm of each row, float32; no table-sized array is made."""
    norms = [np.sqrt((rows * rows).sum(1, dtype=np.float64)) for rows in row_blocks(table, POINTS)]
    return np.concatenate([np.zeros(0), *norms]).astype(np.float32)


def quantize_table(table: Table, dsub: int, *, qnorm: bool, rng: np.random.Generator) -> QuantizedTable:
    """The table product-quantized: (rows, dim) float32 becomes a byte for each `dsub` numbers of a row.

    Fewer than 256 rows are kept exactly where they have one subvector; fastText itself refuses such a table.
    """
    rows, dim = table.shape
    norms, norm_codes, norm_centroids = None, None, None
    if qnorm:
        norms = row_norms(table)
        norm_centroids = _centroids(norms[:, None], rng)
        norm_codes = nearest(norms[:, None], norm_centroids)
        norm_centroids = norm_centroids[:, 0]
    codes = np.empty((rows, n_subvectors(dim, dsub)), np.uint8)
    centroids = np.empty(CENTROIDS * dim, np.float32)
    for k, (a, b) in enumerate(subvector_slices(dim, dsub)):
        parts = [np.zeros((0, b - a), np.float32), *(block[:, a:b] for block in row_blocks(table, POINTS))]
        points = np.concatenate(parts)
        if norms is not None:
            points /= np.where(norms > 0, norms, 1)[:, None]
        found = _centroids(points, rng)
        codes[:, k] = nearest(points, found)
        centroids[a * CENTROIDS : b * CENTROIDS] = found.reshape(-1)
    return QuantizedTable(dim, dsub, codes, centroids, norm_codes, norm_centroids)


def _centroids(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Lloyd's k-means of (N, d) points: 256 centroids (256, d). With fewer points than that, the rest are 0.

    A centroid that no point is nearest to moves to one of the points farthest from theirs.
    """
    if len(points) > POINTS:
        points = points[rng.choice(len(points), POINTS, replace=False)]
    if len(points) < CENTROIDS:
        return np.concatenate([points, np.zeros((CENTROIDS - len(points), points.shape[1]), np.float32)])
    centroids, codes = _spread(points, rng), None
    for _ in range(ROUNDS):
        before, codes = codes, nearest(points, centroids)
        if before is not None and np.array_equal(before, codes):
            break
        counts = np.bincount(codes, minlength=CENTROIDS)
        sums = np.stack([np.bincount(codes, column, CENTROIDS) for column in points.T], 1)
        empty = np.flatnonzero(counts == 0)
        if len(empty):
            distances = ((points - centroids[codes]) ** 2).sum(1)
            sums[empty] = points[np.argpartition(distances, -len(empty))[-len(empty) :]]
        centroids = (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)
    return centroids


def _spread(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """256 of the points, each drawn by its squared distance to those drawn before (k-means++), from a sample."""
    sample = points[rng.choice(len(points), min(SAMPLE, len(points)), replace=False)]
    chosen, distances = sample[:1], np.full(len(sample), np.inf)
    for share in rng.random(CENTROIDS - 1):
        distances = np.minimum(distances, ((sample - chosen[-1]) ** 2).sum(1))
        upto = np.cumsum(distances)
        chosen = np.append(chosen, sample[[min(np.searchsorted(upto, share * upto[-1]), len(sample) - 1)]], 0)
    return chosen


def nearest(points: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Which centroid each point is nearest to: (N, d), (256, d) -> (N,) uint8.

    |x - c|^2 is least where x c - |c|^2 / 2 is greatest: one product of matrices. For numbers, d = 1, it is between
    which two midpoints they lie.
    """
    if points.shape[1] == 1:
        order = np.argsort(centroids[:, 0], kind="stable")
        rising = centroids[order, 0].astype(np.float64)
        return order[np.searchsorted((rising[1:] + rising[:-1]) / 2, points[:, 0])].astype(np.uint8)
    weights = np.concatenate([centroids, -(centroids**2).sum(1, keepdims=True) / 2], 1).T
    codes = np.empty(len(points), np.uint8)
    for first in range(0, len(points), BLOCK):
        block = points[first : first + BLOCK]
        block = np.concatenate([block, np.ones((len(block), 1), np.float32)], 1)
        codes[first : first + BLOCK] = (block @ weights).argmax(1)
    return codes
