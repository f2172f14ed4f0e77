"""Classifiers and scorers as flax.nnx modules; their gradients come from the rules alone."""

from .bag_of_words import BagOfWords as BagOfWords
from .bag_of_words import RaggedBags as RaggedBags
from .mlp import MLP as MLP
from .registry import build as build
from .registry import describe as describe
from .two_layer_scorer import TwoLayerScorer as TwoLayerScorer
from .window_classifier import WindowClassifier as WindowClassifier
from .window_classifier import corrupted as corrupted
