"""Verdicts as continuous integration reads them."""

import json
from pathlib import Path
from xml.etree import ElementTree

from jaxbackprop.cli.ci_reports import junit, sarif
from jaxbackprop.verification.checks.result import CheckResult
from jaxbackprop.verification.report import Verification

RIGHT = CheckResult(True, name="forward pass", check="forward_pass")
WRONG = CheckResult(
    False,
    "k[8, 0]: expected 1 < 2\x00, got nan",
    "gradient of k",
    check="gradient",
    again="verify(flash)",
    heat=("..#",),
)
UNDECIDED = CheckResult(None, "no oracle could tell", "other points", check="other_points")
RESULTS = [
    Verification(
        "flash", (RIGHT, WRONG), "/repository/kernels/flash.py:12", likely_cause="a scale left out", seconds=1.5
    ),
    Verification("norm", (RIGHT, UNDECIDED)),
]


def test_junit_has_a_test_for_each_check_and_the_text_of_what_failed():
    root = ElementTree.fromstring(junit(RESULTS))
    assert [(s.get("name"), s.get("tests"), s.get("failures")) for s in root] == [
        ("flash", "2", "1"),
        ("norm", "2", "1"),
    ]
    wrong, undecided = root.findall(".//failure")
    assert (wrong.get("type"), wrong.get("message")) == ("wrong", "k[8, 0]: expected 1 < 2, got nan")
    assert wrong.text == "a scale left out\nverify(flash)\n..#"
    assert undecided.get("type") == "undecided"


def test_sarif_places_each_finding_at_the_line_of_its_rule():
    (run,) = json.loads(sarif(RESULTS, Path("/repository")))["runs"]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["gradient", "other_points"]
    wrong, undecided = run["results"]
    assert (wrong["level"], undecided["level"]) == ("error", "warning")
    assert wrong["message"]["text"].startswith("flash: gradient of k: k[8, 0]")
    place = wrong["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": "kernels/flash.py"}, "region": {"startLine": 12}}
    assert undecided["locations"] == []
