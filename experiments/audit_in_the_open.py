"""Every hand-written derivative that seven open libraries call is right or differs on purpose, but those named here.

JAX's own functions and optax's losses stand in this file, the other libraries' in `audit_cases.py`. Each rule named in
`NOT_RIGHT` was confirmed without this project: against closed forms in mpmath, or by calling the library itself.
"""

import collections
import inspect
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from audit_cases import LIBRARIES, Call
from harness import report

from jaxbackprop.verification import audit
from jaxbackprop.verification.audit import Site

_rng = np.random.default_rng(0)
X = _rng.normal(size=(4, 6)).astype(np.float32)
POSITIVE = np.abs(X) + np.float32(0.1)
INSIDE = (np.tanh(X) * 0.9).astype(np.float32)
SHARES = (POSITIVE / POSITIVE.sum(-1, keepdims=True)).astype(np.float32)
LABELS = np.array([0, 3, 2, 5], np.int32)

NOT_OF_ONE_ARRAY = {"dot_product_attention", "one_hot", "scaled_matmul", "get_scaled_dot_general_config", "identity"}

NUMPY: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("logaddexp", "logaddexp2", "hypot", "power"), (POSITIVE, POSITIVE[::-1].copy())),
    **dict.fromkeys(("sinc", "cbrt", "i0", "exp2", "abs", "sign", "var", "std", "median", "sort", "cumprod"), (X,)),
}

SCIPY: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("logsumexp", "erf", "expit", "log_ndtr", "i0e", "i1e", "spence", "log_softmax"), (X,)),
    **dict.fromkeys(("xlogy", "xlog1py", "betaln", "gammainc", "beta", "poch"), (POSITIVE, POSITIVE)),
    **dict.fromkeys(("rel_entr", "kl_div"), (SHARES, SHARES[::-1].copy())),
    **dict.fromkeys(("gammaln", "digamma", "entr", "exp1", "gamma"), (POSITIVE,)),
    **dict.fromkeys(("logit", "ndtri"), (SHARES,)),
    "erfinv": (INSIDE,),
    "betainc": (POSITIVE, POSITIVE, SHARES),
    "hyp1f1": (POSITIVE, POSITIVE, POSITIVE),
}

OPTAX: dict[str, tuple[Any, ...]] = {
    "multiclass_hinge_loss": (X, LABELS),
    "multiclass_perceptron_loss": (X, LABELS),
    "multiclass_sparsemax_loss": (X, LABELS),
    "triplet_margin_loss": (X, X[::-1].copy(), INSIDE),
    "ntxent": (X, LABELS),
}

ELSEWHERE = {"make_fenchel_young_loss", "ctc_loss", "ctc_loss_with_forward_probs"}


NOT_RIGHT = {
    "numpyro/distributions/truncated.py:1216": "log_prob: d/dlow and d/dhigh are those of the density, not divided by "
    "it, and d/dhigh has the wrong sign unless alpha is -1",
    "numpyro/distributions/truncated.py:1337": "cdf at alpha = -1: d/dhigh has the wrong sign",
    "distrax/_src/utils/math.py:81": "power_no_nan at x = 0, y > 0: d/dy is NaN, the truth is 0 (jnp.power's answer)",
    "flax/linen/fp8_ops.py:305": "out_dq passes the gradient on unscaled and gives its scales none: meant, as one of "
    "three rules (in_q, quantized_dot, out_dq) that are right only together",
    "tokamax/_src/ops/op.py:249": "right once; a second derivative raises (its backward pass calls custom_vmap)",
}


def of_jax_and_optax() -> dict[str, Call]:
    """The functions of JAX and optax, each with arguments."""
    made: dict[str, Call] = {}
    for name in dir(jax.nn):
        fun = getattr(jax.nn, name)
        if inspect.isroutine(fun) or hasattr(fun, "lower") or hasattr(fun, "defjvp"):
            if not name.startswith(("_", "scaled", "get_")) and name not in NOT_OF_ONE_ARRAY:
                made[f"jax.nn.{name}"] = (fun, (X,))
    made |= {f"jax.numpy.{name}": (getattr(jnp, name), args) for name, args in NUMPY.items()}
    made |= {f"jax.scipy.special.{name}": (getattr(jax.scipy.special, name), args) for name, args in SCIPY.items()}
    for name, fun in vars(optax.losses).items():
        if inspect.isfunction(fun) and name not in ELSEWHERE:
            usual = (X, LABELS) if "integer" in name else (X, SHARES)
            made[f"optax.{name}"] = (fun, OPTAX.get(name, usual))
    return made


def calls() -> tuple[dict[str, Call], dict[str, str]]:
    """All functions, each with arguments; and the libraries that cannot be looked at, with the reason."""
    made, absent = of_jax_and_optax(), {}
    for library, cases in LIBRARIES.items():
        try:
            made |= cases()
        except Exception as error:
            absent[library] = f"{type(error).__name__}: {error}".split("\n")[0][:120]
    return made, absent


def measure() -> dict[str, Any]:
    """For each function the rules it calls, with their verdicts."""
    rows: dict[str, Any] = {}
    every, absent = calls()
    for name, (fun, args) in every.items():
        try:
            found = audit(fun, *args)
        except Exception as error:
            rows[name] = f"could not be called: {type(error).__name__}: {error}".split("\n")[0][:120]
            continue
        row = rows[name] = {}
        for site in found.sites:
            said = site.verification
            row[_named(site, row)] = {
                "verdict": site.verdict,
                "calls": site.calls,
                "why": "" if said is None else said.by_design or said.likely_cause,
            }
    verdicts = [(rule, s["verdict"]) for row in rows.values() if isinstance(row, dict) for rule, s in row.items()]
    return {
        "libraries": ["jax", "optax", *(name for name in LIBRARIES if name not in absent)],
        "absent": absent,
        "functions": len(rows),
        "not called": sum(isinstance(row, str) for row in rows.values()),
        "distinct rules": len({rule for rule, _ in verdicts}),
        "verdicts": dict(collections.Counter(verdict for _, verdict in verdicts)),
        "confirmed": NOT_RIGHT,
        "rows": {name: row for name, row in rows.items() if row},
    }


def _named(site: Site, taken: dict[str, Any]) -> str:
    """Name and place; several rules that one line makes are numbered from the second on."""
    names = (f"{site.name}{f' ({k})' * (k > 1)} at {place(site.source)}" for k in itertools.count(1))
    return next(name for name in names if name not in taken)


def place(source: str) -> str:
    """File and line, from the library's own folder on."""
    return source.replace("\\", "/").rpartition("site-packages/")[2]


def claim(measured: dict[str, Any]) -> None:
    fine = {"right", "by design?", "not reached"}
    for row in measured["rows"].values():
        for rule, found in row.items() if isinstance(row, dict) else ():
            assert found["verdict"] in fine or rule.partition(" at ")[2] in NOT_RIGHT, rule
    assert not measured["not called"]
    assert measured["distinct rules"] >= 15


if __name__ == "__main__":
    report(measure, claim)
