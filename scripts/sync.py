"""Write whatever is generated from the source: the exports of the rules' folders and the tables of README and docs.

python scripts/sync.py            write what is stale
python scripts/sync.py --check    write nothing, exit 1 where something is stale
"""

import ast
import json
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "jaxbackprop"
FOLDERS = {
    "gates": "The circuit view: gates and neuron units, each a function and its hand-derived backward pass.",
    "layers": "The delta view: layers that turn the error signal at their output into the one at their input.",
    "losses": "Scores in, one number an example out.",
}
RESULTS = ROOT / "experiments" / "results"
SCANS = {"flax + optax, one scan": "flax and optax in one jitted, donated scan"}
"""The strongest rivals in training, by their names in the results, as the README calls them."""
sys.path.insert(0, str(ROOT / "experiments"))
import audit_tables  # noqa: E402  # pyright: ignore[reportMissingImports]
import bench_tables  # noqa: E402  # pyright: ignore[reportMissingImports]
import text_tables  # noqa: E402  # pyright: ignore[reportMissingImports]


def is_rule(function: ast.FunctionDef) -> bool:
    """Whether `function` stands under `@rule` or `@rule(...)`."""
    called = (d.func if isinstance(d, ast.Call) else d for d in function.decorator_list)
    return any(isinstance(d, ast.Name) and d.id == "rule" for d in called)


