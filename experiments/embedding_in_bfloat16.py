"""From 32,768 words of text jax.grad loses the frequent rows of a bfloat16 embedding's gradient; gates.gather does not.

    python experiments/embedding_in_bfloat16.py [FOLDER OF THE DATA SETS]

The ids are those of IMDB's reviews, word by word; the upstream gradient is drawn, once of one sign and once of both.
`jax.grad` adds up each row's gradients in bfloat16: a word that occurs often is soon so much larger than what is added
that nothing is added any more.
"""

import gzip
import sys
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from harness import report

import jaxbackprop as jbp
from jaxbackprop.benchmarking.timing import interleaved, ratio

DATA = Path("../shared/data")
WORDS = (4096, 32768, 262144)
WIDTH = 64
UNIT = float(jnp.finfo(jnp.bfloat16).eps)


def ids_of(text: Path, count: int) -> np.ndarray:
    """The first words of the reviews in random order, each by its rank among all of them."""
    lines = gzip.decompress(text.read_bytes()).decode().splitlines()
    words = [w for k in np.random.default_rng(0).permutation(len(lines)) for w in lines[k].lower().split()[1:]]
    _, ids, counts = np.unique(words[:count], return_inverse=True, return_counts=True)
    return np.argsort(np.argsort(-counts, kind="stable"))[ids].astype(np.int32)


def gradients() -> dict[str, Any]:
    """The gradient of a table by rows, `(table, ids, upstream) -> gradient`, by each contender's name."""

    def of(lookup: Any) -> Any:
        return jax.jit(lambda table, ids, upstream: jax.vjp(lambda t: lookup(t, ids), table)[1](upstream)[0])

    return {
        "jax.grad": of(lambda table, ids: table[ids]),
        "gates.gather": of(jbp.rules()["gather"]),
    }


def at(ids: np.ndarray, *, one_sign: bool) -> dict[str, Any]:
    """What each loses, and how long it takes, for upstream gradients of one sign or of both."""
    rng = np.random.default_rng(len(ids))
    drawn = rng.uniform(0.5, 1.5, (len(ids), WIDTH)) * (1 if one_sign else rng.choice([-1, 1], (len(ids), WIDTH)))
    upstream = jnp.asarray(drawn, jnp.bfloat16)
    table = jnp.zeros((int(ids.max()) + 1, WIDTH), jnp.bfloat16)
    exact = np.zeros(table.shape)
    np.add.at(exact, ids, np.asarray(upstream, np.float64))
    made = gradients()
    runs = [partial(f, table, jnp.asarray(ids), upstream) for f in made.values()]
    times = interleaved([*runs, runs[1]], seconds=3)
    compared = ratio(times[:, 1], times[:, 0], times[:, 2])
    found: dict[str, Any] = {"rows": len(table), "most frequent": int(np.bincount(ids).max())}
    for k, (name, run) in enumerate(zip(made, runs, strict=True)):
        gap = np.abs(np.asarray(run(), np.float64) - exact)
        size = np.maximum(np.abs(exact), np.sqrt(np.mean(exact**2)))
        found[name] = {
            "first number of the most frequent row": float(run()[0, 0]),
            "largest error, ulp": round(float(np.max(gap / (UNIT * size))), 1),
            "error of the gradient, relative": float(np.linalg.norm(gap) / np.linalg.norm(exact)),
            "milliseconds": round(1e3 * float(np.median(times[:, k])), 2),
        }
    found["exact"] = float(exact[0, 0])
    found["gather's time over jax.grad's"] = [round(x, 2) for x in (compared.low, compared.median, compared.high)]
    return found


def measure() -> dict[str, Any]:
    """For each number of words, and both kinds of upstream gradients."""
    text = Path(sys.argv[1] if len(sys.argv) > 1 else DATA) / "imdb" / "train.txt.gz"
    ids = {count: ids_of(text, count) for count in WORDS}
    return {
        f"{count} words, {'one sign' if one_sign else 'both signs'}": at(of, one_sign=one_sign)
        for count, of in ids.items()
        for one_sign in (True, False)
    }


def claim(measured: dict[str, Any]) -> None:
    """With one sign and enough words jax.grad loses more than half of the digits; the rule always rounds once."""
    for name, row in measured.items():
        assert row["gates.gather"]["largest error, ulp"] <= 0.6, name
        if "one sign" in name and row["most frequent"] > 1000:
            assert row["jax.grad"]["largest error, ulp"] > 16, name


if __name__ == "__main__":
    report(measure, claim)
