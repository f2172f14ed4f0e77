"""Losses with a margin: nothing to pay once the right score leads by enough."""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from ..core.accumulation import index, inside, to_accumulator
from ..core.domains import below, within
from ..core.rule import WithResiduals, rule


@rule(kinks=lambda score, corrupt, margin: margin + corrupt - score, example_settings=({"margin": 0.5},))
def max_margin(
    score: Float[Array, "*B"], corrupt: Float[Array, "*B"], *, margin: float = 1.0
) -> WithResiduals[Float[Array, "*B"]]:
    """The true score shall lead the corrupt one by a margin.

    Forward   J = max(0, margin + s_c - s)
    Backward  dscore = -upstream where J > 0, else 0;  dcorrupt = upstream where J > 0, else 0
    Residuals whether J > 0
    Source    CS224n lecture notes 3, "Neural networks, backpropagation",
              https://web.stanford.edu/class/cs224n/readings/cs224n-2019-notes03-neuralnets.pdf
    Kink      J = 0: we answer 0
    """
    short = margin + (corrupt - score)  # the difference first: large scores keep their digits
    return jnp.maximum(short, 0), short > 0


@max_margin.backward
def max_margin_backward(active, upstream):
    dcorrupt = jnp.where(active, upstream, 0)
    return -dcorrupt, dcorrupt


def _shortfalls(scores, labels, margin):
    """What each wrong class lacks to be out of the margin; 1, far from a kink, where nothing is compared."""
    short, wrong = _shortfall(jnp.asarray(scores), jnp.asarray(labels), margin)
    return jnp.where(wrong, short, 1)


@rule(domain={"labels": below("C", padding=True)}, kinks=_shortfalls, example_settings=({"margin": 0.3},))
def multiclass_hinge(
    scores: Float[Array, "*B C"], labels: Int[Array, "*B"], *, margin: float = 1.0
) -> WithResiduals[Float[Array, "*B"]]:
    """The multiclass support vector machine: every wrong class that comes within the margin costs what it lacks.

    Forward   loss = sum_{j != y} max(0, margin + s_j - s_y)
    Backward  ds_j = upstream where class j is paid for, else 0;  ds_y = -upstream times the number of classes paid for
    Residuals which classes are paid for, one byte each; labels
    Source    Weston, Watkins 1999, https://www.elen.ucl.ac.be/Proceedings/esann/esannpdf/es1999-461.pdf;
              CS231n notes, "Linear classification", https://cs231n.github.io/linear-classify/
    Kink      margin + s_j = s_y: we answer 0

    A label outside 0..C-1 (conventionally -1) is ignored: loss 0, gradient 0, whatever the scores.
    """
    short, wrong = _shortfall(scores, labels, margin)
    paid = wrong & (short > 0)
    return jnp.where(paid, short, 0).sum(-1).astype(scores.dtype), (paid, labels)


@multiclass_hinge.backward
def multiclass_hinge_backward(residuals, upstream):
    paid, labels = residuals
    ds = jnp.where(paid, to_accumulator(upstream)[..., None], 0)
    at = jnp.clip(index(labels), 0, paid.shape[-1] - 1)[..., None]  # where nothing is paid for, 0 is written over 0
    return jnp.put_along_axis(ds, at, -ds.sum(-1, keepdims=True), -1, inplace=False)


@rule(domain={"targets": within(0, 1)})
def squared_hinge(logits: Float[Array, "*B C"], targets: Float[Array, "*B C"]) -> WithResiduals[Float[Array, "*B"]]:
    """One linear support vector machine a class, squared: each pays for what its score lacks to be out of the margin.

    Forward   m_c = max(0, 1 - y_c z_c),  y = 2 t - 1 (1 for yes, -1 for no),  loss = sum_c m_c^2
    Backward  dz_c = -2 upstream y_c m_c,  dt_c = -4 upstream z_c m_c
    Residuals z, t
    Source    Fan, Chang, Hsieh, Wang, Lin 2008, "LIBLINEAR", https://www.jmlr.org/papers/v9/fan08a.html

    The slope is continuous: it is 0 where the margin is reached, from either side.

    Args:
        logits: scores (*B, C).
        targets: from 0 (no) to 1 (yes), (*B, C).
    """
    _, _, lacking = _lacking(logits, targets)
    return (lacking**2).sum(-1).astype(jnp.result_type(logits, targets)), (logits, targets)


@squared_hinge.backward
def squared_hinge_backward(residuals, upstream):
    z, y, lacking = _lacking(*residuals)
    share = -2 * to_accumulator(upstream)[..., None] * lacking
    return share * y, 2 * share * z


def _lacking(logits: Array, targets: Array) -> tuple[Array, Array, Array]:
    """Scores, answers as 1 and -1, and what each score lacks to be out of the margin."""
    z, y = to_accumulator(logits), 2 * to_accumulator(targets) - 1
    return z, y, jnp.maximum(1 - y * z, 0)


def _shortfall(scores: Array, labels: Array, margin: float) -> tuple[Array, Array]:
    """By how much each class is within the margin of the true one, and which classes are wrong ones."""
    C = scores.shape[-1]
    own = jnp.take_along_axis(scores, jnp.clip(index(labels), 0, C - 1)[..., None], -1)
    wrong = inside(labels, C)[..., None] & (jnp.arange(C) != index(labels)[..., None])
    return margin + (to_accumulator(scores) - to_accumulator(own)), wrong
