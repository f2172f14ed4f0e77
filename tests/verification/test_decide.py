"""What is hard but right, and what is slight but wrong: verdicts through the public surface."""

import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.experimental import pallas as pl
from planted.formulas import by_hand

from jaxbackprop.verification import audit, verify
from jaxbackprop.verification.decide import Oracle, Row, Verdict, decide, decide_arithmetic

rng = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return rng.normal(size=shape).astype(np.float32)


def attention(q: Any, k: Any, v: Any) -> Any:
    return jax.nn.softmax(q @ k.T) @ v


def flash(q: Any, k: Any, v: Any) -> Any:
    """Dao et al. 2022: keeps the log-sum-exp of each row, not the weights."""
    s = q @ k.T
    lse = jax.nn.logsumexp(s, -1, keepdims=True)
    o = jnp.exp(s - lse) @ v
    return o, (q, k, v, o, lse)


def flash_backward(residuals: Any, do: Any) -> Any:
    q, k, v, o, lse = residuals
    p = jnp.exp(q @ k.T - lse)
    delta = (do * o).sum(-1, keepdims=True)
    ds = p * (do @ v.T - delta)
    return ds @ k, ds.T @ q, p.T @ do


@pytest.mark.parametrize(("rows", "factor"), [(5, 1), (20, 1), (5, 30)])
def test_flash_attention_by_the_book_is_right(rows: int, factor: int):
    """At 30 times the scores softmax saturates, the plain program's rounding is 0, and the handwritten one's is not."""
    made = by_hand(attention, flash_backward, flash)
    args = factor * normal(rows, 8), normal(rows, 8), normal(rows, 8)
    assert verify(made, *args, checks=["forward_pass", "gradient", "precision", "second_order"]).passed


def test_flash_attention_without_its_delta_is_wrong():
    def careless(residuals: Any, do: Any) -> Any:
        q, k, v, _, lse = residuals
        p = jnp.exp(q @ k.T - lse)
        ds = p * (do @ v.T)
        return ds @ k, ds.T @ q, p.T @ do

    made = by_hand(attention, careless, flash)
    assert verify(made, normal(5, 8), normal(5, 8), normal(5, 8), checks=["gradient"]).verdict == "wrong"


@pytest.mark.parametrize(
    ("factor", "dtype"),
    [(1.5, jnp.bfloat16), (1.1, jnp.bfloat16), (1.03, jnp.bfloat16), (1.001, np.float32), (1.00001, np.float32)],
)
def test_a_factor_in_one_precision_alone_is_wrong(factor: float, dtype: Any):
    made = by_hand(jnp.sin, lambda s, u: (u * jnp.cos(s[0]) * (factor if s[0].dtype == dtype else 1),))
    found = verify(made, normal(5), checks=["gradient", "precision"])
    assert [c.name for c in found.failures] == [np.dtype(dtype).name]


def test_a_sum_in_too_narrow_a_type_is_seen_with_upstream_gradients_of_one_sign():
    """1,024 terms added up in bfloat16: the mean of a random upstream gradient is 0, and nothing is lost but noise."""

    def plain(p: Any, v: Any) -> Any:
        return jnp.matmul(p, v, preferred_element_type=jnp.float32).astype(v.dtype)

    def summed_in(accumulator: Any) -> Any:
        def backward(saved: Any, u: Any) -> Any:
            p, v = saved
            zero = jnp.zeros(v.shape, accumulator or u.dtype)
            dv, _ = lax.scan(lambda a, x: (a + jnp.outer(*x).astype(a.dtype), None), zero, (p, u))
            return jnp.matmul(u, v.T, preferred_element_type=jnp.float32).astype(p.dtype), dv.astype(v.dtype)

        return by_hand(plain, backward)

    weights = np.asarray(jax.nn.softmax(jnp.asarray(normal(1024, 8))), np.float32)
    args = weights, normal(8, 4)
    narrow, wide = (verify(summed_in(a), *args, checks=["precision"]) for a in (None, jnp.float32))
    assert "bfloat16" in [c.name for c in narrow.failures]
    assert wide.passed


