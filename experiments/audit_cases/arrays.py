"""Arguments that many cases share, and how a case is made."""

import functools
import importlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

Call = tuple[Callable[..., Any], tuple[Any, ...]]
Calls = dict[str, Call]

_rng = np.random.default_rng(0)
X = _rng.normal(size=(4, 6)).astype(np.float32)
POSITIVE = np.abs(X) + np.float32(0.1)
OTHER = POSITIVE[::-1].copy()
INSIDE = (np.tanh(X) * 0.9).astype(np.float32)
UNIT = ((INSIDE + 1) / 2).astype(np.float32)
SHARES = (POSITIVE / POSITIVE.sum(-1, keepdims=True)).astype(np.float32)
LABELS = np.array([0, 3, 2, 5], np.int32)
COUNTS = np.arange(24, dtype=np.float32).reshape(4, 6) % 5
SEQUENCE = _rng.normal(size=(2, 5, 8)).astype(np.float32)
IMAGE = _rng.normal(size=(2, 6, 6, 4)).astype(np.float32)
KEY = jax.random.key(0)


def normal(*shape: int, seed: int = 1) -> np.ndarray:
    """Normal numbers, the same in every run."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def positive_definite(size: int, seed: int = 1) -> np.ndarray:
    """A symmetric matrix with eigenvalues above 1."""
    half = normal(size, size, seed=seed)
    return (half @ half.T / size + np.eye(size)).astype(np.float32)


def module(name: str) -> Any:
    """Imported by name: optional packages are not among the project's dependencies."""
    return importlib.import_module(name)


def each(of: Any, names: str, *args: Any) -> Calls:
    """The functions of these names, all with the same arguments."""
    return {name: (getattr(of, name), args) for name in names.split()}


def each_in(call: Callable[..., Any], of: Any, names: str, *args: Any) -> Calls:
    """The same with what `call` makes of each function, its first argument, and of the arguments."""
    return {name: (functools.partial(call, getattr(of, name)), args) for name in names.split()}


def density(made: Callable[..., Any], method: str = "log_prob") -> Callable[..., Any]:
    """The logarithm of a density (or another method), of its value and its parameters."""
    return lambda value, *parameters: getattr(made(*parameters), method)(value)


def under(prefix: str, *cases: Calls) -> Calls:
    """All cases, their names after the library's."""
    return {f"{prefix}.{name}": call for of in cases for name, call in of.items()}
