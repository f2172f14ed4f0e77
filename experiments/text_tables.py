"""The tables of docs/fasttext.md, from their JSONs alone."""

import json
from collections.abc import Iterable
from statistics import fmean
from typing import Any

from harness import RESULTS

COLUMNS = {"quality": ".1%", "CPU seconds": ".1f", "peak MB": ".0f"}
OF_THE_MEAN = ("imdb", "trec", "clinc150", "cooking", "reuters21578", "docstrings")


def quality() -> list[str]:
    """Accuracy on held-out texts by way of training, what a fitted temperature does, and the exponents of batches."""
    result = json.loads((RESULTS / "text_quality.json").read_text())
    measured = result["measured"]
    ways = list(dict.fromkeys(way for of in measured.values() for way in of["variants"]))
    lines = [
        f"| trained | {' | '.join(measured)} | user CPU time |",
        "|---" + "|---:" * (len(measured) + 1) + "|",
        *(_way(way, measured) for way in ways),
        f"| held-out texts | {' | '.join(format(of['held out'], ',') for of in measured.values())} | |",
        "",
        "| temperature fitted on half of the held-out texts, judged on the other | log loss | calibration error |",
        "|---|---:|---:|",
    ]
    for name, of in measured.items():
        for way, found in of["calibration"].items():
            loss, error = found["log loss"], found["calibration error"]
            temperature = f"{name}, {way}: {found['temperature']:.2f}"
            lines.append(f"| {temperature} | {loss[0]:.3f} to {loss[1]:.3f} | {error[0]:.1%} to {error[1]:.1%} |")
    batched = {name: of["batches of 256"] for name, of in measured.items() if of["batches of 256"]}
    pairs = list(next(iter(batched.values()))["accuracy"])
    lines += [
        "",
        f"| batches of 256: changes divided by the power of the times, input, output | {' | '.join(batched)} |",
        "|---" + "|---:" * len(batched) + "|",
        *(f"| {pair} | {_shares(of['accuracy'][pair] for of in batched.values())} |" for pair in pairs),
        "",
        f"Measured by `experiments/text_quality.py` on {result['setting']['device']}, JAX {result['setting']['jax']},",
        "three seeds, a fifth of the training file held out; the test files were not looked at. The package trains",
        "with the powers 0.5, 0: best in the mean of the three sets, not on each. User CPU time: the median over the",
        "sets of the ratio to training as fastText does.",
    ]
    return lines


def orders() -> list[str]:
    """F1 of one against all over several orders of the texts, by way of training and rate."""
    measured = json.loads((RESULTS / "one_vs_all_orders.json").read_text())["measured"]
    rates = list(next(iter(measured.values())))
    return [
        f"| cooking, one against all, five orders of its texts | {' | '.join(f'lr {rate}' for rate in rates)} |",
        "|---" + "|---:" * len(rates) + "|",
        *(f"| {way} | {' | '.join(_spread(found) for found in of.values())} |" for way, of in measured.items()),
        "",
        "Best F1, measured by `experiments/one_vs_all_orders.py`.",
    ]


def comparison() -> list[str]:
    """Our models beside fastText's program and LinearSVC: quality, ratios of pairs, CPU seconds, peak memory."""
    result = json.loads((RESULTS / "text_comparison.json").read_text())
    measured = result["measured"]
    programs = list(next(iter(measured.values())))[2:]  # after options and measure
    lines = []
    for what, form in COLUMNS.items():
        lines += [f"| {what} | {' | '.join(programs)} |", "|---" + "|---:" * len(programs) + "|"]
        for name, row in measured.items():
            cells = [format(row[p][what], form) if p in row else "" for p in programs]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        means = [format(fmean(measured[name][p][what] for name in OF_THE_MEAN), form) for p in programs]
        lines += [f"| mean of the first six | {' | '.join(means)} |", ""]
    ours = [program for program in programs if "seconds: times as fast" in measured["imdb"][program]]
    pairs = dict(zip(ours, (p for p in programs if p not in ours), strict=True))
    heads = [f"{what}, beside {pairs[p]}" for p in ours for what in ("seconds", "CPU seconds")]
    lines += [f"| times as fast | {' | '.join(heads)} |", "|---" + "|---:" * len(heads) + "|"]
    for name, row in measured.items():
        found = [row.get(p, {}).get(f"{what}: times as fast") for p in ours for what in ("seconds", "CPU seconds")]
        lines.append(f"| {name} | {' | '.join(_ratio(ratio) for ratio in found)} |")
    where = f"on {result['setting']['device']}, Python {result['setting']['python']}, JAX {result['setting']['jax']}"
    return [*lines, "", f"Measured by `experiments/text_comparison.py` {where}; one to three pairs."]


