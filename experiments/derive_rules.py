"""`derive` proves 66 or more of the rules' plain functions and all fifteen of papers; 60 or more save no more bytes.

Writes the table of docs/howto/derivation.md. With names: those rules and functions alone, printed.
"""

import functools
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from harness import DOCS, report

import jaxbackprop as jbp
from jaxbackprop.core.example_inputs import examples
from jaxbackprop.core.rule import Rule

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "helpers"))
from derivable_papers import PAPERS  # pyright: ignore[reportMissingImports]


def of_function(function: Callable, args: tuple) -> dict[str, Any]:
    """What became of a function: derived, proved, right, the bytes that the rule and that autodiff save."""
    start = time.process_time()
    try:
        made = jbp.derive(function, *args)
    except jbp.CannotDerive as error:
        return {"cannot": re.sub(r" at /.*", "", str(error))}
    seconds = time.process_time() - start
    proof = made.proof
    leaves, tree = jax.tree.flatten(args)
    floats = [k for k, x in enumerate(leaves) if jnp.issubdtype(x.dtype, jnp.floating)]

    def of_floats(*xs: Any) -> Any:
        full = list(leaves)
        for k, x in zip(floats, xs, strict=True):
            full[k] = x
        return function(*tree.unflatten(full))

    saved = jax.tree.leaves(jax.eval_shape(lambda *xs: jax.vjp(of_floats, *xs)[1], *(leaves[k] for k in floats)))
    return {
        "proof": proof.verdict + (f": {proof.why}" if proof.why else ""),
        "gradient": made.verify(["gradient"]).verdict,
        "bytes": made.residuals.bytes,
        "bytes by autodiff": sum(x.size * x.dtype.itemsize for x in saved),
        "seconds": round(seconds, 2),
    }


def of_rule(rule: Rule) -> dict[str, Any]:
    """The same for a rule's plain function at its first example, with the bytes that the rule itself saves."""
    example = examples(rule)[0]
    plain = functools.update_wrapper(functools.partial(rule.primal, **example.settings), rule.primal)
    args = example.cast(jnp.float32)
    residuals = jax.eval_shape(lambda: rule.forward(*args, **example.settings)[1])
    by_hand = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(residuals))
    return of_function(plain, args) | {"bytes by hand": by_hand}


def measure() -> dict[str, Any]:
    """All rules, all functions from papers, and how many of each are proved."""
    rules = {name: of_rule(rule) for name, rule in jbp.rules().items()}
    papers = {name: of_function(case.function, case.args) for name, case in PAPERS.items()}
    proved = [found for found in rules.values() if found.get("proof") == "proved"]
    return {
        "rules": rules,
        "papers": papers,
        "rules proved": len(proved),
        "rules that save no more than by hand": sum(f["bytes"] <= f["bytes by hand"] for f in proved),
        "papers proved": sum(found.get("proof") == "proved" for found in papers.values()),
    }


def claim(measured: dict[str, Any]) -> None:
    found = [*measured["rules"].values(), *measured["papers"].values()]
    assert all(f["gradient"] == "right" for f in found if f.get("proof") == "proved")
    assert measured["rules proved"] >= 66
    assert measured["rules that save no more than by hand"] >= 60
    assert measured["papers proved"] == len(measured["papers"])


def table(measured: dict[str, Any]) -> str:
    """The table of docs/howto/derivation.md."""
    rows = [
        f"| {name.replace('_', ' ')} | {f.get('proof', f.get('cannot'))} | {f.get('gradient', '')} "
        f"| {f.get('bytes', '')} | {f.get('bytes by autodiff', '')} |"
        for name, f in measured["papers"].items()
    ]
    head = ["| function | proof | verdict on the gradient | bytes saved | by autodiff |", "|---|---|---|---|---|"]
    return "\n".join([*head, *rows])


def measured_and_written() -> dict[str, Any]:
    """Measured, and the table written."""
    measured = measure()
    page = DOCS / "howto" / "derivation.md"
    text = re.sub(
        r"(<!-- papers -->\n).*?(\n<!-- end -->)", rf"\1{table(measured)}\2", page.read_text(), flags=re.DOTALL
    )
    page.write_text(text)
    return measured


if __name__ == "__main__":
    if names := sys.argv[1:]:
        for name in names:
            print(
                name,
                of_rule(jbp.rules()[name])
                if name in jbp.rules()
                else of_function(PAPERS[name].function, PAPERS[name].args),
            )
    else:
        report(measured_and_written, claim)
