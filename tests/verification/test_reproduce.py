"""`report.reproduce`: what a failure is seen again with, in another process."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from planted.formulas import by_hand

from jaxbackprop.gates.sigmoid_like import sigmoid
from jaxbackprop.verification import audit, verify

RULES = """
import jax
import jax.numpy as jnp
import jaxbackprop as jbp


def custom(primal, backward):
    fun = jax.custom_vjp(lambda *args: primal(*args))
    fun.defvjp(lambda *args: (primal(*args), args), backward)
    return fun


@jax.custom_vjp
def forgets_the_norm(x, scale):
    return x * jax.lax.rsqrt((x**2).mean(-1, keepdims=True) + 1e-6) * scale


def forward(x, scale):
    r = jax.lax.rsqrt((x**2).mean(-1, keepdims=True) + 1e-6)
    return x * r * scale, (x, r, scale)


def backward(residuals, upstream):
    x, r, scale = residuals
    return upstream * scale * r, (upstream * x * r).sum(0)


forgets_the_norm.defvjp(forward, backward)

last_column = custom(jnp.square, lambda s, u: ((2 * u * s[0]).at[:, -1].multiply(-1),))
negative = custom(jnp.square, lambda s, u: (2 * u * jnp.abs(s[0]),))
second = custom(jnp.sin, lambda s, u: (u * jnp.cos(jax.lax.stop_gradient(s[0])),))
narrow = custom(lambda x: x * 1.0, lambda s, u: ((u + u * jnp.asarray(100, u.dtype)) - u * jnp.asarray(100, u.dtype),))


def affine(params, x, kind):
    return {"y": x @ params["W"] + params["b"]}


trees = jax.custom_vjp(affine, nondiff_argnums=(2,))
trees.defvjp(
    lambda params, x, kind: (affine(params, x, kind), (params, x)),
    lambda kind, s, u: ({"W": s[1].T @ u["y"], "b": u["y"].mean(0)}, u["y"] @ s[0]["W"].T),
)
scaled = jbp.rules()["leaky_relu"].with_backward(lambda saved, upstream: upstream)
"""

x = np.random.default_rng(0).normal(size=(3, 5))
ALL_RUN = """
import runpy, sys
for path in sys.argv[1:]:
    try:
        runpy.run_path(path, run_name="__main__")
    except AssertionError as error:
        print(type(error).__name__)
    else:
        print("nothing failed in", path)
"""


@pytest.fixture(scope="module")
def rules(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rules")
    (folder / "rules_in_a_file.py").write_text(RULES)
    sys.path.insert(0, str(folder))
    yield importlib.import_module("rules_in_a_file")
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def written(rules) -> dict[str, str]:
    params = {"W": x.T[:, :2], "b": np.ones(2)}
    reports = {
        "gradient": verify(rules.forgets_the_norm, x, np.ones(5), checks=["gradient"]),
        "another point": verify(rules.negative, np.abs(x), checks=["other_points"]),
        "no numbers": verify(rules.second, x[0], checks=["second_order"]),
        "a narrow type": verify(rules.narrow, x[0], checks=["precision"]),
        "trees": verify(rules.trees, params, x, "kind", checks=["gradient"]),
        "a setting": verify(rules.scaled, x, negative_slope=0.2, checks=["gradient"]),
        "in a program": audit(lambda x: jnp.sum(rules.last_column(x)), x).sites[0].verification,
    }
    for name, report in reports.items():
        assert not report.passed, name
    return {name: report.reproduce for name, report in reports.items()}


def test_a_failure_is_seen_again_in_another_process(written, tmp_path):
    for name, program in written.items():
        (tmp_path / f"{name}.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "-c", ALL_RUN, *(str(tmp_path / f"{name}.py") for name in written)],
        capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    failed = dict(zip(written, done.stdout.splitlines(), strict=True))
    by_numbers = {k: "AssertionError" for k in written if k != "no numbers"}
    assert failed == {**by_numbers, "no numbers": "VerificationError"}, written


def test_the_example_is_small_and_plain(written):
    program = written["gradient"]
    assert re.search(r"^x = jnp.array\(\[\[-?\d\.\d\]\]\)$", program, re.MULTILINE), program
    assert "from rules_in_a_file import forgets_the_norm" in program
    assert "jaxbackprop" not in program  # for a bug report to others


def test_a_wrong_element_stays_where_it_shows():
    large = by_hand(jnp.square, lambda s, u: ((2 * u * s[0]).at[7, 11].multiply(-1),))
    report = verify(large, np.random.default_rng(0).normal(size=(9, 13)), checks=["gradient"])
    assert "that element alone of 117" in report.failures[0].detail
    assert "[7, 11]" in report.reproduce
    assert "np.linspace" in report.reproduce


def test_a_function_that_cannot_be_imported_is_said_to_be_one():
    @jax.custom_vjp
    def here(x):
        return x**2

    here.defvjp(lambda x: (x**2, x), lambda x, u: (u * x,))
    program = verify(here, 3.0, checks=["gradient"]).reproduce
    assert f"here = ...  # here, defined in {__file__}" in program
    assert "cannot be imported: put its definition here" in program


def test_the_call_of_a_registered_rule_needs_no_arguments():
    wrong = sigmoid.with_backward(lambda a, upstream: upstream * a)
    (worst,) = verify(wrong, checks=["gradient"]).failures
    assert worst.again == 'verify(sigmoid, checks=["gradient"])'
    assert verify(sigmoid, checks=["structure"]).reproduce == ""


@pytest.mark.parametrize(("end", "imported"), [("verify(...)", False), ('if __name__ == "__main__":\n    ...', True)])
def test_a_script_is_imported_only_where_that_does_not_run_it(end: str, imported: bool, tmp_path, monkeypatch):
    script = tmp_path / "my_script.py"
    script.write_text(f"doubled = None\n{end}\n")
    main = ModuleType("__main__")
    main.__dict__.update(__file__=str(script), doubled=by_hand(jnp.sin, lambda s, u: (2 * u * jnp.cos(s[0]),)))
    monkeypatch.setitem(sys.modules, "__main__", main)
    program = verify(main.doubled, 0.5, checks=["gradient"]).reproduce
    assert ("from my_script import doubled" in program) == imported
    assert ("put its definition here" in program) != imported
