"""The report says whether the formula is proved, beside the numerical verdict, and how the two fit."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from planted import odd, written
from planted.cases import problem
from planted.formulas import by_hand

import jaxbackprop as jbp
from jaxbackprop.verification import table
from jaxbackprop.verification.api import example_problems
from jaxbackprop.verification.proof import Proof, proved

X = np.array([1.0, -2.0, 3.0, -1.5])


def proof_of(name: str) -> Proof:
    return proved(example_problems(jbp.rules()[name]))


@pytest.mark.parametrize(
    "name", ["relu", "selu", "gelu", "layer_norm", "affine", "softmax_cross_entropy", "lstm", "gather", "dropout"]
)
def test_rules_of_the_library_are_proved_and_their_second_derivatives(name: str):
    found = proof_of(name)
    assert found.text.startswith("proved: ")
    assert found.second_order == "proved"
    assert found.chance < -50


def test_both_sides_of_a_branch_are_tried():
    """At positive numbers alone the wrong side of this ReLU would not be seen."""
    wrong = by_hand(jax.nn.relu, lambda s, u: (u * jnp.where(s[0] > 0, 1.0, 0.01),))
    found = jbp.verify(wrong, np.array([1.0, 2.0, 0.5])).proof
    assert found is not None
    assert found.verdict == "refuted"
    assert "(negated); proved at" in found.text
    mixed = jbp.verify(wrong, X).proof
    assert mixed is not None
    assert "right on the other side, wrong where argument 0 < 0" in mixed.text


def test_a_refutation_says_how_it_fits_the_numbers_and_repeats_no_cause():
    report = jbp.verify(by_hand(jnp.sin, lambda s, u: (2 * u * jnp.cos(s[0]),)), X)
    assert report.proof is not None
    assert report.proof.text.endswith("; the formula is wrong")
    assert report.proof.text in str(report)
    assert str(report).count("constant factor 2") == 1
    kept = json.loads(report.to_json())["proof"]
    assert kept["verdict"] == "refuted"
    assert kept["text"] == report.proof.text
    assert "refuted" in table([report, report])


def test_a_fault_that_is_none_of_the_formula_is_said_to_be_none():
    half = by_hand(lambda x: x * x, lambda s, u: ((2 * u * s[0]).astype(jnp.float16).astype(u.dtype),))
    report = jbp.verify(half, X)
    assert report.verdict == "imprecise"
    assert report.proof is not None
    assert report.proof.verdict == "proved"
    assert report.proof.beside.startswith("the arithmetic loses much: float")
    kept = by_hand(lambda x, k: x * k, lambda s, u: (u * s[1], u * s[0]))
    report = jbp.verify(kept, X, np.array([1, 2, 3, 4]))
    assert report.verdict == "wrong"
    assert report.proof is not None
    assert report.proof.verdict == "proved"
    assert "not the formula but something else is wrong" in report.proof.text


@pytest.mark.parametrize(("factor", "verdict"), [(1, "not decided"), (1.1, "refuted")])
def test_a_loop_that_ends_near_its_limit_is_not_refuted_by_the_derivative_of_the_limit(factor: float, verdict: str):
    """Newton's square root: its steps are fractions of x, the derivative by the implicit function one of y."""

    def newton(x: jax.Array) -> jax.Array:
        return lax.fori_loop(0, 50, lambda _, y: (y + x / y) / 2, x)

    @jax.custom_vjp
    def root(x: jax.Array) -> jax.Array:
        return newton(x)

    root.defvjp(lambda x: (newton(x), newton(x)), lambda y, u: (factor * u / (2 * y),))
    report = jbp.verify(root, np.array([0.7, 1.3, 2.9]))
    assert report.passed == (factor == 1), str(report)
    assert report.proof is not None
    assert report.proof.verdict == verdict


def test_a_residual_held_constant_is_refuted_by_the_second_derivative():
    held = by_hand(jnp.sin, lambda s, u: (u * lax.stop_gradient(jnp.cos(s[0])),))
    found = jbp.verify(held, X).proof
    assert found is not None
    assert found.text.startswith("refuted: the second derivative by argument 0")


def test_a_kink_is_a_convention():
    at_one = by_hand(jax.nn.relu, lambda s, u: (u * (s[0] >= 0),))
    report = jbp.verify(at_one, np.array([0.0, 1.0]))
    assert report.verdict == "right"
    assert report.proof is not None
    assert report.proof.at_a_tie
    assert "convention" in report.proof.text
    assert "kink or tie" in table([report])


def test_what_cannot_be_decided_is_named():
    function = lambda x: jnp.linalg.eigvalsh(x + x.T)  # noqa: E731
    rule = by_hand(function, lambda s, u: jax.vjp(function, s[0])[1](u))
    found = jbp.verify(rule, np.array([[1.0, 2.0], [3.0, 5.0]])).proof
    assert found is not None
    assert found.text.startswith("not decided: eigh")


def test_a_report_says_in_a_few_words_that_a_rule_is_proved():
    report = jbp.verify(jbp.rules()["relu"])
    (line,) = (line.strip() for line in str(report).splitlines() if line.startswith("  proof:"))
    assert line.startswith("proof: proved at ")
    assert len(line) < 80


def test_checks_that_are_chosen_come_without_a_proof():
    assert jbp.verify(jbp.rules()["relu"], checks=["gradient"]).proof is None


def test_an_audit_proves_each_rule_at_its_calls():
    def loss(x):
        return (jbp.rules()["relu"](x) ** 2).sum()

    found = jbp.audit(loss, X)
    (site,) = found.sites
    assert "proved" in str(found).splitlines()[1]
    assert site.verification is not None
    assert site.verification.proof is not None
    assert site.verification.proof.verdict == "proved"


SAMPLE = slice(0, None, 4)


def test_planted_faults_of_the_formula_are_refuted():
    """Of the hand-written faults every fourth; those that are proved are faults of something else than the formula."""
    no_fault_of_the_formula = {"naive sigmoid overflows", "half precision inside", "mapped outputs untied",
                               "clipped beyond ten million", "an integer is given a gradient"}  # fmt: skip
    cases = [c for c in written() if c.everywhere][SAMPLE]
    proofs = {case.name: proved([problem(case, "float64")]) for case in cases}
    missed = {name for name, found in proofs.items() if found.verdict == "proved"}
    assert missed <= no_fault_of_the_formula


def test_right_rules_are_refuted_at_kinks_and_ties_alone():
    cases = [c for c in odd() if c.everywhere][SAMPLE]
    proofs = {case.name: proved([problem(case, "float64")]) for case in cases}
    assert [(n, p.text) for n, p in proofs.items() if p.verdict == "refuted" and not p.at_a_tie] == []
