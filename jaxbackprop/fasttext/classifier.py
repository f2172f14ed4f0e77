"""The text classifier: training, prediction, testing, saving; also under fastText's names.

The methods call the modules beside this one; little is computed here.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from os import PathLike
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from ..data import Tokens
from ..jaxprs.lazy_import import lazy_import
from .corpus.corpus import Unlabelled
from .corpus.reading import SampleWeight, Source
from .files import model_folder as folder
from .model import Model, Table, mean_row
from .options import FASTTEXT_NAMES, KINDS, checked, file_name, refuse_unknown, settings_of, string, whole_number
from .predict.metrics import Meter, Scoring, Skipped, score
from .predict.predictor import LabelsAndProbabilities, Predictions, Predictor, as_fasttext_lists
from .predict.subwords import list_of_strings, one_line, one_line_each, subword_row, subwords, words_and_labels
from .predict.vectors import analogy, nearest_rows, text_vector, unit_rows, word_vectors
from .quantize.product_quantizer import quantize
from .quantize.table import QuantizedTable
from .train.checkpoints.storage import Checkpoints
from .train.train_from_file import train_from_file

if TYPE_CHECKING:
    from ..training.history import Epoch, History
    from .predict.calibration import Calibration
    from .train.loop import Report

# They need JAX, which prediction does not.
calibration, tuning = (lazy_import(f"{__package__}.{name}") for name in ("predict.calibration", "train.fine_tune"))

PIECE = 1 << 16  # texts are predicted in pieces of this size
Answer = tuple[tuple[str, ...], np.ndarray]
Neighbour = tuple[float, str]
CHANGEABLE = (
    "lr", "epoch", "neg", "lr_update_rate", "optimizer", "batch", "shuffle", "smoothing", "idf", "class_weight", "seed"
)  # fmt: skip
"""What training that goes on from a model may change."""


class TextClassifier:
    """fastText's text classifier: a text is the mean of the rows of its words and n-grams, and the labels score it.

    Made by `train`, or by `load`. The methods are those of fastText's Python module, with the same results: labels with
    their prefix, probabilities to the fifth decimal; `train`, `load`, `save` and `score` are ours.

    Attributes:
        model: the vocabulary, the settings and the tables.
        history: the metrics of each epoch, where training measured them; else None.
    """

    def __init__(self, model: Model, history: "History | None" = None):
        self.model, self.history = model, history

    @classmethod
    def train(
        cls,
        data: Source,
        *,
        valid: Source | float | None = None,
        patience: int | None = None,
        unlabelled: Unlabelled = "refuse",
        cache: str | PathLike[str] | None = None,
        pretrained: str | PathLike[str] | None = None,
        sample_weight: SampleWeight | None = None,
        checkpoints: str | PathLike[str] | Checkpoints | None = None,
        progress: "Callable[[Report], None] | None" = None,
        on_epoch: "Callable[[Epoch], None] | None" = None,
        **settings: Any,
    ) -> "TextClassifier":
        """Train on a file of lines `__label__x some words` (plain, .gz, .zst), a .csv file, "-" (stdin), or Texts.

        Args:
            data: the labelled texts.
            valid: the share of the lines to hold out, or other labelled texts: the best epoch on them is kept.
            patience: stop after this many epochs without a better one on the held-out texts.
            unlabelled: a line without label is an error ("refuse"), or is skipped ("skip").
            cache: a folder in which the encoded text is kept for the next time; not where a share is held out.
            pretrained: a .vec file of word vectors, `dim` numbers each, to start from; all its words have a row then.
            sample_weight: how much each text counts: numbers, or a file with one a line; one for each line of a file,
                blank ones included, or for each of the Texts.
            checkpoints: a folder in which training is saved every minute, at most a twentieth of its time; where it was
                saved there before, it continues from there, bit for bit; removed at the end.
            progress: called with a `train.progress.Report` now and then.
            on_epoch: called with a `training.Epoch` after every epoch.
            **settings: by the names of `Settings`: lr, dim, epoch, word_ngrams, loss, ...

        Raises:
            TypeError, ValueError: a setting that is none, or cannot be.
            DataError: no such file; a line without label, with its place; no line that can be used.
            FloatingPointError: training diverged.
        """
        chosen = settings_of(settings, called="TextClassifier.train")
        return cls(
            *train_from_file(
                data, chosen, valid=valid, patience=patience, unlabelled=unlabelled, cache=cache,
                pretrained=pretrained, sample_weight=sample_weight, checkpoints=checkpoints, progress=progress,
                on_epoch=on_epoch,
            )
        )  # fmt: skip

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "TextClassifier":
        """The classifier in fastText's .bin or .ftz file, or in a folder that `save` wrote."""
        return cls(folder.load(file_name(path, "path", "load")))

    def save(self, path: str | PathLike[str]) -> None:
        """Write a new folder with the model's file and all settings; the file alone where its name ends so: .bin, .ftz
        or, of a linear model, .linear.
        """
        folder.save(self.model, file_name(path, "path", "save"))

    def save_fasttext(self, path: str | PathLike[str]) -> None:
        """Write the file that fastText reads, whatever its name; of a linear model its own, which fastText does not."""
        folder.write(self.model, file_name(path, "path", "save_model"))

    save_model = save_fasttext

    @cached_property
    def _predictor(self) -> Predictor:
        return Predictor(self.model)

    @overload
    def predict(
        self, text: str | bytes, k: int = 1, threshold: float = 0.0, on_unicode_error: str = "strict"
    ) -> Answer: ...
    @overload
    def predict(
        self, text: Iterable[str], k: int = 1, threshold: float = 0.0, on_unicode_error: str = "strict"
    ) -> LabelsAndProbabilities: ...
    def predict(self, text: Any, k: int = 1, threshold: float = 0.0, on_unicode_error: str = "strict") -> Any:
        """The `k` best labels (-1: all) whose probability is at least `threshold`, best first.

        Of one text, a string or bytes in UTF-8: a tuple of labels and an array of probabilities. Of several, a list, an
        array or a column of such: a list of each.

        Raises:
            TypeError: an argument of another kind; the message says which, and which text.
            ValueError: k is 0, or a text holds a newline; the model has no labels, but word vectors alone.
        """
        if isinstance(text, str | bytes):
            labels, probabilities = self._predictor.best_of_one(one_line(text, "predict"), k, threshold)
            errors = string(on_unicode_error, "on_unicode_error", "predict")
            names = tuple(self._label_bytes[label].decode("utf-8", errors) for label in labels.tolist())
            return names, probabilities.astype(np.float64)
        found = Predictions.joined(list(self.predictions(one_line_each(text, "predict"), k=k, threshold=threshold)))
        return as_fasttext_lists(found, self.get_labels(on_unicode_error=on_unicode_error))

    def predictions(
        self, texts: Sequence[str] | Tokens, *, k: int = 1, threshold: float = 0.0
    ) -> Iterator[Predictions]:
        """What `predict` answers, as arrays of label numbers, piece by piece: for many texts, or tokens from a file."""
        if isinstance(texts, Tokens):
            yield self._predictor.best(self.model.encode(texts), k, threshold)
            return
        for start in range(0, max(len(texts), 1), PIECE):
            yield self._predictor.best(self.model.encode(texts[start : start + PIECE]), k, threshold)

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """The probability of every label, (texts, labels) float32, in the order of `labels`; not rounded."""
        texts = list_of_strings(texts, "probabilities")
        parts = [self.model.encode(texts[start : start + PIECE]) for start in range(0, max(len(texts), 1), PIECE)]
        return np.concatenate([self._predictor.probabilities(part) for part in parts])

    def score(self, data: Source, k: int = 1, threshold: float = 0.0) -> tuple[Scoring, Skipped]:
        """The `k` best labels of each line held against its own, and what had to be passed over, as fastText does:
        lines without label or words, and labels never seen in training.

        Raises:
            DataError: no such file, or no line that can be scored.
        """
        return score(self._predictor, data, k, threshold)

    def test(self, path: Source, k: int = 1, threshold: float = 0.0) -> tuple[int, float, float]:
        """How many lines were tested, the precision and the recall of their `k` best labels.

        Labels never seen in training are not counted, as in fastText; a warning says how many there were.
        """
        scoring = self._scored(path, k, threshold)
        return scoring.texts, scoring.precision, scoring.recall

    def test_label(self, path: Source, k: int = 1, threshold: float = 0.0) -> dict[str, dict[str, float]]:
        """Precision, recall and f1score of each label; NaN where there was nothing to count.

        fastText 0.9.2 has NaN for every recall, a mistake that was mended after it; here they are right.
        """
        scoring = self._scored(path, k, threshold)
        return {label: scoring.of_label(number) for number, label in enumerate(self.labels)}

    def get_meter(self, path: Source, k: int = -1) -> Meter:
        """The `k` best labels of each line (-1: all) held against its own: curves, and precision at a recall."""
        return Meter(self._scored(path, k, 0.0), self.labels)

    def _scored(self, path: Source, k: int, threshold: float) -> Scoring:
        scoring, skipped = self.score(path, k, threshold)
        if skipped.unknown:
            warnings.warn(f"{path if isinstance(path, str | PathLike) else 'texts'}: {skipped}.", stacklevel=3)
        return scoring

    def calibrate(self, data: Source) -> "Calibration":
        """Make the probabilities such that they can be believed, in place, by texts that were not trained on.

        Labels and their order stay. See `calibration.calibrate`; its answer says what has changed.
        """
        if self.model.kind != "linear":
            self._must_classify("calibrate")
        model, found = calibration.calibrate(self.model, data)
        self._replace(model)
        return found

    def quantize(
        self,
        input: Source | None = None,
        qout: bool = False,
        cutoff: int = 0,
        retrain: bool = False,
        epoch: int | None = None,
        lr: float | None = None,
        thread: int | None = None,
        verbose: int | None = None,
        dsub: int = 2,
        qnorm: bool = False,
    ) -> None:
        """Make the model small, in place, by fastText's names: see `quantization.quantize`.

        With `retrain`, the rows that the cutoff has left are trained further on `input` before they are quantized.
        """
        self._must_classify("quantize")
        cutoff, dsub = whole_number(cutoff, "cutoff", "quantize"), whole_number(dsub, "dsub", "quantize")
        again = None
        if retrain:
            if input is None:
                raise ValueError("quantize: to retrain it needs input, the file to train on.")
            shuffle = None if thread is None else whole_number(thread, "thread", "quantize") > 1
            given = {"epoch": epoch, "lr": lr, "shuffle": shuffle}
            changes = {name: value for name, value in given.items() if value is not None}
            again = partial(tuning.fine_tune, input, changes)
        self._replace(quantize(self.model, cutoff=cutoff, qnorm=qnorm, qout=qout, dsub=dsub, retrain=again))

    def fine_tune(
        self,
        data: Source,
        *,
        progress: "Callable[[Report], None] | None" = None,
        **settings: Any,
    ) -> "TextClassifier":
        """Training goes on from this model: a new classifier with the same words, n-grams and labels.

        Words that it does not know stay unknown; lines without a label that it knows are skipped, with a warning.

        Args:
            data: labelled texts, as `train` takes them.
            progress: called with a `train.progress.Report` now and then.
            **settings: those that change, by the names of `Settings`: lr, epoch, neg, optimizer, batch, shuffle,
                smoothing, idf, class_weight, seed; the others stay.

        Raises:
            TypeError: a setting that is none, or that a trained model cannot change.
            ValueError: the model is quantized, or has word vectors alone.
            DataError: no such file; no line that can be used.
            FloatingPointError: training diverged.
        """
        self._must_classify("fine_tune")
        for name in settings:
            refuse_unknown(name, CHANGEABLE, "fine_tune")
        changed = {name: checked(name, value, "fine_tune") for name, value in settings.items()}
        return TextClassifier(tuning.fine_tune(data, changed, self.model, progress=progress))

    def _must_classify(self, called: str) -> None:
        kind = self.model.kind
        if kind != "supervised":
            why = "it has one table" if kind == "linear" else "of word vectors: it has no labels"
            raise ValueError(f"{called}: this is a {kind} model, {why}.")

    def _replace(self, model: Model) -> None:
        """Another model from here on, and nothing that was computed from the one before."""
        self.model = model
        for name in ("_predictor", "_unit_vectors", "_label_bytes"):
            self.__dict__.pop(name, None)

    def is_quantized(self) -> bool:
        """Whether the input table is quantized."""
        return isinstance(self.model.input, QuantizedTable)

    def __getattr__(self, name: str) -> Any:
        """fastText's attributes, and ours by theirs: `lr`, `dim`, `epoch`, `minCount`, ..., as it was trained.

        A .bin file does not hold `lr` and `seed`: those of a model that was loaded from one are the defaults.
        """
        ours = FASTTEXT_NAMES.get(name, name)
        if ours not in KINDS:
            raise AttributeError(f"a TextClassifier has no attribute {name!r}")
        return getattr(self.model.vocabulary if hasattr(self.model.vocabulary, ours) else self.model.settings, ours)

    @property
    def labels(self) -> list[str]:
        """All labels, with their prefix, by falling count; a model of word vectors has none."""
        prefix = self.model.vocabulary.label_prefix
        return [prefix + label for label in self.model.vocabulary.labels]

    @property
    def words(self) -> list[str]:
        """All words, by falling count; bytes that are not UTF-8 as lone surrogates."""
        return list(self.model.vocabulary.words)

    def get_labels(self, include_freq: bool = False, on_unicode_error: str = "strict") -> Any:
        """All labels; with `include_freq` also how often each occurred."""
        return self._entries(slice(self.model.vocabulary.word_count, None), include_freq, on_unicode_error)

    def get_words(self, include_freq: bool = False, on_unicode_error: str = "strict") -> Any:
        """All words; with `include_freq` also how often each occurred."""
        return self._entries(slice(0, self.model.vocabulary.word_count), include_freq, on_unicode_error)

    @cached_property
    def _label_bytes(self) -> list[bytes]:
        return self.model.vocabulary.entries[self.model.vocabulary.word_count :].to_pylist()

    def _entries(self, which: slice, include_freq: bool, errors: str) -> Any:
        vocabulary, errors = self.model.vocabulary, string(errors, "on_unicode_error", "get_labels")
        names = [entry.decode("utf-8", errors) for entry in vocabulary.entries[which].to_pylist()]
        return (names, vocabulary.counts[which].copy()) if include_freq else names

    def get_word_id(self, word: str) -> int:
        """The row of a word, -1 for an unknown one."""
        return self.model.vocabulary.word_id(string(word, "word", "get_word_id"))

    def get_label_id(self, label: str) -> int:
        """The number of a label, prefix included; -1 for an unknown one."""
        label = string(label, "label", "get_label_id")
        return self.labels.index(label) if label in self.labels else -1

    def get_dimension(self) -> int:
        """The length of a row."""
        return self.model.input.shape[1]

    def get_word_vector(self, word: str) -> np.ndarray:
        """The mean of the rows that stand for a word, (dim,); 0 for a word without any."""
        return mean_row(self.model.input, self.model.subwords(string(word, "word", "get_word_vector")))

    def get_sentence_vector(self, text: str) -> np.ndarray:
        """The mean of the rows of a text, (dim,): what the labels score.

        Of a model of word vectors: the mean of its words' vectors, each divided by its length.
        """
        return text_vector(self.model, one_line(text, "get_sentence_vector"))

    def get_nearest_neighbors(self, word: str, k: int = 10, on_unicode_error: str = "strict") -> list[Neighbour]:
        """The `k` words whose vectors are most similar to the word's: (cosine, word), the most similar first."""
        word = string(word, "word", "get_nearest_neighbors")
        return self._nearest(self.get_word_vector(word), k, (word,), on_unicode_error)

    def get_analogies(
        self, wordA: str, wordB: str, wordC: str, k: int = 10, on_unicode_error: str = "strict"
    ) -> list[Neighbour]:
        """The `k` words nearest to wordA - wordB + wordC: (cosine, word), falling."""
        given = {"wordA": wordA, "wordB": wordB, "wordC": wordC}
        words = tuple(string(word, name, "get_analogies") for name, word in given.items())
        return self._nearest(analogy(self.model, words), k, words, on_unicode_error)

    def _nearest(self, query: np.ndarray, k: int, without: tuple[str, ...], errors: str) -> list[Neighbour]:
        k = whole_number(k, "k", "get_nearest_neighbors")
        entries = self.model.vocabulary.entries
        found = nearest_rows(self.model, self._unit_vectors, query, k, without)
        return [(score, entries[row].as_py().decode("utf-8", errors)) for score, row in found]

    @cached_property
    def _unit_vectors(self) -> np.ndarray:
        return unit_rows(word_vectors(self.model))

    def get_subwords(self, word: str, on_unicode_error: str = "strict") -> tuple[list[str], np.ndarray]:
        """The word, if it has a row, and its character n-grams; and their rows."""
        names, rows = subwords(self.model, string(word, "word", "get_subwords"))
        errors = string(on_unicode_error, "on_unicode_error", "get_subwords")
        return [name.encode("utf-8", "surrogateescape").decode("utf-8", errors) for name in names], rows

    def get_subword_id(self, subword: str) -> int:
        """The row of a character n-gram, with `<` or `>` where it is at a word's boundary."""
        return subword_row(self.model.vocabulary, string(subword, "subword", "get_subword_id"))

    def get_input_vector(self, ind: int) -> np.ndarray:
        """Row `ind` of the input table, (dim,)."""
        rows, ind = self.model.input.shape[0], whole_number(ind, "ind", "get_input_vector")
        if not 0 <= ind < rows:
            raise IndexError(f"get_input_vector: row {ind} of a table with {rows:,} rows.")
        return np.array(self.model.input[np.array([ind])][0])

    def get_input_matrix(self) -> np.ndarray:
        """The input table, (rows, dim); ValueError where it is quantized."""
        return _plain(self.model.input)

    def get_output_matrix(self) -> np.ndarray:
        """The output table, (labels, dim); ValueError where it is quantized."""
        return _plain(self.model.output)

    def set_matrices(self, input_matrix: Any, output_matrix: Any) -> None:
        """Put other tables of the same shapes into the model, in place.

        Raises:
            ValueError: a table of another shape; the model is quantized.
        """
        tables = {"input": (self.model.input, input_matrix), "output": (self.model.output, output_matrix)}
        for name, (old, new) in tables.items():
            if np.shape(new) != _plain(old).shape:
                raise ValueError(f"set_matrices: the {name}_matrix is {np.shape(new)}; it must be {old.shape}.")
        new = {name: np.array(matrix, np.float32) for name, (_, matrix) in tables.items()}
        self._replace(replace(self.model, **new))

    def __getitem__(self, word: str) -> np.ndarray:
        return self.get_word_vector(word)

    def __contains__(self, word: str) -> bool:
        return self.get_word_id(word) >= 0

    def get_line(self, text: str | Iterable[str], on_unicode_error: str = "strict") -> tuple[list[Any], list[Any]]:
        """The words and the labels of a text, cut as in training; of several texts, a list of each."""
        if not isinstance(text, str | bytes):
            pairs = [self.get_line(line, on_unicode_error) for line in one_line_each(text, "get_line")]
            return [words for words, _ in pairs], [labels for _, labels in pairs]
        return words_and_labels(one_line(text, "get_line"), self.model.vocabulary.label_prefix, on_unicode_error)


def _plain(table: Table) -> np.ndarray:
    if isinstance(table, QuantizedTable):
        raise ValueError("a quantized table is no matrix; ask for rows by get_input_vector.")
    return np.asarray(table)
