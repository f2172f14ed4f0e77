"""Softmax, norms and embeddings of plain JAX lose digits in bfloat16 at 12,288 terms; this library's rules do not.

    python experiments/arithmetic_in_the_open.py

Each function is differentiated by JAX as it stands, its own rules and autodiff, and judged by the check of sums at the
length that is the default; those that hold a rule are proved as well. The named cases are judged at their own size,
beside this library's rule. Writes the tables of docs/accumulation.md.
"""

import importlib
import re
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from harness import DOCS, report
from jax import lax

import jaxbackprop as jbp
from jaxbackprop.jaxprs.inputs import Inputs
from jaxbackprop.jaxprs.rules import holds_rule
from jaxbackprop.verification.problem import Problem, handwritten_function
from jaxbackprop.verification.proof import proved

Call = tuple[Callable[..., Any], tuple[Any, ...]]

_rng = np.random.default_rng(0)
X = _rng.normal(size=(5, 7))
ROW = 1 + 0.1 * _rng.normal(size=7)
LABELS = np.array([0, 3, 2, 5, 6], np.int32)
SHARES = np.abs(X) / np.abs(X).sum(-1, keepdims=True)
TABLE = _rng.normal(size=(6, 4))
IDS = np.array([0, 2, 1, 0, 3, 1, 2, 5, 4], np.int32)
SEGMENTS = np.array([0, 0, 1, 1, 1, 2, 2, 3, 3], np.int32)
QUERIES, KEYS, VALUES = (_rng.normal(size=(n, 4)) for n in (3, 7, 7))
SEQUENCE = _rng.normal(size=(2, 5, 8))


def softmax(x: Any) -> Any:
    e = jnp.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def logsumexp(x: Any) -> Any:
    top = x.max(-1)
    return top + jnp.log(jnp.exp(x - top[:, None]).sum(-1))


def attention(q: Any, k: Any, v: Any) -> Any:
    return softmax(q @ k.T / 2) @ v


def running_mean(x: Any) -> Any:
    def step(mean: Any, row: Any) -> Any:
        mean = 0.9 * mean + 0.1 * row
        return mean, mean

    return lax.scan(step, jnp.zeros_like(x[0]), x)[1]


def running_sum(x: Any) -> Any:
    return lax.scan(lambda total, row: (total + row, None), jnp.zeros_like(x[0]), x)[0]


def recurrent(x: Any, U: Any) -> Any:
    def step(h: Any, row: Any) -> Any:
        h = jnp.tanh(row + h @ U)
        return h, h

    return lax.scan(step, jnp.zeros_like(x[0]), x)[1]


def counted(rows: Any, ids: Any) -> Any:
    return jnp.zeros((6, rows.shape[1]), rows.dtype).at[ids].add(rows)


