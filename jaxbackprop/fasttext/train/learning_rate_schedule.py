"""The learning rate of a text classifier: it falls linearly to 0 over all visits of texts.

Source  fastText 0.9.2, whose rate falls over tokens; experiments/text_quality.py compares the two
"""

from typing import TypeVar

import numpy as np

Progress = TypeVar("Progress", float, np.ndarray)


def linear_decay(lr: float, progress: Progress) -> Progress:
    """The learning rate after this share of the training, from 0 to 1.

    Formula  lr (1 - progress)
    """
    remaining: Progress = np.maximum(1 - progress, 0)  # pyright: ignore[reportAssignmentType]
    return lr * remaining
