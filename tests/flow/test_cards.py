"""The card that a run writes shows names that others gave as text, whatever signs are in them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import dataworth

TARGET = [f"a number of documents plus {i} words" for i in range(20)]
NAMES = ["<img src=x onerror=alert(1)>", "a|b|c", "`x`", "[l](u)", "**b** # h", "<b>", "é文"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_a_target_is_text(name: str, tmp_path: Path) -> None:
    rows = [{"text": f"number {i} of the documents, plus words"} for i in range(50)]
    out = tmp_path / "out"
    dataworth.select(rows, {name: TARGET}, "20-docs", out=out, engine=1)
    card = (out / "README.md").read_text()
    head, body = card.removeprefix("---\n").split("---\n", 1)
    assert yaml.safe_load(head)["configs"][0]["data_files"]
    for sign in ("<img", "<b>", "](u)", "**b", " `x"):
        assert sign not in body
    (line,) = [line for line in body.splitlines() if line.startswith("| ") and "target" not in line]
    assert line.replace(r"\|", "").count("|") == 4
    page = (out / "report.html").read_text()
    assert "<img src=x" not in page
