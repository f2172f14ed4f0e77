"""`jaxbackprop circuit`: what it prints, what it writes, and how it refuses."""

import json

import pytest

from jaxbackprop.circuits.expression.parser import COMPOSED, callable_gates
from jaxbackprop.cli import main


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["circuit", *arguments])
    captured = capsys.readouterr()
    code = ended.value.code
    return (code if isinstance(code, int) else 0), captured.out, captured.err


def test_the_lectures_example_is_printed(capsys):
    status, out, _ = run(capsys, "(x + y) * z", "x=-2", "y=5", "z=-4")
    assert status == 0
    assert "f = −12" in out
    assert "x + y: −4 × 1 = −4" in out
    assert "z: 3 × 1 = 3" in out


def test_an_expression_may_begin_with_a_minus(capsys):
    status, out, _ = run(capsys, "-x * y", "x=3", "y=2")
    assert (status, "f = −6" in out) == (0, True)


def test_numbers_are_unrounded_on_request(capsys):
    _, out, _ = run(capsys, "x / y", "x=1", "y=3", "--exact")
    assert "0.3333333333333333" in out


def test_it_reports_json(capsys):
    status, out, _ = run(capsys, "x * y", "x=3", "y=4", "--json")
    document = json.loads(out)
    assert status == 0
    assert {w["name"]: w["gradient"] for w in document["wires"]} == {"x": 4, "y": 3, "f": 1}


def test_it_writes_a_page_a_drawing_and_a_graph(capsys, tmp_path):
    files = {kind: tmp_path / f"c.{kind}" for kind in ("html", "svg", "dot")}
    status, _, err = run(capsys, "x * y", "x=3", "y=4", *(s for k, p in files.items() for s in (f"--{k}", str(p))))
    assert status == 0
    starts = {"html": "<!doctype html>", "svg": "<svg", "dot": "digraph"}
    assert all(files[kind].read_text(encoding="utf-8").startswith(start) for kind, start in starts.items())
    assert err.count("written to") == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("x + foo(y)", "x=1", "y=2"), "There is no gate 'foo'"),
        (("x + y", "x=1"), "y has no value"),
        (("x", "x=__import__('os')"), "neither a number nor"),
        (("x", "x"), "expected a value as in x=-2"),
        (("x", "x=1", "x=2"), "x is given twice"),
        (("x + y", "x=[1,2]", "y=1"), "--upstream"),
    ],
)
def test_bad_input_ends_with_one_clear_message(capsys, arguments, message):
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_the_help_lists_the_gates_of_the_language(capsys):
    status, out, _ = run(capsys, "--help")
    assert status == 0
    known = {*callable_gates(), *COMPOSED, "sum", "mean"} - {"reduce_sum", "reduce_mean"}
    assert {"relu", "swiglu", "norm"} < known <= set(out.replace("│", " ").split())


def test_one_gate_is_no_plural(capsys):
    assert run(capsys, "x * y", "x=3", "y=4")[1].startswith("x * y: 1 gate; f = 12")
    assert run(capsys, "x * y + y", "x=3", "y=4")[1].startswith("x * y + y: 2 gates; f = 16")


def test_it_writes_slides(capsys, tmp_path):
    pytest.importorskip("cairosvg", reason="cairosvg is not installed")
    pdf, png = tmp_path / "c.pdf", tmp_path / "c.png"
    assert run(capsys, "x * y", "x=3", "y=4", "--pdf", str(pdf), "--png", str(png))[0] == 0
    assert pdf.read_bytes().startswith(b"%PDF-")
    assert png.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("package", "message"),
    [("jaxbackprp", "there is no package called jaxbackprp"), ("json", "json registers no rule")],
)
def test_rules_of_a_package_that_has_none_are_one_line(capsys, package, message):
    with pytest.raises(SystemExit) as ended:
        main(["verify", "--package", package])
    captured = capsys.readouterr()
    assert (ended.value.code, captured.out, captured.err.count("\n")) == (2, "", 1)
    assert message in captured.err
