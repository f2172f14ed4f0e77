"""Tables and plots of the benchmark suite, drawn from its JSONs alone.

python experiments/bench_tables.py     prints the section of docs/benchmarks.md, and draws every plot again
"""

import json
from typing import Any

import text_against_fasttext
from harness import DOCS, RESULTS


def markdown(result: dict[str, Any]) -> str:
    """One device's tables: the fused rules, the epochs, and the rules that cost more than autodiff."""
    shown = ", ".join(f"{k} {v}" for k, v in (result["setting"] | result["peers"]).items() if k != "quick")
    blocks = [f"**{shown}**{' (quick run)' if result['setting'].get('quick') else ''}"]
    if "fused" in result:
        rows = [
            f"| `{r['case']}` | {r['against']} | {_ratio(r)} | {_number(r['memory'])} | "
            f"{_number(r['expected']['time'])} / {_number(r['expected']['memory'])} |"
            for r in result["fused"]
        ]
        head = "| by hand, forward and backward | against | time | temporary memory | expected at most |"
        blocks.append("\n".join([head, "|---|---|---|---|---|", *rows]))
    if "epochs" in result:
        names = list(next(iter(result["epochs"].values())))
        head = f"| MLP 784-512-512-10, an epoch at batch | {' | '.join(names)} |"
        rows = [f"| {b} | {' | '.join(_epoch(of[n]) for n in names)} |" for b, of in result["epochs"].items()]
        firsts = [[of[n]["until first epoch"] for of in result["epochs"].values()] for n in names]
        waits = " | ".join(f"{min(first):.1f} to {max(first):.1f} s" for first in firsts)
        rows.append(f"| the first epoch, compiling included | {waits} |")
        blocks.append("\n".join([head, "|---" * (len(names) + 1) + "|", *rows]))
    if result.get("text"):
        said = text_against_fasttext.said(result["text"])
        blocks.append(f"The built-in texts, the whole process beside fastText's, reading and saving included: {said}.")
    if "rules" in result:
        slower = [r for r in result["rules"] if r["time"] > 1.05 and not r["within noise"]]
        hungry = [r for r in result["rules"] if float(r["memory"]) > 1]
        bytes_of = "{bytes[0]:,} bytes against {bytes[1]:,}"
        measured = len({r["rule"] for r in result["rules"]})
        blocks.append(
            f"All {measured} rules at up to three sizes: slower than autodiff by more than noise and 5 %: "
            f"{_listed(slower, '{time:.2f}')}. More temporary memory: {_listed(hungry, bytes_of)}."
        )
    return "\n\n".join(blocks)


def section() -> str:
    """For docs/benchmarks.md: the full runs of all devices, or the quick ones where there is no other."""
    full = [p for p in sorted(RESULTS.glob("bench_*.json")) if not p.stem.endswith("_quick")]
    parts = []
    for path in full or sorted(RESULTS.glob("bench_*_quick.json")):
        parts.append(markdown(json.loads(path.read_text())))
        if (DOCS / f"{path.stem}.svg").exists():
            parts.append(f"![cost curves and ratios on {path.stem.split('_')[1]}]({path.stem}.svg)")
    return "\n\n".join(parts)


