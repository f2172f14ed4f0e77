"""Scores in, one number an example out."""

from .few_classes import hierarchical_softmax as hierarchical_softmax
from .few_classes import negative_sampling as negative_sampling
from .many_classes import linear_cross_entropy as linear_cross_entropy
from .many_classes import mean_linear_cross_entropy as mean_linear_cross_entropy
from .margins import max_margin as max_margin
from .margins import multiclass_hinge as multiclass_hinge
from .penalties import l1_penalty as l1_penalty
from .penalties import l2_penalty as l2_penalty
from .scores import sigmoid_cross_entropy as sigmoid_cross_entropy
from .scores import softmax_cross_entropy as softmax_cross_entropy
from .scores import squared_error as squared_error