@pytest.mark.parametrize("relative", [1e-5, 1e-7, 1e-9, 1e-11])
def test_a_relative_error_is_wrong_in_float64(relative: float):
    made = by_hand(jnp.sin, lambda s, u: (u * jnp.cos(s[0]) * (1 + relative),))
    assert verify(made, normal(5), checks=["gradient"]).verdict == "wrong"


def normalised(eps: float) -> Any:
    return lambda x: x * lax.rsqrt((x * x).mean(-1, keepdims=True) + eps)


@pytest.mark.parametrize(("eps", "verdict"), [(1e-6, "right"), (1.001e-6, "wrong")])
def test_another_epsilon_is_wrong(eps: float, verdict: str):
    def backward(s: Any, u: Any) -> Any:
        x, r = s[0], lax.rsqrt((s[0] * s[0]).mean(-1, keepdims=True) + eps)
        return (r * (u - x * r * r * (u * x).mean(-1, keepdims=True)),)

    assert verify(by_hand(normalised(1e-6), backward), normal(2, 6), checks=["gradient"]).verdict == verdict


RIGHT = {
    "a saturated softmax": (
        by_hand(
            jax.nn.softmax,
            lambda p, u: (p * (u - (p * u).sum(-1, keepdims=True)),),
            lambda x: (jax.nn.softmax(x),) * 2,
        ),
        (60 * normal(3, 6),),
    ),
    "a quotient of tiny numbers": (
        by_hand(lambda x, s: x / s, lambda r, u: (u / r[1], -u * r[0] / r[1] ** 2)),
        (normal(4), 1e-18 * normal(4)),
    ),
    "a naive variance far from zero": (
        by_hand(lambda x: (x * x).mean() - x.mean() ** 2, lambda s, u: (u * 2 * (s[0] - s[0].mean()) / s[0].size,)),
        (1e3 + normal(8),),
    ),
    "tanh by its output, saturated": (
        by_hand(jnp.tanh, lambda y, u: (u * (1 - y * y),), lambda x: (jnp.tanh(x),) * 2),
        (rng.uniform(6, 9, 6).astype(np.float32),),
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_rounding_makes_hard_is_right(name: str):
    made, args = RIGHT[name]
    assert verify(made, *args, checks=["forward_pass", "gradient", "precision"]).failures == ()


def conv2d(x: Any, w: Any) -> Any:
    return lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def conv2d_backward(s: Any, u: Any) -> Any:
    x, w = s
    numbers = ("NHWC", "HWIO", "NHWC")
    dx = lax.conv_general_dilated(u, w[::-1, ::-1].swapaxes(2, 3), (1, 1), "SAME", dimension_numbers=numbers)
    dw = lax.conv_general_dilated(x, u, (1, 1), ((1, 1), (1, 1)), dimension_numbers=("CHWN", "IHWO", "HWNC"))
    return dx, dw


def test_a_convolution_is_right_also_under_vmap():
    made = by_hand(conv2d, conv2d_backward)
    args = normal(2, 6, 5, 3), normal(3, 3, 3, 4)
    verify(made, *args, checks=["forward_pass", "gradient", "precision", "vmap"]).raise_if_failed()


def softmax_kernel(x_ref: Any, o_ref: Any) -> None:
    x = x_ref[...]
    e = jnp.exp(x - x.max(-1, keepdims=True))
    o_ref[...] = e / e.sum(-1, keepdims=True)


def by_pallas(x: Any) -> Any:
    return pl.pallas_call(softmax_kernel, out_shape=jax.ShapeDtypeStruct(x.shape, x.dtype), interpret=True)(x)


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "right"), (1.01, "wrong")])
def test_a_pallas_kernel_is_judged(factor: float, verdict: str):
    made = jax.custom_vjp(lambda x: by_pallas(x))
    made.defvjp(
        lambda x: (lambda p: (p, p))(by_pallas(x)), lambda p, u: (factor * p * (u - (p * u).sum(-1, keepdims=True)),)
    )
    checks = ["forward_pass", "gradient", "linear_in_the_upstream", "precision"]

    assert verify(made, normal(4, 8), reference=jax.nn.softmax, checks=checks).verdict == verdict


