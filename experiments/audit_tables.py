"""The tables of docs/audit_in_the_open.md, from the JSON of the experiment."""

import json
from typing import Any

from audit_findings import FALSE_ALARMS, FAULTS, MEANT, PROGRAMS
from harness import RESULTS


def section() -> list[str]:
    """How much was looked at, the rules with their verdicts, and what could not be looked at."""
    measured = json.loads((RESULTS / "audit_in_the_open.json").read_text())["measured"]
    libraries = {name: of for name, of in measured.items() if not of["absent"]}
    rows = {f"{name}/{f}": row for name, of in libraries.items() for f, row in of["rows"].items()}
    called = {name: row for name, row in rows.items() if "error" not in row}
    rules = _by_rule(called)
    counts = [f"{name} {of['version']} ({sum('error' not in row for row in of['rows'].values())})"
              for name, of in libraries.items()]  # fmt: skip
    return [
        f"{len(called)} functions of {len(libraries)} libraries call {len(rules)} handwritten rules.",
        f"Functions of each: {', '.join(counts)}.",
        "",
        "| rule | verdict | proof | arithmetic | met in |",
        "|---|---|---|---|---|",
        *(_line(rule, found) for rule, found in rules.items()),
        "",
        "Programs whose own gradient is not that of their value, without a faulty rule:",
        "",
        *(f"- `{name}`: {why}" for name, why in PROGRAMS.items() if any(row.endswith(f"/{name}") for row in rows)),
        "",
        "Not examined, in all or in part; where a rule could not be judged alone, with what is known of the",
        "gradient of the programs that call it:",
        "",
        *_not_examined(measured, rows),
    ]


def _by_rule(rows: dict[str, Any]) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """For each rule the functions that call it, with what was found there."""
    met: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for function, row in rows.items():
        for rule, found in row.get("rules", {}).items():
            met.setdefault(rule, []).append((function.partition("/")[2], found))
    return met


def _line(rule: str, met: list[tuple[str, dict[str, Any]]]) -> str:
    name, _, place = rule.partition(" at ")
    verdicts = dict.fromkeys(found["verdict"] for _, found in met)
    said = "; ".join(f"**{v}**" if v == "wrong" else v for v in verdicts)
    known = (FAULTS | MEANT | FALSE_ALARMS).get(place)
    said += f": {known}" if known and set(verdicts) & {"wrong", "undecided"} else ""
    proofs = ", ".join(dict.fromkeys(found["proof"] for _, found in met if found["proof"]))
    arithmetic = ", ".join(dict.fromkeys(found["arithmetic"] for _, found in met if found.get("arithmetic")))
    functions = [function for function, _ in met]
    some = ", ".join(f"`{f}`" for f in functions[:2]) + (f" and {len(functions) - 2} more" * (len(functions) > 2))
    return f"| `{name}` ({place}) | {said} | {proofs} | {arithmetic} | {some} |"


def _not_examined(measured: dict[str, Any], rows: dict[str, Any]) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for name, of in measured.items():
        if of["absent"]:
            reasons.setdefault(f"the library does not import here: {of['absent']}", []).append(name)
    for function, row in rows.items():
        name = function.partition("/")[2]
        if "error" in row:
            reasons.setdefault(row["error"], []).append(name)
        for what, why in row.get("not examined", {}).items():
            gradient = f"{name}, gradient {row['gradient']}" if row.get("gradient") else name
            reasons.setdefault(f"{why} (`{what}`)", []).append(gradient)
    return [
        f"- {', '.join(f'`{f}`' for f in of[:3])}{f' and {len(of) - 3} more' * (len(of) > 3)}: {why}"
        for why, of in reasons.items()
    ]
