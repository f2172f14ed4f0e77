"""An encoded corpus on disk, found again by what it was made from."""

import hashlib
import json
import shutil
import tempfile
import weakref
from pathlib import Path

import numpy as np
import pyarrow as pa

from ...data import Bags
from ..settings import Settings
from .vocabulary import SETTINGS, Vocabulary

FORMAT = 1
MATTERS = (
    "min_count",
    "min_count_label",
    "max_words",
    "word_ngrams",
    "bucket",
    "minn",
    "maxn",
    "label_prefix",
    "lowercase",
)
VOCABULARY = "vocabulary.arrow"
PARTS = ("rows.ids", "rows.offsets", "labels.ids", "labels.offsets")


def content_key(path: Path, settings: Settings) -> str:
    """A name for a file's bytes read with these settings: the same for the same, another for any other."""
    with open(path, "rb") as file:
        content = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    key = json.dumps([FORMAT, content, *(getattr(settings, name) for name in MATTERS)])
    return hashlib.blake2b(key.encode(), digest_size=16).hexdigest()


class EncodedFiles:
    """The chunks of a corpus as files of one folder, which gets its name once it is whole."""

    def __init__(self, folder: Path):
        self.folder, self.chunks = folder, 0
        self.unfinished: Path | None = None

    def exist(self) -> bool:
        """Whether the corpus is there, whole."""
        return self.folder.is_dir()

    def keep(self, chunk: tuple[Bags, Bags]) -> tuple[Bags, Bags]:
        """Write the next chunk; what comes back is read from its files where it is used."""
        if self.unfinished is None:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            self.unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=self.folder.parent))
            weakref.finalize(self, shutil.rmtree, self.unfinished, ignore_errors=True)
        rows, labels = chunk
        for name, array in zip(PARTS, (rows.ids, rows.offsets, labels.ids, labels.offsets), strict=True):
            np.save(self.unfinished / f"{self.chunks}.{name}.npy", array)
        self.chunks += 1
        return _chunk(self.unfinished, self.chunks - 1)

    def finish(self, vocabulary: Vocabulary) -> None:
        """Write the vocabulary, and give the folder its name, unless another process has been faster."""
        assert self.unfinished is not None
        state = {name: value for name, value in vocabulary.state().items() if name not in ("entries", "counts")}
        table = pa.table({"entries": vocabulary.entries, "counts": vocabulary.counts})
        about = {"vocabulary": json.dumps(state), "chunks": str(self.chunks)}
        table = table.replace_schema_metadata(about)
        with (
            pa.OSFile(str(self.unfinished / "vocabulary.arrow"), "wb") as file,
            pa.ipc.new_file(file, table.schema) as out,
        ):
            out.write_table(table)
        if not self.exist():
            self.unfinished.rename(self.folder)

    def read(self) -> tuple[Vocabulary, list[tuple[Bags, Bags]]]:
        """What was written."""
        with pa.memory_map(str(self.folder / VOCABULARY)) as file:
            table = pa.ipc.open_file(file).read_all()
        about = table.schema.metadata
        state = json.loads(about[b"vocabulary"])
        settings = {name: state[name] for name in SETTINGS}
        entries = table["entries"].combine_chunks()
        vocabulary = Vocabulary(entries, table["counts"].to_numpy(), state["tokens"], **settings)
        return vocabulary, [_chunk(self.folder, k) for k in range(int(about[b"chunks"]))]


def _chunk(folder: Path, number: int) -> tuple[Bags, Bags]:
    rows, row_offsets, labels, label_offsets = (
        np.load(folder / f"{number}.{name}.npy", mmap_mode="r") for name in PARTS
    )
    return Bags(rows, row_offsets), Bags(labels, label_offsets)