def test_a_wrong_rule_in_a_scan_of_a_hundred_steps_is_named():
    wrong = by_hand(jnp.sin, lambda s, u: (-u * jnp.cos(s[0]),))
    found = audit(lambda x: lax.scan(lambda c, _: (wrong(c), None), x, None, length=100)[0].sum(), normal(3))
    (site,) = found.sites
    assert (site.calls, site.verdict) == (100, "wrong")


def test_checks_are_chosen_by_name():
    made = by_hand(jnp.sin, lambda s, u: (u * jnp.cos(s[0]),))
    assert {c.check for c in verify(made, normal(3), checks=["gradient", "vmap"]).checks} == {"gradient", "vmap"}
    with pytest.raises(ValueError, match=r"no check called gradients.*forward_pass"):
        verify(made, normal(3), checks=["gradients"])


def row(**known: Any) -> Row:
    return Row(**{"actual": 2.0, "autodiff": 1.0, "tolerance": 1e-12, **known})


@pytest.mark.parametrize(
    ("known", "answer"),
    [
        ({"actual": 1.0}, Verdict.RIGHT),
        ({}, Oracle.NUMERICAL),
        ({"autodiff_is_law": True}, Verdict.WRONG),
        ({"numerical": (1.0, 1e-9)}, Verdict.WRONG),
        ({"numerical": (2.0, 1e-9)}, Verdict.RIGHT),
        ({"numerical": (1.5, 1.0)}, Oracle.DIGITS),
        ({"numerical": (1.5, 1.0), "digits": 2.0}, Verdict.RIGHT),
        ({"numerical": (1.5, 1.0), "digits": 1.0}, Oracle.DIFFERENCES_IN_DIGITS),
        ({"numerical": (1.5, 1.0), "digits": 1.0, "exact": 2.0}, Verdict.RIGHT),
        ({"numerical": (1.5, 1.0), "digits": 1.0, "exact": 1.0}, Verdict.WRONG),
        ({"numerical": (1.5, 1.0), "kinked": True}, Oracle.INTERVAL),
        ({"numerical": (1.5, 1.0), "kinked": True, "interval": (0.0, 2.0)}, Verdict.RIGHT),
        ({"numerical": (1.5, 1.0), "kinked": True, "interval": (0.0, 1.0)}, Verdict.WRONG),
        ({"autodiff": np.nan, "numerical": (2.0, 1e-9)}, Verdict.RIGHT),
        ({"autodiff": np.nan, "numerical": (3.0, 1e-9)}, Verdict.WRONG),
        ({"autodiff": np.nan, "numerical": (np.nan, np.inf), "digits": np.nan, "exact": np.nan}, Verdict.UNDECIDED),
        ({"actual": 1.0, "along": True}, Oracle.NUMERICAL),
        ({"actual": 1.0, "along": True, "numerical": (1.0, 1e-9)}, Verdict.RIGHT),
    ],
)
def test_the_order_of_trust(known: dict[str, Any], answer: Verdict | Oracle):
    decision = decide(row(**known))
    assert (decision.verdict or decision.needs) is answer


@pytest.mark.parametrize("function", [decide, decide_arithmetic])
def test_the_page_on_verdicts_says_whom_the_decision_trusts(function: Any):
    page = " ".join((Path(__file__).parents[2] / "docs" / "verdicts.md").read_text().split())
    steps = re.findall(r"^ *\d\. (.*?)(?=^ *\d\. |\Z)", function.__doc__ or "", re.DOTALL | re.MULTILINE)
    assert len(steps) > 2
    for step in steps:
        assert " ".join(step.split()) in page