def accelerators() -> list[str]:
    """The fused rules, the epochs and the texts of each accelerator that `device_check.py` was run on."""
    lines: list[str] = []
    for path in sorted(RESULTS.glob("device_*.json")):
        result = json.loads(path.read_text())
        at = result["setting"]
        lines += [f"**{at['device']}**, JAX {at['jax']}, Python {at['python']}:", ""]
        if rows := result.get("fused"):
            lines += ["| by hand, forward and backward | against | time | temporary memory |", "|---|---|---|---|"]
            lines += [f"| `{r['case']}` | {r['against']} | {_ratio(r)} | {_number(r['memory'])} |" for r in rows]
            lines.append("")
        if rows := result.get("chunks"):
            cases = list(dict.fromkeys((r["rule"], r["features"]) for r in rows))
            sizes = list(dict.fromkeys(r["scores at once"] for r in rows))
            lines += ["Chunks of 2048 x 32,000 scores, time and temporary memory beside autodiff by `at_once`:", ""]
            lines.append(f"| rule | features | {' | '.join(sizes)} |")
            lines.append("|---" * (len(sizes) + 2) + "|")
            for case in cases:
                of = {
                    r["scores at once"]: f"{r['time']:.2f} / {r['memory']:.2f}"
                    for r in rows
                    if (r["rule"], r["features"]) == case
                }
                lines.append(f"| `{case[0]}` | {case[1]} | {' | '.join(of.get(s, '') for s in sizes)} |")
            lines.append("")
        if result.get("epochs"):
            names = list(next(iter(result["epochs"].values())))
            lines.append(f"| MLP 784-512-512-10, an epoch at batch | {' | '.join(names)} |")
            lines.append("|---" * (len(names) + 1) + "|")
            lines += [f"| {b} | {' | '.join(_epoch(of[n]) for n in names)} |" for b, of in result["epochs"].items()]
            lines.append("")
        for name in (name for name in ("text", "text, native atomics") if result.get(name)):
            batches = {batch: of for batch, of in result[name].items() if isinstance(of, dict)}
            words = ", ".join(f"{of['words a second'] / 1e6:.0f} million at {batch}" for batch, of in batches.items())
            lines += [f"{name.capitalize()}: words a second in batches of texts: {words}.", ""]
    return [*lines, "Measured by `experiments/device_check.py`."]


def draw(result: dict[str, Any], stem: str) -> None:
    """The cost curves and the fused rules' ratios, as docs/<stem>.svg."""
    from matplotlib.figure import Figure

    if "costs" not in result or "fused" not in result:
        return
    figure = Figure((13, 6.5), layout="constrained")
    axes = figure.subplot_mosaic([["width", "depth", "ratios"], ["batch", "classes", "ratios"]], width_ratios=(2, 2, 3))
    for name in ("width", "depth", "batch", "classes"):
        axis, curve = axes[name], result["costs"][name]
        at = [int(k) for k in curve]
        axis.loglog(at, list(curve.values()), marker="o")
        axis.set(title=f"an epoch's cost against {name}", xlabel=name, ylabel="microseconds an example")
        axis.set_xticks(at, [f"{k:,}" for k in at], minor=False)
        axis.set_xticks([], minor=True)
        costs = [k for k in (1, 2, 5, 10, 20, 50, 100) if min(curve.values()) / 1.6 < k < max(curve.values()) * 1.6]
        axis.set_yticks(costs, [str(k) for k in costs])
        axis.set_yticks([], minor=True)
        axis.grid(alpha=0.3)
    rows, axis = result["fused"], axes["ratios"]
    for shift, key in ((-0.2, "time"), (0.2, "memory")):
        lengths = [min(float(r[key]), 2) for r in rows]
        axis.barh(
            [i + shift for i in range(len(rows))], lengths, 0.4, label={"memory": "temporary memory"}.get(key, key)
        )
    axis.set_yticks(range(len(rows)), [_short(r["case"]) for r in rows], fontsize="small")
    axis.axvline(1, color="black", linewidth=0.8)
    axis.invert_yaxis()
    axis.set(title="by hand over autodiff: below 1 is better", xlabel="ratio")
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=2, frameon=False)
    figure.savefig(DOCS / f"{stem}.svg", metadata={"Date": None})


def _short(case: str) -> str:
    """A case without its sizes, unless there are several of it."""
    name, _, more = case.partition(",")
    return f"{name}, {more.split()[0]}" if "features" in more else name


def _ratio(row: dict[str, Any]) -> str:
    low, high = row["interval"]
    return f"{row['time']:.2f} ({low:.2f} to {high:.2f}){' noise' if row['within noise'] else ''}"


def _number(x: Any) -> str:
    return f"{float(x):.2g}"


def _epoch(of: dict[str, Any]) -> str:
    low, ratio, high = of["times ours"]
    if of.get("apart"):  # measured in another hour: its seconds are not to be compared with the row's others
        return f"{ratio:.2f}x ({low:.2f} to {high:.2f})"
    return f"{1e3 * of['seconds']:.0f} ms, {ratio:.2f}x"


def _listed(rows: list[dict[str, Any]], shown: str) -> str:
    return ", ".join(f"{r['rule']} at {r['size']} ({shown.format(**r)})" for r in rows) or "none"


if __name__ == "__main__":
    for file in sorted(RESULTS.glob("bench_*.json")):
        draw(json.loads(file.read_text()), file.stem)
    print(section())
