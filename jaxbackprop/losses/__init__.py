"""Scores in, one number an example out."""

from .cross_entropy import sigmoid_cross_entropy as sigmoid_cross_entropy
from .cross_entropy import softmax_cross_entropy as softmax_cross_entropy
from .cross_entropy import squared_error as squared_error
from .fused_cross_entropy import linear_cross_entropy as linear_cross_entropy
from .fused_cross_entropy import mean_linear_cross_entropy as mean_linear_cross_entropy
from .hinge import max_margin as max_margin
from .hinge import multiclass_hinge as multiclass_hinge
from .hinge import squared_hinge as squared_hinge
from .regularization import l1_penalty as l1_penalty
from .regularization import l2_penalty as l2_penalty
from .sampled_softmax import hierarchical_softmax as hierarchical_softmax
from .sampled_softmax import negative_sampling as negative_sampling
