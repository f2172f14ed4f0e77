"""Every result is displayed in a notebook, its texts escaped, and is one short line in the interpreter."""

from html.parser import HTMLParser

import jax.numpy as jnp
import numpy as np
import pytest

import jaxbackprop as jbp
from jaxbackprop.benchmarking.results import Row
from jaxbackprop.core.html_table import html_table
from jaxbackprop.training.history import Epoch, History
from jaxbackprop.verification.audit import Site
from jaxbackprop.verification.checks.result import CheckResult

MARKUP = "a<b>&c"


class Reader(HTMLParser):
    """The texts of a page, and the tags left open."""

    def __init__(self, text: str):
        super().__init__()
        self.texts, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag not in ("br", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture(scope="module")
def results():
    wrong = CheckResult(False, f"expected 1, got 2 {MARKUP}", "gradient", check="gradient")
    verification = jbp.Verification(MARKUP, (wrong, CheckResult(True, name="vmap")), "file.py:3", likely_cause="sign")
    epochs = tuple(Epoch(k, 1 / k, 0.5, None, None, 1.0, 100.0) for k in (1, 2))
    circuit = jbp.trace(lambda x, b: jnp.tanh(x + b).sum(), jnp.ones(3), jnp.zeros(3))
    rows = tuple(Row(name, "B=1", 1.0, 0.1, 0.5, None, False) for name in ("by hand", "autodiff"))
    return {
        "Verification": verification,
        "Audit": jbp.Audit((Site(MARKUP, "file.py:3", 2, verification),)),
        "Site": Site(MARKUP, "file.py:3", 2, verification),
        "Check": wrong,
        "Circuit": circuit,
        "Health": circuit.health(),
        "Checked": circuit.check({"x": np.zeros(3)}),
        "Benchmark": jbp.Benchmark(MARKUP, rows, {"B=1": "float32[1]"}),
        "History": History(epochs, epochs[1], False, None),
        "Derivation": jbp.derive(lambda x: jnp.sum(jnp.tanh(x)), jnp.ones(3)),
    }


def test_every_result_is_one_short_line_in_the_interpreter(results):
    for name, result in results.items():
        assert len(repr(result)) < 160, name
        assert "\n" not in repr(result), name
        assert repr(result).startswith("<"), name


def test_every_result_is_displayed_and_its_texts_are_no_markup(results):
    for name in set(results) - {"Site", "Check"}:
        shown = results[name]._repr_html_()
        page = Reader(shown)
        assert page.open == [], name
        assert "a<b>" not in shown, name
    texts = {
        name: " ".join(Reader(results[name]._repr_html_()).texts) for name in ("Verification", "Audit", "Benchmark")
    }
    assert all(MARKUP in text for text in texts.values())


def test_what_is_displayed_are_the_numbers(results):
    assert "0.00e+00" in Reader(results["Health"]._repr_html_()).texts
    assert ["2", "0.5000", "50.00%"] == Reader(results["History"]._repr_html_()).texts[10:13]
    assert "wrong" in Reader(results["Checked"]._repr_html_()).texts


def test_verdicts_have_colours():
    assert "color:#cf222e'>wrong" in html_table(["a", "b"], [["x", "wrong"]], verdicts=1)


def test_columns_of_text_are_aligned_left():
    table = html_table(["error", "finding"], [["-1.5e-07", "3 are wrong"], ["", "all"]])
    assert "<td style='text-align:right'>-1.5e-07</td><td style='text-align:left'>3 are wrong</td>" in table


def test_the_package_lists_its_public_names_alone():
    assert "verify" in dir(jbp)
    assert not [name for name in dir(jbp) if name.startswith("_")]
    assert "lazy_names" not in dir(jbp)
