"""The window classifier: is the word in the middle of this window what we look for?"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Bool, Float, Int

from ..gates import reshape
from ..layers import affine, affine_unit, window
from ..losses import max_margin
from .initializers import check_unit, weights_before, xavier


class WindowClassifier(nnx.Module):
    """s = U^T f(W [x_1 ... x_L] + b): ids of a window of words (B, L) -> one score a window (B,).

    The vectors of the words are learned with the rest. It learns from pairs: the score of a true window shall lead
    that of a corrupt one by a margin. Where no corrupt windows are given, each true one is corrupted by another word
    in its middle.

    Args:
        words: rows of the table of word vectors; an id outside 0..words-1 (-1 by custom) is padding, a vector of zeros.
        dim: the length of a word vector.
        size: words a window, an odd number.
        hidden: the size of the hidden layer.
        unit: the name of the unit f.
        margin: how far the true score shall lead.
        rngs: where weights, vectors and corrupting words come from.

    Raises:
        ValueError: no such unit, an even window, fewer than two words.

    Source  Collobert, Weston 2008, "A unified architecture for natural language processing"; CS224n lecture notes
    """

    def __init__(
        self,
        words: int,
        dim: int,
        size: int,
        hidden: int,
        *,
        unit: str = "tanh",
        margin: float = 1.0,
        rngs: nnx.Rngs,
    ):
        if size < 1 or size % 2 == 0:
            raise ValueError(f"WindowClassifier: size is {size}; a window has a middle, so its size is odd.")
        if words < 2:
            raise ValueError(f"WindowClassifier: words is {words}; to corrupt a window takes a second word.")
        check_unit("WindowClassifier", unit)
        self.words, self.dim, self.size, self.hidden = words, dim, size, hidden
        self.unit, self.margin = unit, margin
        self.table = nnx.Param(jax.random.normal(rngs.params(), (words, dim)) * 0.1)
        self.W = nnx.Param(weights_before(unit, rngs.params(), size * dim, hidden))
        self.b = nnx.Param(jnp.zeros(hidden))
        self.U = nnx.Param(xavier(rngs.params(), hidden, 1))
        self.keys = rngs.corrupt.fork()

    def __call__(self, windows: Int[Array, "*B L"]) -> Float[Array, "*B"]:
        if windows.shape[-1] != self.size:
            raise ValueError(
                f"WindowClassifier: windows {windows.shape} are of {windows.shape[-1]} words, but size is {self.size}."
            )
        a = affine_unit(window(self.table[...], windows), self.W[...], self.b[...], unit=self.unit)
        return reshape(affine(a, self.U[...]), shape=a.shape[:-1])

    def loss_and_correct(
        self, windows: Int[Array, "B L"], corrupt: Int[Array, "B L"] | None = None
    ) -> tuple[Float[Array, " B"], Bool[Array, " B"]]:
        """max(0, margin + s_c - s) of each pair, and whether the true window scores higher."""
        corrupt = corrupted(windows, self.keys(), words=self.words) if corrupt is None else corrupt
        s, s_c = self(windows), self(corrupt)
        return max_margin(s, s_c, margin=self.margin), s > s_c


def corrupted(windows: Int[Array, "*B L"], key: Array, *, words: int) -> Int[Array, "*B L"]:
    """`windows` with another word, drawn evenly from all others, in the middle of each."""
    middle = windows.shape[-1] // 2
    further = jax.random.randint(key, windows.shape[:-1], 1, words, windows.dtype)
    return windows.at[..., middle].set((windows[..., middle] + further) % words)