def of_users() -> dict[str, Call]:
    """Plain JAX, as it stands in many programs."""
    normalized = lambda x: (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-5)  # noqa: E731
    return {
        "softmax": (softmax, (X,)),
        "logsumexp": (logsumexp, (X,)),
        "cross-entropy, one-hot": (
            lambda z, t: -(jax.nn.one_hot(t, z.shape[-1], dtype=z.dtype) * (z - logsumexp(z)[:, None])).sum(-1).mean(),
            (X, LABELS),
        ),
        "cross-entropy, picked": (
            lambda z, t: (logsumexp(z) - jnp.take_along_axis(z, t[:, None], -1)[:, 0]).mean(),
            (X, LABELS),
        ),
        "binary cross-entropy": (lambda z, t: (jnp.maximum(z, 0) - z * t + jnp.log1p(jnp.exp(-jnp.abs(z)))).mean(),
                                 (X, SHARES)),
        "squared error": (lambda x, t: ((x - t) ** 2).mean(), (X, SHARES)),
        "absolute error": (lambda x, t: jnp.abs(x - t).mean(), (X, SHARES)),
        "embedding, table[ids]": (lambda table, ids: table[ids], (TABLE, IDS)),
        "embedding, one-hot product": (lambda table, ids: jax.nn.one_hot(ids, 6, dtype=table.dtype) @ table,
                                       (TABLE, IDS)),
        "rows added, .at[].add": (counted, (_rng.normal(size=(9, 4)), IDS)),
        "layer norm": (lambda x, g, b: normalized(x) * g + b, (X, ROW, 0 * ROW)),
        "layer norm, E x^2 - (E x)^2": (
            lambda x: (x - x.mean(-1, keepdims=True))
            / jnp.sqrt((x * x).mean(-1, keepdims=True) - x.mean(-1, keepdims=True) ** 2 + 1e-5),
            (X,),
        ),
        "RMS norm": (lambda x, g: x / jnp.sqrt((x * x).mean(-1, keepdims=True) + 1e-6) * g, (X, ROW)),
        "batch norm": (lambda x: (x - x.mean(0)) / jnp.sqrt(x.var(0) + 1e-5), (X,)),
        "unit length": (lambda x: x / jnp.linalg.norm(x, axis=-1, keepdims=True), (X,)),
        "affine": (lambda x, W, b: x @ W + b, (X, _rng.normal(size=(7, 4)), _rng.normal(size=4))),
        "attention": (attention, (QUERIES, KEYS, VALUES)),
        "mean": (lambda x: x.mean(), (X,)),
        "variance": (lambda x: x.var(-1), (X,)),
        "cumsum": (lambda x: jnp.cumsum(x, 0), (X,)),
        "sum in a scan": (running_sum, (X,)),
        "exponential moving average in a scan": (running_mean, (X,)),
        "recurrent layer in a scan": (recurrent, (X, 0.3 * _rng.normal(size=(7, 7)))),
    }  # fmt: skip


def of_jax() -> dict[str, Call]:
    """JAX's own functions that add up."""
    heads = [a[None, :, None] for a in (QUERIES, KEYS, VALUES)]
    return {
        "jax.nn.softmax": (jax.nn.softmax, (X,)),
        "jax.nn.log_softmax": (jax.nn.log_softmax, (X,)),
        "jax.nn.logsumexp": (lambda x: jax.nn.logsumexp(x, -1), (X,)),
        "jax.nn.standardize": (jax.nn.standardize, (X,)),
        "jax.nn.dot_product_attention": (jax.nn.dot_product_attention, tuple(heads)),
        "jax.numpy.take": (lambda table, ids: jnp.take(table, ids, axis=0), (TABLE, IDS)),
        "jax.numpy.var": (lambda x: jnp.var(x, 0), (X,)),
        "jax.numpy.linalg.norm": (lambda x: jnp.linalg.norm(x, axis=0), (X,)),
        "jax.numpy.cumsum": (lambda x: jnp.cumsum(x, 1), (X,)),
        "jax.numpy.cumprod": (lambda x: jnp.cumprod(x / 4 + 1, 1), (X,)),
        "jax.lax.cumlogsumexp": (lambda x: lax.cumlogsumexp(x, 1), (X,)),
        "jax.lax.associative_scan": (lambda x: lax.associative_scan(jnp.add, x), (X,)),
        "jax.ops.segment_sum": (
            lambda rows, of: jax.ops.segment_sum(rows, of, 4), (_rng.normal(size=(9, 4)), SEGMENTS)),
        "jax.numpy.convolve": (lambda x, k: jnp.convolve(x, k, "same"), (X[0], ROW[:3])),
    }  # fmt: skip


def of_optax() -> dict[str, Call]:
    """Losses, each averaged over the batch as a training does."""
    losses = {
        "softmax_cross_entropy": (X, SHARES),
        "softmax_cross_entropy_with_integer_labels": (X, LABELS),
        "sigmoid_binary_cross_entropy": (X, SHARES),
        "squared_error": (X, SHARES),
        "huber_loss": (X, SHARES),
        "log_cosh": (X, SHARES),
        "cosine_distance": (X, SHARES),
        "kl_divergence": (np.log(SHARES), SHARES[::-1]),
        "poly_loss_cross_entropy": (X, SHARES),
        "sigmoid_focal_loss": (X, SHARES),
    }

    def averaged(name: str) -> Callable[..., Any]:
        return lambda *args: getattr(optax.losses, name)(*args).mean()

    return {f"optax.{name}": (averaged(name), args) for name, args in losses.items()}


