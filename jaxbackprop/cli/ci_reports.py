"""What continuous integration reads: verdicts as JUnit XML, and findings at their lines as SARIF."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from .. import __version__
from ..verification.report import Verification


def junit(results: Sequence[Verification]) -> str:
    """One suite a rule, one test a check; with a failure's text and the call that makes it again."""
    root = ElementTree.Element("testsuites")
    for rule in results:
        failed = {"tests": str(len(rule.checks)), "failures": str(len(rule.failures)), "time": f"{rule.seconds:.3f}"}
        suite = ElementTree.SubElement(root, "testsuite", {"name": rule.name, **failed})
        for check in rule.checks:
            test = ElementTree.SubElement(suite, "testcase", {"classname": rule.name, "name": check.name})
            if check.passed is not True:
                attributes = {"type": check.verdict, "message": _printable(check.finding)}
                failure = ElementTree.SubElement(test, "failure", attributes)
                failure.text = _printable("\n".join([rule.likely_cause, check.again, *check.heat]))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _printable(text: str) -> str:
    """Without the control characters that XML cannot hold."""
    return re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "", text)


def sarif(results: Sequence[Verification], root: Path) -> str:
    """One result for each check that did not pass, at the line of the rule's definition; paths below `root`."""
    found = [finding for rule in results for finding in _findings(rule, root)]
    driver = {
        "name": "jaxbackprop",
        "version": __version__,
        "rules": [{"id": name} for name in dict.fromkeys(f["ruleId"] for f in found)],
    }
    schema = "https://json.schemastore.org/sarif-2.1.0.json"
    runs = [{"tool": {"driver": driver}, "results": found}]
    return json.dumps({"$schema": schema, "version": "2.1.0", "runs": runs}, indent=1) + "\n"


def _findings(rule: Verification, root: Path) -> Iterator[dict[str, Any]]:
    file, _, line = rule.source.rpartition(":")
    path = Path(file)
    uri = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
    place = {"artifactLocation": {"uri": uri}, "region": {"startLine": int(line)}} if line.isdigit() else None
    for check in rule.failures:
        lines = [f"{rule.name}: {check.name}: {check.finding}", rule.likely_cause, check.again]
        yield {
            "ruleId": check.check or check.name,
            "level": "error" if check.verdict == "wrong" else "warning",
            "message": {"text": "\n".join(filter(None, lines))},
            "locations": [{"physicalLocation": place}] if place else [],
        }
