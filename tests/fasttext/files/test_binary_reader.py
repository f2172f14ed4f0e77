"""No file does harm, however it is cut, changed or made up: it is a model or an error that names it."""

import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from damaged_files import ENTRIES, GOLDEN, HEADER, MODELS, damaged
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxbackprop.data import DataError
from jaxbackprop.fasttext.files.fasttext_model import read_model


@pytest.mark.parametrize("name", ["softmax.bin", "ova.bin", "cutoff.ftz", "qnorm.ftz"])
def test_a_file_cut_off_anywhere_is_refused(name, tmp_path):
    """After each byte of its first parts, and after many of its dictionary and tables."""
    data = (GOLDEN / name).read_bytes()
    for end in [*range(160), *range(160, min(len(data), 1500), 13), *range(1500, len(data), 97), len(data) - 1]:
        byte = damaged(tmp_path, data[:end]).byte
        assert byte is not None
        assert byte <= end


def survives(folder: Path, data: bytes) -> None:
    """A DataError or a usable model comes of these bytes, and memory for a small multiple of them is asked for."""
    path = folder / "fuzzed.bin"
    path.write_bytes(data)
    tracemalloc.start()
    try:
        model = read_model(path)
    except DataError:
        model = None
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 8 * len(data) + (1 << 17)
    if model is not None:
        bags = model.encode(["the crème brûlée w1 w2", ""])
        assert (bags.ids < model.input.shape[0]).all()
        assert np.asarray(model.input[bags.ids]).shape == (len(bags.ids), model.settings.dim)
        assert np.asarray(model.output[np.arange(len(model.vocabulary.labels))]).shape == model.output.shape


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


NUMBERS = st.sampled_from([0, 1, -1, 2, 7, 127, 255, 2**15, 2**31 - 1, -(2**31), 2**30])


@settings(max_examples=300)
@given(name=st.sampled_from(MODELS), data=st.data())
def test_no_changed_number_does_harm(folder, name, data):
    """A number of 32 bits anywhere in the part before the tables; nonsense is likelier to hurt than noise."""
    whole = bytearray((GOLDEN / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, min(len(whole) - 4, 1500)) | st.sampled_from(range(0, 92, 4)))
        struct.pack_into("<i", whole, place, data.draw(NUMBERS))
    survives(folder, bytes(whole))


@settings(max_examples=300)
@given(name=st.sampled_from(MODELS), data=st.data())
def test_no_flipped_byte_does_harm(folder, name, data):
    whole = bytearray((GOLDEN / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    survives(folder, bytes(whole))


@settings(max_examples=200)
@given(
    name=st.sampled_from(MODELS),
    keep=st.sampled_from([0, 4, 8, HEADER + 56, ENTRIES, ENTRIES + 14, 300]),
    rest=st.binary(max_size=2000),
)
def test_random_bytes_do_no_harm(folder, name, keep, rest):
    survives(folder, (GOLDEN / name).read_bytes()[:keep] + rest)