def of_flax() -> dict[str, Call]:
    """Layers of flax.linen, by their parameters and an input."""
    nn = importlib.import_module("flax.linen")
    layers = {
        "LayerNorm": nn.LayerNorm(), "RMSNorm": nn.RMSNorm(), "GroupNorm": nn.GroupNorm(2), "Dense": nn.Dense(3),
        "BatchNorm": nn.BatchNorm(use_running_average=False),
        "MultiHeadDotProductAttention": nn.MultiHeadDotProductAttention(2),
    }  # fmt: skip
    made: dict[str, Call] = {}
    for name, layer in layers.items():
        variables = layer.init(jax.random.key(0), SEQUENCE)
        run = lambda v, x, layer=layer: layer.apply(v, x, mutable=["batch_stats"])[0]  # noqa: E731
        made[f"flax.linen.{name}"] = run, (variables, SEQUENCE)
    embed = nn.Embed(6, 4)
    made["flax.linen.Embed"] = embed.apply, (embed.init(jax.random.key(0), IDS), IDS)
    return made


def of_equinox() -> dict[str, Call]:
    """Layers of equinox, their arrays taken apart."""
    eqx = importlib.import_module("equinox")
    key, nn = jax.random.key(0), eqx.nn

    def applied(layer: Any, x: Any, *, mapped: bool = True) -> Call:
        arrays, rest = eqx.partition(layer, eqx.is_inexact_array)

        def run(a: Any, x: Any) -> Any:
            made = eqx.combine(a, rest)
            return jax.vmap(made)(x) if mapped else made(x, x, x)

        return run, (arrays, x)

    return {
        "equinox.nn.LayerNorm": applied(nn.LayerNorm(7), X),
        "equinox.nn.RMSNorm": applied(nn.RMSNorm(7), X),
        "equinox.nn.Linear": applied(nn.Linear(7, 4, key=key), X),
        "equinox.nn.Embedding": applied(nn.Embedding(6, 4, key=key), IDS),
        "equinox.nn.MultiheadAttention": applied(nn.MultiheadAttention(2, 8, key=key), SEQUENCE[0], mapped=False),
    }


SOURCES = {"as users write it": of_users, "jax": of_jax, "optax": of_optax, "flax": of_flax, "equinox": of_equinox}

CASES: dict[str, tuple[int, Call, str]] = {
    "embedding, ids by Zipf": (4096, (lambda table, ids: table[ids], (TABLE, IDS)), "gather"),
    "cross-entropy by classes": (250_000, (lambda z, t: logsumexp(z) - z[jnp.arange(5), t], (X, LABELS)),
                                 "softmax_cross_entropy"),
    "layer norm by width": (16_384, (lambda x: (x - x.mean(-1, keepdims=True)) / jnp.sqrt(
        (x * x).mean(-1, keepdims=True) - x.mean(-1, keepdims=True) ** 2 + 1e-5), (X,)), "layer_norm"),
    "attention's rows by keys": (32_768, (attention, (QUERIES, KEYS, VALUES)), "softmax"),
    "segment_sum by rows": (98_304, (lambda rows, of: jax.ops.segment_sum(rows, of, 4),
                                     (_rng.normal(size=(9, 4)), SEGMENTS)), "embedding_bag"),
    "cumsum by length": (98_304, (lambda x: jnp.cumsum(x, 0), (X,)), ""),
}  # fmt: skip
"""By name: the length at which it is used, how JAX's users write it, and the rule of this library beside it."""


def judged(call: Call) -> dict[str, Any]:
    """The proof, where the function holds a rule, and the check of sums."""
    fun, args = call
    point = Inputs(args)
    with jax.enable_x64(True):
        has_rule = holds_rule(jax.make_jaxpr(point.call(fun))(*point.arrays).jaxpr)
    proof = proved([Problem(handwritten_function(fun, fun), point)]).word if has_rule else ""
    return {"proof": proof, **sums(fun, args)}


