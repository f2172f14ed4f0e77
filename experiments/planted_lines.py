"""Of 200 and more typical human mistakes each is named as the first wrong line; of the repairs nine in ten are right.

A derivation with all its lines right; then one line as learners write it wrong: a transpose forgotten or one too many,
an order of factors, the activation's derivative forgotten, taken at the wrong place or twice, a sum or a mean for one
another, the upstream gradient left out, a term of a fork forgotten, the wrong layer's quantity, a sign. With names of
derivations: those alone, printed.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import report

import jaxbackprop as jbp

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "helpers"))
from derivable import DERIVABLE, Derivable, normal, score  # pyright: ignore[reportMissingImports]

SCORE = Derivable(score, (normal(3, 5), normal(5, 4), normal(4), normal(4, 7), normal(7), normal(7)))


@dataclass(frozen=True)
class Planted:
    """A derivation's right lines, and for some of them what learners write instead."""

    right: dict[str, str]
    wrong: dict[str, list[str]]


PLANTED = {
    "score": Planted(
        {
            "dz2": "outer(upstream, U) * a2 * (1 - a2)",
            "dU": "a2.T @ upstream",
            "db2": "sum(dz2, 0)",
            "dW2": "a1.T @ dz2",
            "dz1": "(dz2 @ W2.T) * a1 * (1 - a1)",
            "db1": "dz1.sum(0)",
            "dW1": "x.T @ dz1",
            "dx": "dz1 @ W1.T",
        },
        {
            "dz2": [
                "outer(upstream, U)",
                "outer(upstream, U) * a2",
                "outer(upstream, U) * (1 - a2)",
                "U * a2 * (1 - a2)",
                "upstream[:, None] * a2 * (1 - a2)",
                "-outer(upstream, U) * a2 * (1 - a2)",
                "outer(upstream, U) * (1 - a2**2)",
                "outer(upstream, U) * z2 * (1 - z2)",
                "outer(upstream, U) * a2 * (a2 - 1)",
                "outer(upstream, U) * a2 * (1 + a2)",
                "outer(upstream, U) * sigmoid(a2) * (1 - sigmoid(a2))",
                "outer(upstream, U) * (a2 > 0)",
                "dz2_nk = upstream_n U_k a2_nk",
                "dz2_nk = U_k a2_nk (1 - a2_nk)",
            ],
            "dU": [
                "a2 @ upstream",
                "a1.T @ upstream",
                "z2.T @ upstream",
                "a2.sum(0)",
                "a2.T @ upstream / N",
                "dz2.sum(0)",
            ],
            "db2": ["dz2", "dz2.mean(0)", "dz2.sum(1)", "sum(a2, 0)", "-sum(dz2, 0)", "sum(dz1, 0)"],
            "dW2": [
                "dz2.T @ a1",
                "a1 @ dz2.T",
                "a2.T @ dz2",
                "z1.T @ dz2",
                "x.T @ dz2",
                "a1.T @ dz2 / N",
                "-a1.T @ dz2",
                "dz2 @ a1.T",
            ],
            "dz1": [
                "dz2 @ W2.T",
                "(dz2 @ W2) * a1 * (1 - a1)",
                "(W2 @ dz2) * a1 * (1 - a1)",
                "(dz2 @ W2.T) * a1",
                "(dz2 @ W2.T) * (1 - a1)",
                "(dz2 @ W2.T) * z1 * (1 - z1)",
                "(dz2 @ W2.T) * (1 - a1**2)",
                "(da2 @ W2.T) * a1 * (1 - a1)",
                "(dz2 @ W2.T) * (z1 > 0)",
                "-(dz2 @ W2.T) * a1 * (1 - a1)",
                "(dz2 @ W2.T) * a1 * (1 - a1) / N",
                "dz1_nj = a1_nj (1 - a1_nj) sum_k W2_jk a2_nk",
            ],
            "db1": ["dz1", "dz1.mean(0)", "dz1.sum(1)", "sum(da1, 0)"],
            "dW1": ["dz1.T @ x", "x @ dz1.T", "x.T @ da1", "a1.T @ dz1", "x.T @ dz2", "x.T @ dz1 / N", "2 * x.T @ dz1"],
            "dx": ["dz1 @ W1", "W1 @ dz1", "dz2 @ W1.T", "da1 @ W1.T", "-dz1 @ W1.T"],
        },
    ),
    "score_of_one": Planted(
        {
            "delta2": "upstream U o a2 o (1 - a2)",
            "dU": "upstream a2",
            "dW2": "delta2 a1^T",
            "db2": "delta2",
            "delta1": "(W2^T delta2) o a1 o (1 - a1)",
            "dW1": "delta1 x^T",
            "db1": "delta1",
            "dx": "W1^T delta1",
        },
        {
            "delta2": [
                "upstream U",
                "U o a2 o (1 - a2)",
                "upstream U o a2",
                "upstream U o (1 - a2)",
                "upstream U o z2 o (1 - z2)",
                "upstream a2 o (1 - a2)",
                "upstream U o a1 o (1 - a1)",
            ],
            "dU": ["a2", "upstream a1", "upstream z2", "-upstream a2"],
            "dW2": ["a1 delta2^T", "delta2 a2^T", "delta2 x^T", "delta1 a1^T"],
            "delta1": [
                "(W2 delta2) o a1 o (1 - a1)",
                "W2^T delta2",
                "(W2^T delta2) o a1",
                "(W2^T delta2) o (1 - a1)",
                "(W2^T U) o a1 o (1 - a1)",
                "(W2^T delta2) o z1 o (1 - z1)",
                "(W1^T delta2) o a1 o (1 - a1)",
                "(W2^T delta2) o a1 o a1",
            ],
            "dW1": ["x delta1^T", "delta1 a1^T", "delta2 x^T", "W2^T delta2 x^T"],
            "db1": ["delta2", "W2^T delta2", "x"],
            "dx": ["W1 delta1", "delta1", "W1^T da1"],
        },
    ),
    "softmax": Planted(
        {"dz": "p * (upstream - sum(p * upstream, 1, keepdims=1))"},
        {
            "dz": [
                "p * (1 - p) * upstream",
                "p * upstream",
                "upstream - sum(p * upstream, 1, keepdims=1)",
                "p * (upstream - sum(upstream, 1, keepdims=1))",
                "p * (upstream - p * upstream)",
                "p * (upstream + sum(p * upstream, 1, keepdims=1))",
                "p * (upstream - mean(p * upstream, 1, keepdims=1))",
                "p * (upstream - sum(p * upstream))",
                "p * (upstream - sum(p * upstream, 0))",
                "p * upstream - sum(p * upstream, 1, keepdims=1)",
                "e * (upstream - sum(p * upstream, 1, keepdims=1))",
                "dz_ni = p_ni (upstream_ni - sum_j p_nj)",
            ],
        },
    ),
    "cross_entropy_of_labels": Planted(
        {"dz": "dz_ni = upstream (p_ni - 1[labels_n = i]) / N"},
        {
            "dz": [
                "dz_ni = upstream (p_ni - 1[labels_n = i])",
                "dz_ni = (p_ni - 1[labels_n = i]) / N",
                "dz_ni = upstream (1[labels_n = i] - p_ni) / N",
                "dz_ni = upstream p_ni / N",
                "dz_ni = upstream (e_ni - 1[labels_n = i]) / N",
                "dz_ni = upstream (p_ni - 1) / N",
                "dz_ni = upstream (p_ni - 1[labels_n = i]) / I",
                "dz_ni = upstream p_ni (1 - 1[labels_n = i]) / N",
                "dz_ni = -upstream 1[labels_n = i] / N",
                "dz_ni = upstream (logs_ni - 1[labels_n = i]) / N",
            ],
        },
    ),
    "layer_norm": Planted(
        {
            "dn": "upstream * scale",
            "dshift": "sum(upstream, 0)",
            "dscale": "sum(n * upstream, 0)",
            "dx": "dx_bi = (dn_bi - sum_j dn_bj / I - n_bi sum_j n_bj dn_bj / I) / root_b",
        },
        {
            "dn": ["upstream", "upstream / scale", "upstream * shift", "upstream * scale + shift"],
            "dshift": ["upstream", "mean(upstream, 0)", "sum(upstream, 1)", "sum(dn, 0)"],
            "dscale": [
                "n * upstream",
                "sum(x * upstream, 0)",
                "mean(n * upstream, 0)",
                "sum(n * dn, 0)",
                "sum(upstream, 0)",
            ],
            "dx": [
                "dx_bi = dn_bi / root_b",
                "dx_bi = (dn_bi - sum_j dn_bj / I) / root_b",
                "dx_bi = (dn_bi - n_bi sum_j n_bj dn_bj / I) / root_b",
                "dx_bi = (dn_bi - sum_j dn_bj - n_bi sum_j n_bj dn_bj) / root_b",
                "dx_bi = dn_bi - sum_j dn_bj / I - n_bi sum_j n_bj dn_bj / I",
                "dx_bi = (dn_bi - sum_j dn_bj / I - x_bi sum_j n_bj dn_bj / I) / root_b",
                "dx_bi = (dn_bi - sum_j dn_bj / I - n_bi sum_j n_bj dn_bj / I) / v_b",
                "dx_bi = (dn_bi - sum_j dn_bj / I + n_bi sum_j n_bj dn_bj / I) / root_b",
                "dx_bi = (dn_bi - sum_j dn_bj / I - sum_j n_bj dn_bj / I) / root_b",
                "dx_bi = (upstream_bi - sum_j upstream_bj / I - n_bi sum_j n_bj upstream_bj / I) / root_b",
            ],
        },
    ),
    "attention": Planted(
        {
            "dP": "upstream @ V.T",
            "dV": "P.T @ upstream",
            "dS": "P * (dP - sum(P * dP, 1, keepdims=1))",
            "dK": "dS.T @ Q / sqrt(3)",
            "dQ": "dS @ K / sqrt(3)",
        },
        {
            "dP": ["V @ upstream.T", "upstream @ V", "P * (upstream @ V.T)", "O @ V.T"],
            "dV": ["P @ upstream", "upstream.T @ P", "S.T @ upstream", "P.T @ O"],
            "dS": [
                "dP",
                "P * dP",
                "P * (1 - P) * dP",
                "P * (dP - sum(dP, 1, keepdims=1))",
                "P * (dP - sum(P * dP, 0))",
                "P * (dP - mean(P * dP, 1, keepdims=1))",
                "dP - sum(P * dP, 1, keepdims=1)",
                "P * (dP - sum(O, 1, keepdims=1))",
                "P * (dP - sum(upstream, 1, keepdims=1))",
                "P * (dP + sum(P * dP, 1, keepdims=1))",
            ],
            "dK": [
                "dS.T @ Q",
                "dS @ Q / sqrt(3)",
                "Q.T @ dS / sqrt(3)",
                "dS.T @ Q * sqrt(3)",
                "dP.T @ Q / sqrt(3)",
                "dS.T @ Q / 3",
            ],
            "dQ": ["dS @ K", "dS.T @ K / sqrt(3)", "dS @ Q / sqrt(3)", "dP @ K / sqrt(3)", "dS @ K / 3"],
        },
    ),
    "recurrent_network": Planted(
        {
            "dz": "dh * (1 - h**2)",
            "dh_before": "dz @ U.T",
            "db": "sum(sum(dz, 0), 0)",
            "dU": "einsum('tnj,tnk->jk', h_before, dz)",
            "dW": "einsum('tni,tnj->ij', x, dz)",
            "dx": "dz @ W.T",
        },
        {
            "dz": [
                "dh",
                "dh * (1 - h)",
                "dh * h * (1 - h)",
                "dh * (1 - z**2)",
                "upstream * (1 - h**2)",
                "dh * (1 - h_before**2)",
                "dh * (h**2 - 1)",
            ],
            "dh_before": ["dz @ U", "dz @ W.T", "dh @ U.T", "dz"],
            "db": ["sum(dz, 0)", "sum(sum(dh, 0), 0)", "mean(sum(dz, 0), 0)", "-sum(sum(dz, 0), 0)"],
            "dU": [
                "einsum('tnj,tnk->jk', h, dz)",
                "einsum('tnj,tnk->kj', h_before, dz)",
                "einsum('tnj,tnk->jk', h_before, dh)",
                "h_before[-1].T @ dz[-1]",
            ],
            "dW": ["einsum('tni,tnj->ij', x, dh)", "x[-1].T @ dz[-1]", "einsum('tnk,tnj->kj', h, dz)"],
            "dx": ["dz @ W", "dz @ U.T", "dh @ W.T"],
        },
    ),
    "mlp": Planted(
        {
            "dz2": "dz2_nk = upstream (p_nk - 1[labels_n = k]) / N",
            "da1": "dz2 @ W2.T",
            "dz1": "da1 * (z1 > 0)",
            "db2": "sum(dz2, 0)",
            "dW2": "a1.T @ dz2",
            "db1": "sum(dz1, 0)",
            "dW1": "x.T @ dz1 + 0.1 * upstream * W1",
        },
        {
            "dz2": [
                "dz2_nk = upstream (p_nk - 1[labels_n = k])",
                "dz2_nk = (p_nk - 1[labels_n = k]) / N",
                "dz2_nk = upstream (1[labels_n = k] - p_nk) / N",
            ],
            "da1": ["dz2 @ W2", "W2 @ dz2", "z2 @ W2.T", "(dz2 @ W2.T) * (z1 > 0)"],
            "dz1": [
                "da1",
                "da1 * a1",
                "da1 * (1 - a1)",
                "da1 * a1 * (1 - a1)",
                "da1 * (z1 < 0)",
                "da1 * (z2 > 0)",
                "dz2 * (z1 > 0)",
                "da1 * (da1 > 0)",
                "relu(da1)",
            ],
            "dW1": [
                "x.T @ dz1",
                "x.T @ dz1 + 0.1 * W1",
                "x.T @ dz1 + 0.05 * upstream * W1",
                "x.T @ dz1 + 0.1 * upstream",
                "x.T @ dz1 - 0.1 * upstream * W1",
                "x.T @ da1 + 0.1 * upstream * W1",
            ],
            "dW2": ["dz2.T @ a1", "z1.T @ dz2", "a1.T @ dz2 + 0.1 * upstream * W2"],
            "db2": ["dz2", "mean(dz2, 0)"],
        },
    ),
    "gated_linear_unit": Planted(
        {
            "dt": "upstream * u * s * (1 - s)",
            "du": "upstream * s",
            "dV": "x.T @ dt",
            "dW": "x.T @ du",
            "dx": "du @ W.T + dt @ V.T",
        },
        {
            "dt": [
                "upstream * u",
                "upstream * s * (1 - s)",
                "upstream * u * s",
                "upstream * u * (1 - s**2)",
                "upstream * h * s",
            ],
            "du": ["upstream", "upstream * u", "upstream * s * (1 - s)"],
            "dV": ["x.T @ du", "dt.T @ x"],
            "dx": [
                "du @ W.T",
                "dt @ V.T",
                "du @ W.T - dt @ V.T",
                "du @ V.T + dt @ W.T",
                "(du + dt) @ W.T",
                "du @ W + dt @ V",
            ],
        },
    ),
    "rms_norm": Planted(
        {
            "dn": "upstream * scale",
            "dscale": "sum(n * upstream, 0)",
            "dx": "dx_bi = r_b (dn_bi - n_bi sum_j n_bj dn_bj / I)",
        },
        {
            "dx": [
                "dx_bi = r_b dn_bi",
                "dx_bi = dn_bi - n_bi sum_j n_bj dn_bj / I",
                "dx_bi = r_b (dn_bi - n_bi sum_j n_bj dn_bj)",
                "dx_bi = r_b (dn_bi - x_bi sum_j n_bj dn_bj / I)",
                "dx_bi = r_b (dn_bi - sum_j n_bj dn_bj / I)",
                "dx_bi = r_b (dn_bi + n_bi sum_j n_bj dn_bj / I)",
                "dx_bi = (dn_bi - n_bi sum_j n_bj dn_bj / I) / r_b",
            ],
            "dscale": ["sum(x * upstream, 0)", "n * upstream", "sum(n * dn, 0)"],
        },
    ),
    "max_margin": Planted(
        {"dz": "upstream * (z > 0)", "ds_c": "dz", "ds": "-dz"},
        {
            "dz": ["upstream", "z > 0", "upstream * z", "upstream * (z < 0)"],
            "ds": ["dz", "1 - dz", "-upstream"],
            "ds_c": ["-dz", "upstream", "1 - dz"],
        },
    ),
    "hinge": Planted(
        {"ds": "ds_ni = upstream (1[z_ni > 0] - 1[labels_n = i] sum_j 1[z_nj > 0]) / N"},
        {
            "ds": [
                "ds_ni = upstream 1[z_ni > 0] / N",
                "ds_ni = upstream (1[z_ni > 0] - 1[labels_n = i]) / N",
                "ds_ni = upstream (1[z_ni > 0] - 1[labels_n = i] sum_j 1[z_nj > 0])",
                "ds_ni = upstream (1[z_ni > 0] + 1[labels_n = i] sum_j 1[z_nj > 0]) / N",
                "ds_ni = upstream (z_ni - 1[labels_n = i] sum_j z_nj) / N",
            ],
        },
    ),
    "embedding_bag": Planted(
        {"dtable": "dtable_ni = sum_jk 1[ids_jk = n] upstream_ji / K"},
        {
            "dtable": [
                "dtable_ni = sum_jk 1[ids_jk = n] upstream_ji",
                "dtable_ni = sum_jk 1[ids_jk = n] upstream_ji / J",
                "dtable_ni = sum_jk 1[ids_jk = n] / K",
                "dtable_ni = -sum_jk 1[ids_jk = n] upstream_ji / K",
            ]
        },
    ),
    "gaussian_mixture": Planted(
        {
            "dz": "upstream * p / N",
            "dlog_weight": "sum(dz, 0)",
            "dmu": "dmu_ji = sum_n dz_nj (x_ni - mu_ji)",
            "dx": "dx_ni = sum_j dz_nj (mu_ji - x_ni)",
        },
        {
            "dz": ["p / N", "upstream * p", "upstream * e / N", "upstream * p * (1 - p) / N"],
            "dlog_weight": ["dz", "mean(dz, 0)", "sum(dz, 1)"],
            "dmu": [
                "dmu_ji = sum_n dz_nj (mu_ji - x_ni)",
                "dmu_ji = sum_n dz_nj x_ni",
                "dmu_ji = 2 sum_n dz_nj (x_ni - mu_ji)",
            ],
            "dx": ["dx_ni = sum_j dz_nj (x_ni - mu_ji)", "dx_ni = sum_j dz_nj mu_ji", "dx_ni = sum_j (mu_ji - x_ni)"],
        },
    ),
}