def prediction() -> list[str]:
    """Documents a second by one core and by two, and the time of one text."""
    result = json.loads((RESULTS / "text_prediction.json").read_text())
    heads = (
        "documents/s, one core",
        "two cores",
        "GB/s, one core",
        "CPU s, one core",
        "other labels",
        "µs for one text",
    )
    lines = [f"| data | program | {' | '.join(heads)} |", "|---|---" + "|---:" * len(heads) + "|"]
    for name, of in result["measured"].items():
        for program, row in of["programs"].items():
            one, two = (row[f"{cores} cores"]["seconds"] for cores in (1, 2))
            cells = [f"{of['documents'] / one:,.0f}", f"{of['documents'] / two:,.0f}", f"{of['bytes'] / one / 1e9:.3f}",
                     f"{row['1 cores']['CPU seconds']:.1f}", f"{row['other labels']:,}",
                     f"{row['microseconds a text']:.1f}" if "microseconds a text" in row else ""]  # fmt: skip
            lines.append(f"| {name} | {program} | {' | '.join(cells)} |")
    documents = max(of["documents"] for of in result["measured"].values())
    return [
        *lines,
        "",
        f"Measured by `experiments/text_prediction.py`: {documents:,} documents, the whole process; of one",
        "text in a running process the CPU time. Prediction is array arithmetic on the CPU: a GPU is not used.",
    ]


def _ratio(found: list[float] | None) -> str:
    if found is None:
        return ""
    middle, least, most = found
    return f"{middle:.2f}" if least == most else f"{middle:.2f} ({least:.2f} to {most:.2f})"


def cost() -> list[str]:
    """What a text costs against labels, and a word against the vocabulary."""
    result = json.loads((RESULTS / "text_cost.json").read_text())
    curves = result["measured"]["microseconds a text against labels"]
    words = result["measured"]["nanoseconds a word against vocabulary"]
    counts = list(max(curves.values(), key=len))
    lines = [f"| labels | {' | '.join(_count(count) for count in counts)} |", "|---" + "|---:" * len(counts) + "|"]
    for loss, curve in curves.items():
        lines.append(f"| {loss}, microseconds a text | {' | '.join(_cell(curve, count) for count in counts)} |")
    lines += ["", f"| words | {' | '.join(map(_count, words))} |", "|---" + "|---:" * len(words) + "|"]
    lines.append(f"| nanoseconds a word | {' | '.join(_cell(words, count) for count in words)} |")
    return [*lines, "", "Measured by `experiments/text_cost.py`: texts of 20 words, rows of 16 numbers, CPU time."]


def _way(way: str, measured: dict[str, Any]) -> str:
    rows = [of["variants"].get(way) for of in measured.values()]
    of_base = [of["variants"]["as fastText"]["user seconds"] for of in measured.values()]
    ratios = sorted(row["user seconds"] / base for row, base in zip(rows, of_base, strict=True) if row)
    cells = ["" if row is None else f"{row['accuracy']:.2%}" for row in rows]
    return f"| {way} | {' | '.join(cells)} | {ratios[len(ratios) // 2]:.2f} |"


def _spread(found: list[Any]) -> str:
    numbers = [f1 for f1 in found if not isinstance(f1, str)]
    stopped = [f"{found.count(why)} times {why!r}" for why in dict.fromkeys(found) if isinstance(why, str)]
    said = [f"{fmean(numbers):.1%} ({min(numbers):.1%} to {max(numbers):.1%})"] if numbers else []
    return ", ".join(said + stopped)


def _count(count: str) -> str:
    return f"{int(count):,}"


def _cell(curve: dict[str, float], count: str) -> str:
    return f"{curve[count]:.3g}" if count in curve else ""


def _shares(shares: Iterable[float]) -> str:
    return " | ".join(f"{share:.1%}" for share in shares)
