"""What the documentation site takes from the code: the rules' pages, the commands' options, the front page.

Hooks of mkdocs, named in mkdocs.yml. `python scripts/docs_hooks.py` measures what the rules' pages show (pictures and
verdicts) into build/docs; a page says so where that has not been done.
"""

import ast
import functools
import hashlib
import html
import importlib
import inspect
import json
import re
import sys
import textwrap
import warnings
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MEASURED = ROOT / "build" / "docs"
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]
from docs_formula import typeset  # noqa: E402  # pyright: ignore[reportMissingImports]

FOLDERS = {"gates": "Gates", "layers": "Layers", "losses": "Losses"}
ROWS = ("Forward", "Local", "Backward", "Residuals", "Saved", "Kink", "Source")
FORMULAS = ("Forward", "Local", "Backward")
VARIABLES = {"upstream", "rate", "delta", "loss", "share", "slope"}
COLUMNS = ("float64", "float32", "bfloat16", "float16")


# --- the rules ------------------------------------------------------------------------------------


def rules_of(folder: str) -> dict[str, list[Any]]:
    """The rules of a folder, file by file."""
    package = importlib.import_module(f"jaxbackprop.{folder}")
    found: dict[str, list[Any]] = {}
    for node in ast.parse(Path(package.__file__ or "").read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            found.setdefault(node.module, []).extend(getattr(package, alias.name) for alias in node.names)
    return found


def parts_of(doc: str) -> tuple[str, dict[str, list[str]], str, dict[str, str]]:
    """A rule's docstring: first line, rows (Forward, Backward, ...), prose, and Args, Returns, Raises."""
    summary, _, rest = doc.partition("\n")
    rows: dict[str, list[str]] = {}
    prose: list[str] = []
    sections: dict[str, str] = {}
    inside = ""
    for line in rest.splitlines():
        head = re.match(r"(\w+)\s+(\S.*)$", line)
        if head and head[1] in ROWS and not any(prose):
            inside = head[1]
            rows[inside] = [head[2]]
            continue
        if head := re.fullmatch(r"(Args|Returns|Raises):", line):
            inside = head[1]
            sections[inside] = ""
        elif inside in sections and (not line or line.startswith(" ")):
            sections[inside] += line + "\n"
        elif inside in rows and line.startswith(" " * 10):
            rows[inside].append(line.strip())
        else:
            inside = ""
            prose.append(line)
    return summary, rows, "\n".join(prose).strip(), {k: textwrap.dedent(v).strip() for k, v in sections.items()}


def rule_page(folder: str, module: str, rule: Any, verdicts: dict[str, Any]) -> str:
    """A rule's page: signature, formulas, circuit, verdict, code."""
    summary, rows, prose, sections = parts_of(inspect.getdoc(rule) or "")
    names = frozenset(inspect.signature(rule.forward).parameters) | VARIABLES
    names |= {f"d{name}" for name in names}
    formulas = "".join(
        f"<dt>{name}</dt><dd>{''.join(_line(name, line, names) for line in lines)}</dd>" for name, lines in rows.items()
    )
    shown = _arguments(rule)
    blocks = [
        f"# {rule.name}",
        summary,
        f"```python\njbp.{folder}.{rule.name}({shown})\n```",
        f'<dl class="rule">{formulas}</dl>',
        _inline(prose),
        *(f"**{name}**\n\n{_definitions(text)}" for name, text in sections.items()),
        "## Circuit",
        _picture(rule.name),
        "## Verdict",
        _verdict(rule.name, verdicts),
        f"## Code\n\n`jaxbackprop/{folder}/{module}.py`\n\n```python\n{_code(folder, module, rule.name)}\n```",
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _line(name: str, line: str, names: frozenset[str]) -> str:
    if name in FORMULAS:
        return f"<div>{typeset(line, names)}</div>"
    return f"<div>{_code_spans(_linked(html.escape(line)))}</div>"


def _linked(text: str) -> str:
    """Addresses and arXiv numbers as links."""
    text = re.sub(r"https://[^\s,;()]+", lambda found: f'<a href="{found[0]}">{found[0].split("/")[2]}</a>', text)
    return re.sub(r"arXiv:(\d{4}\.\d{4,5})", r'<a href="https://arxiv.org/abs/\1">arXiv:\1</a>', text)


def _code_spans(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", text)


def _inline(prose: str) -> str:
    """Prose of a docstring as Markdown: formulas in it are no emphasis and no tags."""
    return re.sub(r"(?<!`)([*_<])", r"\\\1", prose) if "`" not in prose else prose.replace("<", "&lt;")


def _arguments(rule: Any) -> str:
    """The arguments as one writes them, without their types."""
    shown: list[str] = []
    for parameter in inspect.signature(rule.forward).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in shown:
            shown.append("*")
        default = "" if parameter.default is parameter.empty else f"={parameter.default!r}"
        shown.append(f"{parameter.name}{default}")
    return ", ".join(shown)


def _definitions(text: str) -> str:
    """`name: what it is` as a list; what has no name is a paragraph."""
    items = re.split(r"\n(?=\S)", text)
    if not all(re.match(r"[\w*]+: ", item) for item in items):
        return _inline(text)
    pairs = (item.partition(": ") for item in items)
    return "\n".join(f"- `{name}`: {_inline(' '.join(what.split()))}" for name, _, what in pairs)


def _code(folder: str, module: str, name: str) -> str:
    """The forward and the backward pass, without the docstring that the page already shows."""
    text = (ROOT / "jaxbackprop" / folder / f"{module}.py").read_text()
    lines = text.splitlines()
    found = []
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef) and node.name in (name, f"{name}_backward"):
            start = min(d.lineno for d in node.decorator_list) if node.decorator_list else node.lineno
            body = lines[start - 1 : node.end_lineno]
            first = node.body[0]
            if ast.get_docstring(node) is not None and first.end_lineno is not None:
                del body[first.lineno - start : first.end_lineno - start + 1]
            found.append("\n".join(body))
    return "\n\n\n".join(found)


def _picture(name: str) -> str:
    if not (MEASURED / f"{name}.svg").exists():
        return "Not drawn in this build: run `scripts/docs`."
    return (
        f'<figure class="circuit"><img src="circuits/{name}.svg" alt="{name} as a gate, at one of its example inputs">'
        "<figcaption>At one of its example inputs, with a random upstream gradient.</figcaption></figure>"
    )


def _verdict(name: str, verdicts: dict[str, Any]) -> str:
    row = verdicts.get(name)
    again = f"To see every check: `jaxbackprop verify {name}`."
    if row is None:
        return f"Not examined in this build. {again}"
    head = f"| verdict | inputs | {' | '.join(COLUMNS)} |"
    cells = " | ".join(_units(row["errors"].get(c)) for c in COLUMNS)
    return (
        f"{head}\n|---|---:{'|---:' * len(COLUMNS)}|\n| **{row['verdict']}** | {row['inputs']} | {cells} |\n\n"
        f"The largest error of a gradient over all inputs, in units of each type's resolution "
        f"(see [how a verdict is reached](../verdicts.md)); on {row['setting']}. {again}"
    )


def _units(error: float | None) -> str:
    return "" if error is None else f"{error:.2f}"


def rules_index(verdicts: dict[str, Any]) -> str:
    """The list of all rules."""
    lines = [
        "# Rules",
        "",
        "Each rule is one function with its derivation and its backward pass, bound by `jax.custom_vjp`. The pages are "
        "made from the docstrings; `upstream` is the gradient that arrives, `delta` the gradient at a pre-activation.",
    ]
    for folder, title in FOLDERS.items():
        lines += ["", f"## {title}", "", "| rule | what it does | verdict |", "|---|---|---|"]
        for made in (rule for rules in rules_of(folder).values() for rule in rules):
            summary = (inspect.getdoc(made) or "").partition("\n")[0].replace("|", "\\|")
            verdict = verdicts.get(made.name, {}).get("verdict", "not examined in this build")
            lines.append(f"| [`{made.name}`]({made.name}.md) | {summary} | {verdict} |")
    return "\n".join(lines) + "\n"


# --- what is measured for them, once --------------------------------------------------------------


def stamp() -> str:
    """Changes when a rule, or what judges and draws it, does."""
    found = hashlib.sha256()
    for path in sorted((ROOT / "jaxbackprop").rglob("*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()


def measure(jobs: int = 0) -> None:
    """Draw and verify every rule, each unless the code is as it was the last time."""
    MEASURED.mkdir(parents=True, exist_ok=True)
    for what, do in {"drawn": _draw_all, "verified": lambda: _verify_all(jobs)}.items():
        mark = MEASURED / what
        if not mark.exists() or mark.read_text() != stamp():
            do()
            mark.write_text(stamp())


def _draw_all() -> None:
    for folder in FOLDERS:
        for rule in (rule for rules in rules_of(folder).values() for rule in rules):
            (MEASURED / f"{rule.name}.svg").write_text(_draw(rule), encoding="utf-8")


def _verify_all(jobs: int) -> None:
    (MEASURED / "verdicts.json").write_text(json.dumps(_verify(jobs), indent=1))


def _verify(jobs: int) -> dict[str, Any]:
    import jax

    from jaxbackprop.verification import verify_rules

    setting = f"JAX {jax.__version__}, {jax.default_backend()}"
    found = {}
    for result in verify_rules(jobs=jobs):
        sizes = {check.name: check.units for check in result.checks if check.units is not None}
        exact = [size for name, size in sizes.items() if name.startswith("gradient")]
        errors = {"float64": max(exact, default=None)} | {name: sizes.get(name) for name in COLUMNS[1:]}
        found[result.name] = {"verdict": result.verdict, "inputs": result.inputs, "errors": errors, "setting": setting}
    return found


def _draw(rule: Any) -> str:
    """A rule as one gate at an example input, a gate at single numbers where it takes those."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    import jaxbackprop as jbp
    from jaxbackprop.core.example_inputs import examples

    drawn = list(examples(rule, seed=0))
    labels = ("single", "scalar", "plain") if ".gates." in rule.__module__ else ("plain",)
    chosen = next((e for label in labels for e in drawn if e.label == label), drawn[0])
    args = chosen.cast(jnp.float32)

    @functools.wraps(rule.forward)
    def call(*arrays: Any) -> Any:
        return rule(*arrays, **chosen.settings)

    out = jax.eval_shape(call, *args)
    rng = np.random.default_rng(0)
    upstream = jax.tree.map(
        lambda x: jnp.asarray(rng.normal(size=x.shape), x.dtype) if jnp.issubdtype(x.dtype, jnp.inexact) else None, out
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return jbp.trace(call, *args, upstream=upstream).to_svg(legend=False)


# --- the commands ---------------------------------------------------------------------------------


def commands() -> str:
    """Every command with its arguments and options, from the program itself."""
    import typer

    from jaxbackprop.cli import app

    group = typer.main.get_command(app)
    return "\n\n".join(_command("jaxbackprop", name, command) for name, command in sorted(_leaves(group)))


def checks() -> str:
    """Every check that `verify` makes, with its claim."""
    from jaxbackprop.verification.checks.registry import CHECKS

    rows = [f"| `{key}` | {check.claim} |" for key, check in CHECKS.items()]
    return "\n".join(["| check | what it asks |", "|---|---|", *rows])


def _leaves(group: Any, before: str = "") -> list[tuple[str, Any]]:
    found = []
    for name, command in group.commands.items():
        full = f"{before}{name}"
        found += _leaves(command, f"{full} ") if hasattr(command, "commands") else [(full, command)]
    return found


def _command(program: str, name: str, command: Any) -> str:
    text = re.sub(r"\[/?\w+\]", "", inspect.cleandoc(command.help or "")).replace("\b", "").replace("\f", "")
    rows = []
    for parameter in command.params:
        if getattr(parameter, "hidden", False) or parameter.name == "help":
            continue
        option = parameter.param_type_name == "option"
        shown = ", ".join([*parameter.opts, *parameter.secondary_opts]) if option else _metavar(parameter)
        default = "" if parameter.default in (None, False, "", ()) or callable(parameter.default) else parameter.default
        about = re.sub(r"\s+", " ", parameter.help or "").replace("|", "\\|")
        rows.append(f"| `{shown}` | {about} | {f'`{default}`' if str(default) else ''} |")
    head = ["| argument or option | what it is | default |", "|---|---|---|"]
    if all(row.endswith("|  |") for row in rows):
        head, rows = ["| argument or option | what it is |", "|---|---|"], [row.removesuffix("  |") for row in rows]
    return "\n".join([f"### {program} {name}", "", html.escape(text, quote=False), "", *(head if rows else []), *rows])


def _metavar(parameter: Any) -> str:
    shown = parameter.metavar or parameter.name.upper()
    return f"{shown}..." if parameter.nargs == -1 and not shown.endswith("...") else shown


# --- hooks of mkdocs ------------------------------------------------------------------------------


def on_config(config: Any) -> Any:
    """The navigation's part for the rules."""
    nav = []
    for folder, title in FOLDERS.items():
        nav.append({title: [f"rules/{rule.name}.md" for rules in rules_of(folder).values() for rule in rules]})
    for entry in config["nav"]:
        if "Rules" in entry and not entry["Rules"]:
            entry["Rules"] = [{"All rules": "rules/index.md"}, *nav]
    return config


def on_files(files: Any, config: Any) -> Any:
    """The pages that come from the code or from a file at the repository's root."""
    from mkdocs.structure.files import File

    path = MEASURED / "verdicts.json"
    verdicts = json.loads(path.read_text()) if path.exists() else {}
    pages = {
        "index.md": _moved((ROOT / "README.md").read_text()),
        "contributing.md": _moved((ROOT / "CONTRIBUTING.md").read_text()),
        "changelog.md": _moved((ROOT / "CHANGELOG.md").read_text()),
        "rules/index.md": rules_index(verdicts),
    }
    for folder in FOLDERS:
        for module, rules in rules_of(folder).items():
            for rule in rules:
                pages[f"rules/{rule.name}.md"] = rule_page(folder, module, rule, verdicts)
                drawn = MEASURED / f"{rule.name}.svg"
                if drawn.exists():
                    pages[f"rules/circuits/{rule.name}.svg"] = drawn.read_text(encoding="utf-8")
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def _moved(text: str) -> str:
    """Links of a file at the root, as they are from the pages' folder."""
    text = text.replace("](docs/", "](").replace("](CONTRIBUTING.md", "](contributing.md")
    return text.replace("](CHANGELOG.md", "](changelog.md")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Comments such as `<!-- commands -->` stand for what is written from the code."""
    for name, write in {"commands": commands, "checks": checks}.items():
        if f"<!-- {name} -->" in markdown:
            markdown = markdown.replace(f"<!-- {name} -->", write())
    return re.sub(r"^::: (jaxbackprop\S*)$", _defined, markdown, flags=re.MULTILINE)


def _defined(found: re.Match) -> str:
    """A public name by where it is defined: a module may have the same name as a function in it."""
    package, _, name = found[1].rpartition(".")
    if (ROOT / found[1].replace(".", "/")).with_suffix(".py").exists():
        return found[0]
    thing = getattr(importlib.import_module(package), name)
    return f"::: {thing.__module__}.{thing.__qualname__}"


def on_page_content(content: str, **_: Any) -> str:
    """LaTeX between dollar signs as MathML: no script and no font from elsewhere."""
    from latex2mathml.converter import convert

    def block(found: re.Match) -> str:
        return convert(html.unescape(found[1]), display="block")

    def inline(found: re.Match) -> str:
        return convert(html.unescape(found[1]))

    content = re.sub(r'<div class="arithmatex">\\\[(.*?)\\\]</div>', block, content, flags=re.DOTALL)
    return re.sub(r'<span class="arithmatex">\\\((.*?)\\\)</span>', inline, content, flags=re.DOTALL)


if __name__ == "__main__":
    measure(*map(int, sys.argv[1:]))