def sums(fun: Any, args: tuple, sizes: tuple[int, ...] | None = None) -> dict[str, Any]:
    """What the check of sums says, in how long."""
    start = time.process_time()
    reference = None if isinstance(fun, jbp.Rule) else fun
    found = jbp.verify(fun, *args, reference=reference, checks=["accumulation"], sizes=sizes)
    detail = found.checks[0].detail if found.checks else "nothing is added up where it grows"
    return {
        "arithmetic": found.arithmetic,
        "ulp": round(found.units(), 1),
        "detail": detail,
        "CPU seconds": round(time.process_time() - start, 1),
    }


def measure() -> dict[str, Any]:
    """Every function by its source, and the named cases."""
    rows: dict[str, Any] = {}
    absent = {}
    for source, calls in SOURCES.items():
        try:
            made = calls()
        except ImportError as error:
            absent[source] = str(error)
            continue
        rows[source] = {}
        for name, call in made.items():
            rows[source][name] = judged(call)
            print(name, rows[source][name], flush=True)
    cases = {}
    for name, (length, (fun, args), rule) in CASES.items():
        cases[name] = {"by default": sums(fun, args), "length": length, "at its length": sums(fun, args, (length,))}
        if rule:
            cases[name] |= {"rule": rule, "the rule": sums(jbp.rules()[rule], (), (length,))}
    every = [row for found in rows.values() for row in found.values()]
    return {
        "functions": len(every),
        "absent": absent,
        "arithmetic": dict(Counter(row["arithmetic"] or "no sum" for row in every)),
        "proof": dict(Counter(row["proof"] or "no rule inside" for row in every)),
        "rows": rows,
        "cases": cases,
    }


def claim(measured: dict[str, Any]) -> None:
    assert measured["functions"] >= 50
    plain = measured["rows"]["as users write it"]
    for name in ("softmax", "layer norm", "RMS norm", "embedding, table[ids]"):
        assert plain[name]["arithmetic"] == "imprecise", name
    assert "refuted" not in measured["proof"]
    assert "wrong" not in measured["arithmetic"]
    for name, case in measured["cases"].items():
        assert case.get("the rule", {}).get("arithmetic", "right") == "right", name


FOUND = re.compile(
    r"^(?P<what>.*): (?P<actual>\S+) for (?P<expected>\S+) in (?P<type>\w+) at (?P<n>[\d,]+), .*?: (?P<ulp>\d+) ulp"
)


def table(measured: dict[str, Any]) -> str:
    """A line for each function."""
    lines = ["| function | its rule | its sums | what is off the most |", "|---|---|---|---|"]
    for source, rows in measured["rows"].items():
        lines.append(f"| *{source}* | | | |")
        for name, row in rows.items():
            found = FOUND.match(row["detail"]) if row["arithmetic"] == "imprecise" else None
            where = f"{found['actual']} for {found['expected']} in {found['type']} at {found['n']}" if found else ""
            lines.append(f"| {name} | {row['proof'] or 'none'} | {row['arithmetic'] or 'none'} | {where} |")
    return "\n".join(lines)


def table_of_cases(measured: dict[str, Any]) -> str:
    """A line for each named case: found by default, found at its length, and this library's rule there."""
    lines = ["| case | length | by default | at its length | this library's rule there |", "|---|---|---|---|---|"]
    for name, case in measured["cases"].items():
        cells = [
            f"{case[k]['arithmetic']} ({case[k]['ulp']:.0f} ulp, {case[k]['CPU seconds']} s)"
            for k in ("by default", "at its length")
        ]
        rule = case.get("the rule")
        ours = f"`{case['rule']}`: {rule['arithmetic']} ({rule['ulp']} ulp)" if rule else ""
        lines.append(f"| {name} | {case['length']:,} | {' | '.join(cells)} | {ours} |")
    return "\n".join(lines)


def measured_and_written() -> dict[str, Any]:
    """Measured, and the tables written."""
    measured = measure()
    page = DOCS / "accumulation.md"
    text = page.read_text()
    for mark, made in (("functions", table(measured)), ("cases", table_of_cases(measured))):
        text = re.sub(
            rf"(<!-- {mark} -->\n).*?(<!-- end -->)",
            lambda m, made=made: f"{m[1]}{made}\n{m[2]}",
            text,
            flags=re.DOTALL,
        )
    page.write_text(text)
    return measured


if __name__ == "__main__":
    report(measured_and_written, claim)
