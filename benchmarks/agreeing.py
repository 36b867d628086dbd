"""The tests of agreement with the peers, run with their own Python, and what they measured."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from xml.etree import ElementTree

from common import ROOT, table

TESTS = ROOT / "tests" / "peers"


def agreement_table(pythons: dict[str, str]) -> str:
    """Runs tests/peers with each environment; the figures that they record, or how they failed."""
    rows: list[list[object]] = []
    for python in dict.fromkeys(pythons.values()):
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "found.xml"
            words = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(TESTS)]
            subprocess.run([*words, f"--junitxml={place}"], cwd=ROOT, capture_output=True)
            if place.exists():
                rows += figures(place)
    shown = sorted(rows, key=str)
    head = ("peer and what is compared", "measure", "needed", "found", "test")
    return "\n## Agreement\n\n" + table(head, shown) if shown else ""


def figures(path: Path) -> list[list[object]]:
    """The figures that the tests recorded; tests that were skipped have none."""
    rows: list[list[object]] = []
    for case in ElementTree.parse(path).iter("testcase"):
        outcome = "failed" if case.find("failure") is not None else "passed"
        for item in case.iter("property"):
            what, measure, needed = item.attrib["name"].split("|")
            rows.append([what, measure, needed, item.attrib["value"], outcome])
    return rows
