"""Every rule of the library is proved; every planted fault of a formula is refuted, and no right rule but at kinks.

Writes the table of docs/proof.md.
"""

import json
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness import DOCS, RESULTS, report

import jaxbackprop
from jaxbackprop.verification.api import example_problems
from jaxbackprop.verification.problem import Problem
from jaxbackprop.verification.proof import Proof, proved

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "helpers"))
from planted import Planted, mutations, odd, written  # pyright: ignore[reportMissingImports]
from planted.cases import problem  # pyright: ignore[reportMissingImports]

NOT_OF_THE_FORMULA = {
    "float16": "rounded to half precision",
    "half precision inside": "rounded to half precision",
    "naive sigmoid overflows": "overflows far away",
    "clipped beyond ten million": "wrong for large upstream gradients only",
    "mapped outputs untied": "wrong under `vmap`",
    "an integer is given a gradient": "a gradient where none belongs",
}
"""Planted faults whose formula is right: words of their names."""

SERIES = "sinc near zero"
"""A right rule that is another function: a series in the place of sin x / x."""


def word(proof: Proof) -> str:
    """The verdict, and whether it is about kinks and ties alone."""
    return proof.verdict + (" at a kink or tie" if proof.at_a_tie else "")


def of_planted(cases: Iterable[Planted]) -> dict[str, str]:
    """The verdict for each case by name."""
    found = {}
    for case in cases:
        about = problem(case, "float64")
        about.main = about.main and case.everywhere  # elsewhere it is not meant to be right
        found[case.name] = word(proved([about]))
    return found


def of_rules() -> dict[str, Any]:
    """The library's rules that are not proved, at how many inputs and branch regions, and how long all took."""
    not_proved, not_twice, seconds, slowest = {}, {}, 0.0, 0.0
    inputs, regions, one_way = {}, {}, {}
    for name, rule in jaxbackprop.rules().items():
        problems: list[Problem] = example_problems(rule)
        proved(problems)  # traced
        start = time.process_time()
        found = proved(problems)
        took = time.process_time() - start
        seconds, slowest = seconds + took, max(slowest, took)
        inputs[name], regions[name] = found.inputs, found.regions
        if found.one_way:
            one_way[name] = found.one_way
        if found.verdict != "proved":
            not_proved[name] = str(found)
        if found.second_order not in ("proved", ""):
            not_twice[name] = str(found)
    count = len(jaxbackprop.rules())
    return {"count": count, "fewer inputs than five": {name: n for name, n in inputs.items() if n < 5},
            "inputs": sum(inputs.values()), "branch regions": sum(regions.values()),
            "comparisons that go one way only": one_way, "not proved": not_proved,
            "second derivative not proved": not_twice,
            "CPU seconds, once traced": round(seconds, 1), "slowest": round(slowest, 2)}  # fmt: skip


def measure() -> dict[str, Any]:
    """Verdicts of the library's rules, of the planted wrong rules and of the right ones."""
    wrong, right = of_planted([*mutations(), *written()]), of_planted(odd())
    return {
        "rules": of_rules(),
        "wrong": dict(Counter(wrong.values())),
        "right": dict(Counter(right.values())),
        "wrong, not refuted": {name: found for name, found in wrong.items() if not found.startswith("refuted")},
        "right, refuted": [name for name, found in right.items() if found == "refuted"],
        "not decided": [name for name, found in (wrong | right).items() if found == "not decided"],
    }


def claim(measured: dict[str, Any]) -> None:
    rules = measured["rules"]
    assert rules["not proved"] == rules["second derivative not proved"] == {}
    assert rules["CPU seconds, once traced"] < 60
    for name, found in measured["wrong, not refuted"].items():
        assert found == "not decided" or any(words in name for words in NOT_OF_THE_FORMULA), name
    assert measured["right, refuted"] in ([], [SERIES])


def table(measured: dict[str, Any]) -> str:
    """The table of docs/proof.md: both verdicts beside each other."""
    numbers = json.loads((RESULTS / "wrong_rules.json").read_text())["jaxbackprop, float64"]
    rows = []
    for kind, caught in (("wrong", len(numbers["missed ones"])), ("right", len(numbers["rejected ones"]))):
        found = Counter(measured[kind])
        total = found.total()
        cells = [found[w] for w in ("proved", "refuted", "refuted at a kink or tie", "not decided")]
        rows.append(f"| {total} {kind} | {' | '.join(map(str, cells))} | {total - caught} of {total} |")
    head = (
        "| planted rules | proved | refuted | refuted at a kink or tie alone | not decided | numerical verdict right |"
    )
    kinds = Counter(
        next(why for words, why in NOT_OF_THE_FORMULA.items() if words in name)
        for name, found in measured["wrong, not refuted"].items()
        if found == "proved"
    )
    lines = [f"| {why} | {count} |" for why, count in kinds.most_common()]
    return "\n".join(
        [head, "|---|---|---|---|---|---|", *rows, "", "| wrong rules whose formula is right | |", "|---|---|", *lines]
    )


def write(measured: dict[str, Any]) -> None:
    """Put the table into the page."""
    page = DOCS / "proof.md"
    text = page.read_text()
    page.write_text(re.sub(r"(<!-- proofs -->\n).*?(\n<!-- end -->)", rf"\1{table(measured)}\2", text, flags=re.DOTALL))


def measured_and_written() -> dict[str, Any]:
    """Measured, and the table written."""
    measured = measure()
    write(measured)
    return measured


if __name__ == "__main__":
    report(measured_and_written, claim)
