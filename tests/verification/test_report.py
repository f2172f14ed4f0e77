"""The report of `verify`, and what is refused with a sentence in place of a report."""

import json
import pickle
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from planted.formulas import by_hand

from jaxbackprop.verification import verify

x = np.array([0.7, -1.2, 0.4])
wrong_sine = by_hand(jnp.sin, lambda s, u: (-u * jnp.cos(s[0]),))
square = by_hand(jnp.square, lambda s, u: (2 * u * s[0],))


@pytest.fixture(scope="module")
def report():
    return verify(wrong_sine, x, checks=["forward_pass", "gradient"])


def test_the_first_screen_says_verdict_cause_number_place_and_what_to_run(report):
    first, cause, number, again, *_ = str(report).splitlines()
    assert ": wrong" in first
    assert cause == "  likely cause: sign: minus the truth"
    assert number.startswith("  gradient of argument 0: argument 0[")
    assert number.endswith("; wrong: all 3 elements")
    assert again == '  run again: verify(wrong_sine, argument_0, checks=["gradient"])'


def test_every_row_says_what_was_asked_or_found(report):
    assert "The value is that of the plain function." in str(report)
    assert all(check.claim for check in report.checks)
    assert "The value is that of the plain function." in report._repr_html_()


def test_the_json_holds_the_program_that_shows_the_failure(report):
    read = json.loads(report.to_json())
    assert read["verdict"] == "wrong"
    assert "jax.vjp(wrong_sine" in read["reproduce"]
    assert read["checks"][1]["again"] == 'verify(wrong_sine, argument_0, checks=["gradient"])'


def test_a_report_goes_to_another_process_with_its_program(report):
    assert pickle.loads(pickle.dumps(report)).reproduce == report.reproduce != ""


def test_a_narrow_sum_is_imprecise_and_fails_only_where_autodiff_is_better():
    """The gradient of a row that was gathered many times, added up in bfloat16: the plain program does the same."""
    ids = np.zeros(4096, np.int32)
    table = np.ones((3, 2), np.float32)

    def gather(table):
        return table[ids]

    def one_by_one(s, u):
        return (jax.lax.fori_loop(0, 4096, lambda i, g: g.at[0].add(u[i]), jnp.zeros((3, 2), u.dtype)),)

    def in_bfloat16(s, u):
        (g,) = one_by_one(s, u.astype(jnp.bfloat16))
        return (g.astype(u.dtype),)

    same = verify(by_hand(gather, one_by_one), table, checks=["precision"])
    assert (same.verdict, same.passed) == ("imprecise", True), str(same)
    assert not same.strict().passed
    worse = verify(by_hand(gather, in_bfloat16), table, checks=["precision"])
    assert not worse.passed


def test_an_empty_function_is_not_examined():
    for fun, args in (
        (square, (np.arange(3),)),
        (square, (np.zeros((0, 2)),)),
        (by_hand(jnp.argmax, lambda s, u: (0 * s[0],)), (x,)),
    ):
        found = verify(fun, *args)
        assert (found.verdict, found.passed, found.checks) == ("not examined", False, ())
        assert "floating-point" in str(found)


def test_nonsense_is_answered_with_what_is_expected():
    nothing = by_hand(lambda x: None, lambda s, u: (s[0],))
    with pytest.raises(TypeError, match=r"no array and no float, but 3.*\n.*verify\(.*, 3\.0\)"):
        verify(square, 3)
    with pytest.raises(TypeError, match="returns nothing; expected a function that returns arrays"):
        verify(nothing, x)
    with pytest.raises(TypeError, match=r"inside jax\.jit"):
        jax.jit(lambda x: verify(square, x))(x)
    with pytest.raises(TypeError, match=r"inside jax\.jit"):
        jax.jit(lambda y: verify(square, x))(x)


def test_the_callers_settings_are_neither_felt_nor_changed():
    def noisy(s, u):
        warnings.warn("look at me", stacklevel=1)
        return (2 * u * s[0],)

    with jax.transfer_guard("disallow"), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert verify(by_hand(jnp.square, noisy), x, checks=["gradient", "jit", "vmap"]).passed
    assert caught == []


def test_at_the_time_limit_the_verdict_is_partial_and_says_so():
    found = verify(square, x, time_limit=0.0)
    assert (found.verdict, found.passed) == ("undecided", False)
    assert "reached before these checks were made or completed: forward pass, gradient" in str(found)
    assert verify(square, x, checks=["structure"], time_limit=600).verdict == "right"
