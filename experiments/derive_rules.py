"""The plain functions of the library's rules, fed to `derive` as they are: most are derived, each of these proved."""

import functools
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
from harness import report

import jaxbackprop as jbp
from jaxbackprop.core.example_inputs import examples
from jaxbackprop.core.rule import Rule


def derived(rule: Rule) -> dict[str, Any]:
    """What became of a rule's plain function: derived, proved, right, the bytes that both save."""
    example = examples(rule)[0]
    plain = functools.update_wrapper(functools.partial(rule.primal, **example.settings), rule.primal)
    args = example.cast(jnp.float32)
    start = time.process_time()
    try:
        made = jbp.derive(plain, *args)
    except jbp.CannotDerive as error:
        return {"cannot": str(error)}
    seconds = time.process_time() - start
    residuals = jax.eval_shape(lambda: rule.forward(*args, **example.settings)[1])
    ours = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(residuals))
    proof = made.proof
    return {
        "proof": proof.verdict + (f": {proof.why}" if proof.why else ""),
        "gradient": made.verify(["gradient"]).verdict,
        "bytes": made.residuals.bytes,
        "bytes by hand": ours,
        "seconds": round(seconds, 2),
    }


def measure(names: tuple[str, ...] = ()) -> dict[str, Any]:
    """For each rule, or for those named."""
    return {name: derived(rule) for name, rule in jbp.rules().items() if not names or name in names}


def claim(measured: dict[str, Any]) -> None:
    proved = [name for name, found in measured.items() if found.get("proof") == "proved"]
    assert all(found["gradient"] == "right" for name, found in measured.items() if name in proved)
    assert len(proved) >= 66


if __name__ == "__main__":
    if sys.argv[1:]:
        for name, found in measure(tuple(sys.argv[1:])).items():
            print(name, found)
    else:
        report(measure, claim)
