"""fastText's own small files, and what is said of them when they are damaged."""

import json
import struct
from pathlib import Path

import pytest

from jaxbackprop.data import DataError
from jaxbackprop.fasttext.files.fasttext_model import read_model

GOLDEN = Path(__file__).resolve().parents[1] / "fasttext" / "golden"
SAID = json.loads((GOLDEN / "predictions.json").read_text(encoding="utf-8"))
MODELS = [name for name in SAID["models"] if name != "skipgram.bin"]
VERSION, HEADER, SIZES, ENTRIES = 4, 8, 64, 92  # where the parts of a file begin


def damaged(tmp_path: Path, data: bytes, name: str = "damaged.bin") -> DataError:
    """The error for a file with these bytes."""
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError) as caught:
        read_model(tmp_path / name)
    assert caught.value.file == str(tmp_path / name)
    assert caught.value.byte is not None
    assert caught.value.found
    return caught.value


def patched(name: str, at: int, kind: str, *values: float) -> bytes:
    """A golden file with other numbers at byte `at`."""
    data = bytearray((GOLDEN / name).read_bytes())
    struct.pack_into("<" + kind, data, at, *values)
    return bytes(data)
