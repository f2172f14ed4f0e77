"""Models that fastText trained, in its own files, with what it says of some texts."""

import base64
import json
from pathlib import Path

from jaxbackprop.fasttext.files.fasttext_model import read_model
from jaxbackprop.fasttext.model import Model

GOLDEN = json.loads(
    (Path(__file__).resolve().parents[1] / "fasttext" / "predicting_golden.json").read_text(encoding="utf-8")
)
"""Seven models that fastText trained, its own files, and its answers about twelve texts (an empty one, one of unknown
words, one that is a label) for six pairs of k and threshold; written by fastText's Python module, version 0.9.2."""


def model_of(name: str, folder: Path) -> Model:
    """The golden model of that name, by way of a file."""
    path = folder / "model.bin"
    path.write_bytes(base64.b64decode(GOLDEN["models"][name]["bin"]))
    return read_model(path)
