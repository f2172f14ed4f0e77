"""Losses: scores in, one number an example out; and penalties on the weights."""

from .margins import max_margin as max_margin
from .margins import multiclass_hinge as multiclass_hinge
from .penalties import l1_penalty as l1_penalty
from .penalties import l2_penalty as l2_penalty
from .scores import sigmoid_cross_entropy as sigmoid_cross_entropy
from .scores import softmax_cross_entropy as softmax_cross_entropy
from .scores import squared_error as squared_error
