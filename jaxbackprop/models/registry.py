"""A model as plain data, and back: what a run folder remembers of it beside its numbers."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from flax import nnx

from .bag_of_words import BagOfWords
from .mlp import MLP
from .two_layer_scorer import TwoLayerScorer
from .window_classifier import WindowClassifier

MODELS: dict[str, Callable[..., nnx.Module]] = {
    made.__name__: made for made in (BagOfWords, MLP, TwoLayerScorer, WindowClassifier)
}


def describe(model: nnx.Module) -> dict[str, Any]:
    """The name of the model's class and the arguments it was made with, for JSON.

    A model keeps each argument of its constructor as an attribute of the same name; of one that does not, only the
    name of its class is given.
    """
    names = [name for name in inspect.signature(type(model).__init__).parameters if name not in ("self", "rngs")]
    known = {name: getattr(model, name) for name in names if hasattr(model, name)}
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in known.items()}
    return {"class": type(model).__name__, **(plain if type(model).__name__ in MODELS else {})}


def build(description: Mapping[str, Any], *, rngs: nnx.Rngs) -> nnx.Module:
    """The model of a description, its weights new.

    Raises:
        ValueError: no model of the library has that name.
    """
    settings = dict(description)
    name = settings.pop("class", None)
    if name not in MODELS:
        raise ValueError(f"no model is called {name!r}; the library's are {', '.join(MODELS)}.")
    return MODELS[name](**settings, rngs=rngs)