def rules_of(folder: str) -> Iterator[tuple[str, str, str]]:
    """(module, rule, first line of its docstring) for each rule of a folder, file by file."""
    for path in sorted((PACKAGE / folder).glob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and is_rule(node):
                yield path.stem, node.name, (ast.get_docstring(node) or "").partition("\n")[0]


def exports(folder: str) -> str:
    """The text of a folder's `__init__.py`."""
    names = sorted((module, name) for module, name, _ in rules_of(folder))
    lines = [f'"""{FOLDERS[folder]}"""', ""]
    lines += [f"from .{module} import {name} as {name}" for module, name in names]
    return "\n".join(lines) + "\n"


def real_data_table() -> list[str]:
    """Test accuracies on real data, from the JSON that the experiment wrote."""
    result = json.loads((RESULTS / "real_data.json").read_text())
    rows = [
        f"| {name} | `{row['command']}` | {row['accuracy']:.1%} | {_percent(row['fasttext'])} | {row['seconds']:.0f} |"
        for name, row in result["measured"].items()
    ]
    return [
        "| data | command | test accuracy | fastText 0.9.2 | seconds |",
        "|---|---|---:|---:|---:|",
        *rows,
        "",
        f"Measured by `experiments/real_data.py` on {result['setting']['device']}, JAX {result['setting']['jax']}; "
        "seconds are those of the whole command, while the machine was doing other work too.",
    ]


def wrong_rules_table() -> list[str]:
    """How many planted faults are missed and right rules rejected, from the JSON that the script wrote."""
    result = json.loads((RESULTS / "wrong_rules.json").read_text())
    judges = {name: row for name, row in result.items() if isinstance(row, dict) and "missed" in row}
    rows = [
        f"| {name} | {row['missed']} | {row['rejected']} | {row.get('named', '')} |" for name, row in judges.items()
    ]
    wrong, right = result["wrong rules"], result["right rules"]
    many = json.loads((RESULTS / "wrong_rules_seeds.json").read_text())
    seeds = ", ".join(
        f"{name.partition(', ')[2]} {row['missed']} and {row['rejected']}"
        for name, row in many.items()
        if isinstance(row, dict)
    )
    return [
        f"| judge | of {wrong} wrong rules missed | of {right} right ones rejected | cause named |",
        "|---|---:|---:|---:|",
        *rows,
        "",
        "Measured by `scripts/wrong_rules.py`: mutations of the library's own rules, faults written for every cause,",
        "and right rules that are odd (a kink, a tie, an overflow). `check_grads` is `jax.test_util`'s, order 1, mode",
        "rev; most of what it misses in float64 shows only in the second order or under `vmap`. PyTorch's `gradcheck`",
        "is meant for float64 and was asked where a case translates: all but complex and empty ones.",
        f"The worst of {many['seeds']} seeds (`--seeds {many['seeds']} --no-rivals`) misses and rejects: {seeds}.",
    ]


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def headline() -> list[str]:
    """The README's figures, each beside its strongest rival, with the command that measures it."""
    epochs = json.loads((RESULTS / "bench_cpu.json").read_text())["epochs"]
    rival = next((name for name in SCANS if all(name in of for of in epochs.values())), "flax + optax")
    ratios = [of[rival]["times ours"][1] for of in epochs.values()]
    sizes = [int(size) for size in epochs]
    pairs = json.loads((RESULTS / "text_comparison.json").read_text())["measured"].values()
    speeds = [row["jaxbackprop"]["CPU seconds: times as fast"][0] for row in pairs]
    faster = sum(speed > 1 for speed in speeds)
    apart = [100 * (row["jaxbackprop"]["quality"] - row["fastText"]["quality"]) for row in pairs]
    judges = json.loads((RESULTS / "wrong_rules.json").read_text())
    rivals = {name: judges[f"{name}, float64"] for name in ("jaxbackprop", "check_grads", "torch gradcheck")}
    missed = {name: f"{row['missed']} missed, {row['rejected']} rejected" for name, row in rivals.items()}
    wrong, right = judges["wrong rules"], judges["right rules"]
    embedding = json.loads((RESULTS / "embedding_in_bfloat16.json").read_text())["measured"]["262144 words, one sign"]
    theirs, ours = embedding["jax.grad"], embedding["gates.gather"]
    low, time, high = embedding["gather's time over jax.grad's"]
    error, row = "error of the gradient, relative", "first number of the most frequent row"
    return [
        "| what | jaxbackprop beside its strongest rivals | measured by |",
        "|---|---|---|",
        f"| gradient of a bfloat16 embedding, 262,144 words of IMDB, upstream of one sign | error {ours[error]:.1%}, "
        f"`jax.grad` {theirs[error]:.0%}; the most frequent row {ours[row]:,.0f}, exact {embedding['exact']:,.0f}, "
        f"`jax.grad` {theirs[row]:,.0f}; {time:.2f} ({low:.2f} to {high:.2f}) times its time | "
        "`experiments/embedding_in_bfloat16.py` |",
        f"| {wrong} planted wrong rules, {right} unusual right ones, float64 | {missed['jaxbackprop']}; `check_grads` "
        f"{missed['check_grads']}; PyTorch `gradcheck` {missed['torch gradcheck']} | `scripts/wrong_rules.py` |",
        f"| an epoch of an MLP at batch {sizes[0]} to {sizes[-1]:,}, beside {SCANS.get(rival, rival)} | "
        f"{min(ratios):.2f} to {max(ratios):.2f} times as fast | `scripts/bench` |",
        f"| text, CPU time of the whole process beside fastText's C++ program | {min(speeds):.2f} to {max(speeds):.2f} "
        f"times as fast, faster on {faster} of {len(speeds)}; accuracy {min(apart):+.1f} to {max(apart):+.1f} points | "
        "`experiments/text_comparison.py` |",
    ]


def pages() -> dict[Path, str]:
    """The README and the documentation's pages with their tables brought up to date."""
    sections = {
        "README.md": {"headline": headline()},
        "docs/benchmarks.md": {
            "benchmarks": bench_tables.section().split("\n"),
            "accelerators": bench_tables.accelerators(),
            "wrong rules": wrong_rules_table(),
            "real data": real_data_table(),
        },
        "docs/audit_in_the_open.md": {"audit": audit_tables.section()},
        "docs/fasttext.md": {
            "comparison": text_tables.comparison(),
            "prediction": text_tables.prediction(),
            "one against all": text_tables.orders(),
            "text quality": text_tables.quality(),
            "text cost": text_tables.cost(),
        },
    }
    return {ROOT / name: with_sections((ROOT / name).read_text(), of) for name, of in sections.items()}


def with_sections(text: str, sections: dict[str, list[str]]) -> str:
    """`text` with new lines between the two comments of each section."""
    for name, lines in sections.items():
        begin, end = f"<!-- {name}: written by scripts/sync.py -->", f"<!-- end of {name} -->"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = "\n".join([before + begin, *lines, end + after])
    return text


def main() -> int:
    """Write, or with --check report, every stale file."""
    wanted = {PACKAGE / folder / "__init__.py": exports(folder) for folder in FOLDERS} | pages()
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    for path in stale:
        if "--check" in sys.argv:
            print(f"{path.relative_to(ROOT)} is stale: run python scripts/sync.py")
        else:
            path.write_text(wanted[path])
            print(f"wrote {path.relative_to(ROOT)}")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
