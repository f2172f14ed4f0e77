"""README and documentation: the snippets run, what they show is what they print, and the commands are commands.

The blocks of a page are one program. A `text` block behind a `python` block is part of what that block prints: each of
its lines begins a line of the output, apart from spaces, and apart from the digits of decimal numbers.
"""

import importlib.util
import inspect
import json
import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from jaxbackprop.cli import app

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
import docs_formula as formula  # noqa: E402  # pyright: ignore[reportMissingImports]
import docs_hooks as hooks  # noqa: E402  # pyright: ignore[reportMissingImports]

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(python|text|console)\n(.*?)^```", re.DOTALL | re.MULTILINE)
BLOCKS = {str(path.relative_to(ROOT)): BLOCK.findall(path.read_text()) for path in PAGES}
PROGRAMS = [name for name, blocks in BLOCKS.items() if any(kind == "python" for kind, _ in blocks)]
COMMANDS = [
    (name, line[2:])
    for name, blocks in BLOCKS.items()
    for kind, text in blocks
    if kind == "console"
    for line in text.splitlines()
    if line.startswith("$ ")
]
QUICK = ("circuit", "info", "--version")


def test_the_readme_fits_its_limit_and_the_pages_show_code_and_commands():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
    assert len(PROGRAMS) >= 6
    shown = {words[i + 1] for _, c in COMMANDS for words in [shlex.split(c)] for i, w in enumerate(words[:-1])
             if w == "jaxbackprop"}  # fmt: skip
    assert shown >= {"verify", "audit", "circuit", "bench", "train", "test", "predict", "quantize", "resume", "info"}


@pytest.mark.parametrize("page", PROGRAMS)
def test_the_snippets_of_a_page_run_one_after_the_other(page, tmp_path, monkeypatch, capsys):
    """From a file, as a reader would run them: a rule's report names the file and line of its definition."""
    monkeypatch.chdir(tmp_path)
    mark = "end of block"
    blocks = [text for kind, text in BLOCKS[page] if kind == "python"]
    file = tmp_path / "snippets.py"
    file.write_text("".join(f"{text}\nprint('{mark} {i}')\n" for i, text in enumerate(blocks)))
    runpy.run_path(str(file))
    printed = re.split(rf"^{mark} \d+\n", capsys.readouterr().out, flags=re.MULTILINE)
    for shown, lines in _shown(page):
        outputs = [_plain(line) for line in printed[shown].splitlines()]
        for line in (line for line in lines if line.strip() != "..."):
            assert any(output.startswith(_plain(line)) for output in outputs), f"{line!r} is not in\n{printed[shown]}"


def _shown(page: str) -> list[tuple[int, list[str]]]:
    """The number of a python block, and the lines of the text block right behind it."""
    found, number, before = [], -1, ""
    for kind, text in BLOCKS[page]:
        number += kind == "python"
        if kind == "text" and before == "python":
            found.append((number, text.splitlines()))
        before = kind
    return found


def _plain(line: str) -> str:
    return " ".join(re.sub(r"\d+(\.\d+)?e-?\d+|\d+\.\d+", "#", line).split())


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_a_shown_command_can_be_called(page, command, tmp_path, monkeypatch):
    """Those that are quick and need no data are run; of the others the options are checked against their own help."""
    monkeypatch.chdir(tmp_path)
    (words,) = [words for part in re.split(r" [|<] ", command) if (words := shlex.split(part))[0] == "jaxbackprop"]
    words = words[1:]
    if words[0] in QUICK:
        assert CliRunner().invoke(app, words).exit_code == 0
        return
    names = words[:2] if words[0] in ("train", "data") else words[:1]
    page = CliRunner().invoke(app, [*names, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert page.exit_code == 0
    for option in (word for word in words if word.startswith("--")):
        assert option in re.sub(r"\x1b\[[0-9;]*m", "", page.output)


def test_every_link_of_the_readme_leads_to_a_file():
    for link in re.findall(r"\]\(([^)#]+)", (ROOT / "README.md").read_text()):
        assert link.startswith("https://") or (ROOT / link).exists(), link


def test_a_typeset_formula_is_well_formed_and_loses_no_letter():
    """Of every rule's docstring: letters and digits of a line are those of its MathML, in the same order."""
    for folder in hooks.FOLDERS:
        for made in (made for rules in hooks.rules_of(folder).values() for made in rules):
            _, rows, _, _ = hooks.parts_of(inspect.getdoc(made) or "")
            assert {"Forward", "Backward", "Source"} <= rows.keys(), made.name
            for line in (line for name in hooks.FORMULAS for line in rows.get(name, ())):
                math = ElementTree.fromstring(formula.typeset(line))
                text = "".join(math.itertext())
                for name, letter in formula.GREEK.items():
                    text = text.replace(letter, name)
                expected = re.sub(r"\bsum(?![a-z:),])|\bsqrt\b", "", line).replace("epsilon", "eps")
                assert re.sub(r"[\W_]", "", text.replace("epsilon", "eps")) == re.sub(r"[\W_]", "", expected), line


def test_a_fraction_has_the_terms_that_the_line_means():
    assert "<mfrac><mi>a</mi><mi>b</mi></mfrac>" in formula.typeset("c a / b")
    assert formula.typeset("f(-z) / 2").count("<mfrac>") == 1
    whole = ElementTree.fromstring(formula.typeset("exp(z_c) / sum_k exp(z_k)"))
    (fraction,) = whole.iter("mfrac")
    assert ["".join(part.itertext()) for part in fraction] == ["exp(zc)", "∑kexp(zk)"]
    assert "<msubsup><mi>x</mi><mi>t</mi><mi>T</mi></msubsup>" in formula.typeset("sum_t x_t^T delta_t")
    assert "<mo>)</mo></mrow></mrow><mn>2</mn></msup>" in formula.typeset("max(0, z)^2")
    assert "<mtext>one-hot</mtext>" in formula.typeset("p minus its one-hot vector")


@pytest.mark.skipif(importlib.util.find_spec("material") is None, reason="needs the extra docs")
def test_the_site_builds_without_a_warning_and_asks_no_network(tmp_path):
    """As it is without the rules' verdicts and pictures, which `scripts/docs` measures first."""
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 80
    for page in pages:
        loaded = re.findall(r'<(?:script|img|link|iframe)[^>]+(?:src|href)="(https?:[^"]+)"', page.read_text())
        assert loaded == [], f"{page.name} loads {loaded}"


def test_the_notebook_displays_every_result():
    """It was executed without an error, and each result is there as HTML and as one line of text."""
    notebook = json.loads((ROOT / "docs" / "results.ipynb").read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    shown = [output["data"] for cell in code for output in cell["outputs"] if output["output_type"] == "execute_result"]
    assert all(output["output_type"] == "execute_result" for cell in code for output in cell["outputs"])
    assert all("text/html" in data for data in shown)
    kinds = {re.split(r"[ :]", "".join(data["text/plain"]))[0].strip("<") for data in shown}
    assert kinds == {"circuit", "health", "check", "verification", "audit", "derivation", "benchmark", "history"}
