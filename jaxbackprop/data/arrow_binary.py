"""Arrow's arrays of byte strings as NumPy arrays, and back, without a copy."""

import numpy as np
import pyarrow as pa


def buffers(words: pa.BinaryArray) -> tuple[np.ndarray, np.ndarray]:
    """A binary array as its bytes (uint8) and its offsets (int32, one more than there are words), without a copy."""
    _, offsets, data = words.buffers()
    if offsets is None or not len(words):
        return np.zeros(0, np.uint8), np.zeros(1, np.int32)
    ends = np.frombuffer(offsets, np.int32)[words.offset : words.offset + len(words) + 1]
    return np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8), ends


def binary_array(data: np.ndarray | bytes, offsets: np.ndarray) -> pa.BinaryArray:
    """The binary array whose k-th word is data[offsets[k]:offsets[k + 1]]."""
    ends = np.ascontiguousarray(offsets, np.int32)
    return pa.Array.from_buffers(pa.binary(), len(ends) - 1, [None, pa.py_buffer(ends), pa.py_buffer(data)])
