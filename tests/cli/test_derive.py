"""The command `derive`: what it prints and writes, and how it ends."""

import json

SOURCE = """
import jax
import jax.numpy as jnp

def softmax(z):
    p = jax.nn.softmax(z)
    return p

def sort(z):
    return jnp.sort(z)

def args():
    return jnp.arange(12.0).reshape(3, 4) / 5
"""


def test_it_prints_the_derivation_and_writes_what_is_asked_for(run, tmp_path):
    (tmp_path / "loss.py").write_text(SOURCE)
    files = ("--latex", "loss.tex", "--code", "rule.py", "--plain")
    status, out, _ = run("derive", "loss.py:softmax", "--args", "loss.py:args", *files)
    assert status == 0
    assert "Backward  dz_ni = p_ni (upstream_ni - sum_i' p_ni' upstream_ni')" in out
    assert "Verdict   right" in out
    assert r"\begin{align}" in (tmp_path / "loss.tex").read_text()
    assert "softmax.defvjp(softmax_forward, softmax_backward)" in (tmp_path / "rule.py").read_text()

    status, out, _ = run("derive", "loss.py:softmax", "--args", "loss.py:args", "--json")
    assert status == 0
    assert json.loads(out)["verdict"] == "right"
    assert json.loads(out)["proof"] == "proved"


def test_what_cannot_be_derived_is_bad_input(run, tmp_path):
    (tmp_path / "loss.py").write_text(SOURCE)
    status, _, err = run("derive", "loss.py:sort", "--args", "loss.py:args")
    assert status == 2
    assert "the primitive sort has no derivation" in err
