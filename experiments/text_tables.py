"""The tables of docs/fasttext.md, text quality and cost, from their JSONs alone: `quality()`, `orders()`, `cost()`."""

import json
from collections.abc import Iterable
from statistics import fmean
from typing import Any

from harness import RESULTS

LINEAR = {"quality": ".1%", "CPU seconds": ".1f", "peak MB": ".0f"}


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


def linear() -> list[str]:
    """The linear model beside LinearSVC: quality, CPU seconds, peak memory."""
    result = json.loads((RESULTS / "linear_against_linearsvc.json").read_text())
    measured = result["measured"]
    programs = list(next(iter(measured.values())))
    means = {what: {p: fmean(of[p][what] for of in measured.values()) for p in programs} for what in LINEAR}
    rows = {name: {what: {p: of[p][what] for p in programs} for what in LINEAR} for name, of in measured.items()}
    heads = [f"{what}, {program}" for what in LINEAR for program in programs]
    lines = [f"| data | {' | '.join(heads)} |", "|---" + "|---:" * len(heads) + "|"]
    for name, row in (rows | {"mean": means}).items():
        cells = [format(row[what][program], form) for what, form in LINEAR.items() for program in programs]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    where = f"on {result['setting']['device']}, Python {result['setting']['python']}, JAX {result['setting']['jax']}"
    return [*lines, "", f"Measured by `experiments/linear_against_linearsvc.py` {where}."]


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
