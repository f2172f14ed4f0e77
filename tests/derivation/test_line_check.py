"""A learner's lines: right ones in every notation pass, of planted wrong ones the first is named and mended."""

import ast
import copy
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivable import DERIVABLE, score

import jaxbackprop as jbp

MLP = DERIVABLE["score_of_one"]


_rng = np.random.default_rng(0)
ARGS = tuple(jnp.asarray(_rng.normal(size=s), jnp.float32) for s in ((3, 5), (5, 4), (4,), (4, 7), (7,), (7,)))
SCORE = jbp.derive(score, *ARGS)
SOFTMAX = jbp.derive(DERIVABLE["softmax"].function, *DERIVABLE["softmax"].args)
RIGHT = {
    "dz2": "outer(upstream, U) * a2 * (1 - a2)",
    "dU": "a2.T @ upstream",
    "db2": "sum(dz2, 0)",
    "dW2": "a1.T @ dz2",
    "dz1": "(dz2 @ W2.T) * a1 * (1 - a1)",
    "db1": "dz1.sum(0)",
    "dW1": "einsum('ni,nj->ij', x, dz1)",
    "dx": "dz1 @ W1.T",
}


def test_right_lines_are_right_in_every_notation():
    assert SCORE.check(RIGHT).passed
    of_one = jbp.derive(MLP.function, *MLP.args)
    lecture = {
        "delta2": "delta2 = upstream U o a2 o (1 - a2)",
        "delta1": "delta1 = a1 o (1 - a1) o W2^T delta2",
        "dW2": "delta2 a1^T",
        "dL/dW1": "delta1 x^T",
        "grad_b1": "delta1",
        "da1": "W2^T delta2",
    }
    assert of_one.check(lecture).passed, of_one.check(lecture)
    by_index = {
        "dz2": "dz2_nk = upstream_n U_k a2_nk (1 - a2_nk)",
        "dW2": "dW2_jk = sum_n a1_nj dz2_nk",
        "dx": "sum_j W1_ij dz1_nj",
    }
    assert SCORE.check(by_index).passed, SCORE.check(by_index)


@pytest.mark.parametrize("name", ["layer_norm", "attention", "cross_entropy_of_labels", "mlp"])
def test_its_own_lines_are_right(name):
    case = DERIVABLE[name]
    derived = jbp.derive(case.function, *case.args)
    lines = [line.split("Backward")[-1].strip() for line in str(derived).splitlines()]
    own = {line.split("_")[0].split(" ")[0]: line for line in lines if line.startswith("d") and " = " in line}
    assert own
    assert derived.check(own).passed, derived.check(own)


HABITS = [
    ("dz1", "(dz2 @ W2) * a1 * (1 - a1)", "W2 must be transposed"),
    ("dz1", "(dz2 @ W2.T) * a1", "1 - a1"),
    ("dz1", "(dz2 @ W2.T) * (1 - a1**2)", ""),
    ("dz1", "(da2 @ W2.T) * a1 * (1 - a1)", "dz2 belongs where da2 stands"),
    ("dz1", "(dz2 @ W2.T) * z1 * (1 - z1)", ""),
    ("dW1", "x @ dz1.T", ""),
    ("dW1", "dz1.T @ x", ""),
    ("dW1", "x.T @ dz1 / N", "N is one too many"),
    ("dW1", "x.T @ da1", "dz1 belongs where da1 stands"),
    ("db1", "dz1", "a sum over axis 0 of dz1 is missing"),
    ("db1", "dz1.mean(0)", ""),
    ("db2", "dz2.sum(1)", ""),
    ("dz2", "-outer(upstream, U) * a2 * (1 - a2)", "its sign"),
    ("dz2", "U * a2 * (1 - a2)", "upstream"),
    ("dz2", "outer(upstream, U) * a2 * (a2 - 1)", ""),
    ("dz2", "dz2_nk = upstream_n U_k a2_nk", "(1 - a2) is missing"),
    ("dx", "dz1 @ W1", "W1 must be transposed"),
    ("dU", "a2 @ upstream", "a2 must be transposed"),
    ("dU", "a1.T @ upstream", "a2 belongs where a1 stands"),
    ("dW2", "a2.T @ dz2", "a1 belongs where a2 stands"),
]


@pytest.mark.parametrize(("name", "wrong", "says"), HABITS)
def test_a_wrong_line_is_named_and_what_is_wrong_in_it(name, wrong, says):
    found = SCORE.check(RIGHT | {name: wrong})
    assert found.first_wrong is not None
    assert found.first_wrong.name == name
    assert says in found.first_wrong.detail, found
    assert SCORE.check({name: found.first_wrong.repair}).passed
    assert all(line.verdict in ("right", "inherits") for line in found.lines if line.name != name)


def test_lines_that_only_inherit_an_error_are_told_apart():
    found = SCORE.check(RIGHT | {"dz2": "outer(upstream, U) * a2"})
    assert {line.name for line in found.lines if line.verdict == "inherits"} == {
        "dz1",
        "db2",
        "dW2",
        "db1",
        "dW1",
        "dx",
    }
    assert found["dU"].verdict == "right"