def planted(names: list[str]) -> Iterator[tuple[str, jbp.Derivation, dict[str, str], str, str]]:
    """Each wrong line: the derivation with its right lines, the line's name and what stands there."""
    for which in names:
        case = SCORE if which == "score" else DERIVABLE[which]
        derived = jbp.derive(case.function, *case.args)
        for name, wrongs in PLANTED[which].wrong.items():
            for wrong in wrongs:
                yield which, derived, PLANTED[which].right, name, wrong


def measure(names: list[str] | None = None) -> dict[str, Any]:
    """How many lines are named, how many repairs are right, and which are not."""
    total, named, mended, missed, unmended = 0, 0, 0, [], []
    for which, derived, right, name, wrong in planted(names or list(PLANTED)):
        found = derived.check(right | {name: wrong})
        others = [line for line in found.lines if line.name != name]
        total += 1
        if (
            found.first_wrong is None
            or found.first_wrong.name != name
            or any(line.verdict not in ("right", "inherits") for line in others)
        ):
            missed.append(f"{which}: {name} = {wrong}")
            continue
        named += 1
        if derived.check(right | {name: found.first_wrong.repair}).passed:
            mended += 1
        else:
            unmended.append(f"{which}: {name} = {wrong}")
    clean = [which for which in names or PLANTED if not _all_right(which)]
    return {"lines": total, "named": named, "repairs right": mended, "missed": missed, "repairs wrong": unmended,
            "right derivations not passed": clean}  # fmt: skip


def _all_right(which: str) -> bool:
    case = SCORE if which == "score" else DERIVABLE[which]
    return jbp.derive(case.function, *case.args).check(PLANTED[which].right).passed


def claim(measured: dict[str, Any]) -> None:
    assert measured["lines"] >= 200
    assert measured["named"] == measured["lines"]
    assert measured["repairs right"] >= 0.9 * measured["lines"]
    assert not measured["right derivations not passed"]


if __name__ == "__main__":
    if sys.argv[1:]:
        print(measure(sys.argv[1:]))
    else:
        report(measure, claim)
