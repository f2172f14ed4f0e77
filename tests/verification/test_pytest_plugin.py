"""The pytest plugin, in a pytest of its own."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

MARKED = """
import jax, jax.numpy as jnp, numpy as np, pytest

def made(factor):
    f = jax.custom_vjp(jnp.sin)
    f.defvjp(lambda x: (jnp.sin(x), x), lambda x, u: (factor * u * jnp.cos(x),))
    return f

@pytest.mark.verify_rule
def test_right():
    return made(1), (np.array([0.3, 1.1]),)

@pytest.mark.verify_rule(reference=jnp.cos, checks=["forward_pass"])
def test_another_reference():
    return made(1), (np.array([0.3, 1.1]),)

@pytest.mark.verify_rule
def test_wrong():
    return made(2), (np.array([0.3, 1.1]),)
"""

RULES = """
from jaxtyping import Array, Float
from jaxbackprop.core.rule import WithResiduals, rule

@rule
def doubled(x: Float[Array, "..."]) -> WithResiduals[Float[Array, "..."]]:
    return 2 * x, None

@doubled.backward
def doubled_backward(saved, upstream):
    return 2 * upstream

@rule
def tripled(x: Float[Array, "..."]) -> WithResiduals[Float[Array, "..."]]:
    return 3 * x, None

@tripled.backward
def tripled_backward(saved, upstream):
    return -3 * upstream
"""


PLAIN = """
import jax

@jax.custom_vjp
def plain(x):
    return 2 * x

plain.defvjp(lambda x: (2 * x, None), lambda _, u: (2 * u,))
"""

FORGETFUL = """
import numpy as np, pytest
from jaxbackprop import assert_verified, gates

@pytest.mark.verify_rule
def test_returns_nothing():
    gates.sin(np.ones(2))

def test_asserts():
    assert_verified(gates.sin.with_backward(lambda x, u: -u), np.ones(2))
"""


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    plugin = ("-p", "no:jaxbackprop", "-p", "jaxbackprop.verification.pytest_plugin", "-p", "no:cacheprovider")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugin, *arguments],
        cwd=folder,
        env={"PYTHONPATH": f"{ROOT}:{folder}", "PATH": "/usr/bin:/bin", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_marked_test_verifies_what_it_returns_and_a_package_is_collected(tmp_path: Path):
    (tmp_path / "test_marked.py").write_text(MARKED)
    (tmp_path / "ruleful.py").write_text(RULES)
    found = run(tmp_path, "--verify-rules", "ruleful")
    assert "3 failed, 2 passed" in found.stdout, found.stdout + found.stderr
    assert "pytest_plugin.py" not in found.stdout
    assert "constant factor 2" in found.stdout
    assert "its value is not that of the plain function" in found.stdout
    assert "tripled: wrong" in found.stdout
    assert "sign: minus the truth" in found.stdout


def test_what_cannot_be_verified_says_why(tmp_path: Path):
    """A plain custom_vjp is not passed over in silence; tests say what they must return; no frame of ours is shown."""
    (tmp_path / "test_forgetful.py").write_text(FORGETFUL)
    (tmp_path / "plain_rules.py").write_text(PLAIN)
    found = run(tmp_path, "-rs", "--verify-rules", "plain_rules")
    assert "2 failed, 1 skipped" in found.stdout, found.stdout + found.stderr
    assert "not examined: its arguments are not known" in found.stdout
    assert "returns the function and a tuple of its arguments" in found.stdout
    assert "this one returned None" in found.stdout
    assert "verification/api.py" not in found.stdout
    assert "verification/report.py" not in found.stdout


def test_a_package_that_is_not_there_is_one_line(tmp_path: Path):
    found = run(tmp_path, "--verify-rules", "no_such_package")
    assert found.returncode == 4
    assert "--verify-rules no_such_package: No module named 'no_such_package'" in found.stderr