def test_arrays_are_compared_and_inherit_too():
    gradients = jax.grad(lambda *a: score(*a).sum(), tuple(range(6)))(*ARGS)
    names = ("dx", "dW1", "db1", "dW2", "db2", "dU")
    arrays: dict[str, jax.Array] = dict(zip(names, gradients, strict=True))
    assert SCORE.check(arrays).passed
    doubled = SCORE.check(arrays | {"dW1": 2 * arrays["dW1"], "db1": arrays["db1"][:2]})
    assert doubled["dW1"].detail == "the factor 2 is one too many"
    assert "its shape" in doubled["db1"].detail
    assert doubled["dW2"].verdict == "right"

    a1 = jax.nn.sigmoid(ARGS[0] @ ARGS[1] + ARGS[2])
    dz2 = -jnp.outer(jnp.ones(3), ARGS[5])  # the sigmoid is forgotten
    inherited = SCORE.check({"dz2": dz2, "dW2": a1.T @ dz2, "db2": dz2.sum(0)})
    assert [line.verdict for line in inherited.lines] == ["wrong", "inherits", "inherits"]


def test_a_line_that_needs_a_condition_says_which():
    case = DERIVABLE["cross_entropy"]
    general = jbp.derive(case.function, *case.args)
    found = general.check({"dz": "upstream * (p - y) / N"})
    assert found["dz"].verdict == "conditional"
    assert found["dz"].detail == "if each row of y sums to 1"
    assert not found.passed
    missing = general.check({"dz": "upstream * (p - y)"})
    assert "N is missing" in missing["dz"].detail
    assert jbp.derive(case.function, *case.args, sums_to_one=("y",)).check({"dz": "upstream * (p - y) / N"}).passed


def mutants(text: str) -> Iterator[str]:
    """The formula with one slip: a transpose, a factor or a term dropped, a sign, an order, a sum."""
    tree = ast.parse(text, mode="eval")

    def changed(place: int, change: Callable) -> str:
        made = copy.deepcopy(tree)
        node = list(ast.walk(made))[place]
        for parent in ast.walk(made):
            for name, value in ast.iter_fields(parent):
                if value is node:
                    setattr(parent, name, change(node))
                elif isinstance(value, list) and node in value:
                    value[value.index(node)] = change(node)
        return ast.unparse(ast.fix_missing_locations(made))

    for place, node in enumerate(ast.walk(tree)):
        match node:
            case ast.Attribute(attr="T"):
                yield changed(place, lambda n: n.value)
            case ast.BinOp(op=ast.Mult()):
                yield changed(place, lambda n: n.left)
                yield changed(place, lambda n: n.right)
            case ast.BinOp(op=ast.Sub()):
                yield changed(place, lambda n: n.left)
                yield changed(place, lambda n: ast.BinOp(n.left, ast.Add(), n.right))
            case ast.BinOp(op=ast.MatMult()):
                yield changed(place, lambda n: ast.BinOp(n.right, n.op, n.left))
            case ast.Call(func=ast.Name(id="sum")):
                yield changed(place, lambda n: n.args[0])
    yield f"-({text})"


def test_every_mutant_is_named_and_mended():
    softmax = {"dz": "p * (upstream - sum(p * upstream, 1, keepdims=1))"}
    planted = [(SOFTMAX, softmax, "dz", m) for m in mutants(softmax["dz"])]
    planted += [(SCORE, RIGHT, name, m) for name in ("dz2", "dz1", "dW2") for m in mutants(RIGHT[name])]
    assert len(planted) > 25
    for derived, right, name, wrong in planted:
        found = derived.check(right | {name: wrong}).first_wrong
        assert found is not None, wrong
        assert found.name == name
        assert derived.check({name: found.repair}).passed, wrong


def test_a_right_line_is_right_also_where_some_points_are_outside_the_domain():
    def entropy_of_a_bit(x):
        h = jnp.log(1 - x**2)
        return h

    derived = jbp.derive(entropy_of_a_bit, jnp.array([0.1, 0.2, -0.3, 0.4]))
    assert derived.proof.verdict == "proved"
    assert derived.check({"dx": "-2 * upstream * x / (1 - x**2)"}).passed
    assert derived.check({"dx": "2 * upstream * x / (1 - x**2)"}).first_wrong is not None


def test_what_is_no_formula_is_wrong_and_says_why():
    found = SCORE.check({"dz1": "__import__('os')", "dz2": "upstream +", "dW1": "x.T @ nothing"})
    assert "there is no __import__" in found["dz1"].detail
    assert "cannot be read" in found["dz2"].detail
    assert "belongs where nothing stands" in found["dW1"].detail or "there is no nothing" in found["dW1"].detail
    with pytest.raises(ValueError, match=r"dq is no delta of this derivation\. There are ds, da2, dz2"):
        SCORE.check({"dq": "x"})
