"""Of 40 and more planted sums that lose digits each is found, and no right twin is flagged."""

import sys
from pathlib import Path
from typing import Any

from harness import report

import jaxbackprop as jbp

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "helpers"))
from planted.sums import twins  # pyright: ignore[reportMissingImports]


def measure() -> dict[str, Any]:
    """How many pairs there are, and the names of those judged otherwise than planted."""
    pairs = twins()

    def verdict(function: Any, args: tuple) -> str:
        return jbp.verify(function, *args, checks=["accumulation"], sizes=(3072,)).verdict

    return {
        "pairs": len(pairs),
        "missed": [pair.name for pair in pairs if verdict(pair.wrong, pair.args) != "imprecise"],
        "flagged": [pair.name for pair in pairs if verdict(pair.right, pair.args) != "right"],
    }


def claim(measured: dict[str, Any]) -> None:
    assert measured["pairs"] >= 40
    assert measured["missed"] == measured["flagged"] == []


if __name__ == "__main__":
    report(measure, claim)
