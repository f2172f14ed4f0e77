"""Arrays in memory and on disk are the same arrays."""

import gc

import numpy as np

from jaxbackprop.fasttext.corpus.spill import Spill


def test_what_is_beyond_the_limit_is_on_disk_and_the_same():
    spill = Spill(limit=100)
    arrays = [np.arange(10, dtype=np.int32) + k for k in range(5)] + [np.zeros(0, np.int32)]
    kept = [spill.keep(array) for array in arrays]
    assert [isinstance(array, np.memmap) for array in kept] == [False, False, True, True, True, False]
    for array, same in zip(arrays, kept, strict=True):
        np.testing.assert_array_equal(array, same)


def test_its_folder_goes_with_it():
    spill = Spill(limit=0)
    spill.keep(np.ones(3))
    folder = spill.folder
    assert folder is not None
    assert len(list(folder.iterdir())) == 1
    del spill
    gc.collect()
    assert not folder.exists()
