"""Tables and plots of the benchmark suite, drawn from its JSONs alone.

python experiments/bench_tables.py     prints the README's section, and draws every plot again
"""

import json
from typing import Any

import text_against_fasttext
from harness import RESULTS


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
        blocks.append("\n".join([head, "|---" * (len(names) + 1) + "|", *rows]))
    if result.get("text"):
        said = text_against_fasttext.said(result["text"])
        blocks.append(f"The built-in texts, the whole process beside fastText's, reading and saving included: {said}.")
    if "rules" in result:
        slower = [r for r in result["rules"] if r["time"] > 1.05 and not r["within noise"]]
        hungry = [r for r in result["rules"] if float(r["memory"]) > 1]
        measured = len({r["rule"] for r in result["rules"]})
        blocks.append(
            f"All {measured} rules at up to three sizes: slower than autodiff by more than noise and 5 %: "
            f"{_listed(slower, 'time')}. More temporary memory: {_listed(hungry, 'memory')}."
        )
    return "\n\n".join(blocks)


def section() -> str:
    """The README's benchmark section: the full runs of all devices, or the quick ones where there is no other."""
    full = [p for p in sorted(RESULTS.glob("bench_*.json")) if not p.stem.endswith("_quick")]
    return "\n\n".join(markdown(json.loads(p.read_text())) for p in full or sorted(RESULTS.glob("bench_*_quick.json")))


def draw(result: dict[str, Any], stem: str) -> None:
    """The cost curves and the fused rules' ratios, as results/<stem>.svg."""
    from matplotlib.figure import Figure

    if "costs" not in result or "fused" not in result:
        return
    figure = Figure((10, 7), layout="constrained")
    axes = figure.subplots(2, 2)
    for axis, name in zip(axes.flat, ("width", "depth", "batch"), strict=False):
        curve = result["costs"][name]
        axis.loglog([int(k) for k in curve], list(curve.values()), marker="o")
        axis.set(title=f"cost against {name}", ylabel="microseconds an example")
        axis.grid(alpha=0.3)
    rows = result["fused"]
    at = range(len(rows))
    axes[1, 1].barh([i + 0.2 for i in at], [r["time"] for r in rows], 0.4, label="time")
    axes[1, 1].barh([i - 0.2 for i in at], [min(float(r["memory"]), 2) for r in rows], 0.4, label="temporary memory")
    axes[1, 1].set_yticks(at, [r["case"].partition(",")[0] for r in rows], fontsize="x-small")
    axes[1, 1].axvline(1, color="black", linewidth=0.8)
    axes[1, 1].invert_yaxis()
    axes[1, 1].set(title="by hand over autodiff (left of 1 is better)")
    axes[1, 1].legend(fontsize="small")
    figure.savefig(RESULTS / f"{stem}.svg", metadata={"Date": None})


def _ratio(row: dict[str, Any]) -> str:
    low, high = row["interval"]
    return f"{row['time']:.2f} ({low:.2f} to {high:.2f}){' noise' if row['within noise'] else ''}"


def _number(x: Any) -> str:
    return f"{float(x):.2g}"


def _epoch(of: dict[str, Any]) -> str:
    return f"{1e3 * of['seconds']:.0f} ms, {of['times ours'][1]:.2f}x"


def _listed(rows: list[dict[str, Any]], which: str) -> str:
    return ", ".join(f"{r['rule']} at {r['size']} ({float(r[which]):.2f})" for r in rows) or "none"


if __name__ == "__main__":
    for file in sorted(RESULTS.glob("bench_*.json")):
        draw(json.loads(file.read_text()), file.stem)
    print(section())
