"""The card that a run writes shows names that others gave as text, whatever signs are in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import dataworth

TARGET = [f"a number of documents plus {i} words" for i in range(20)]
NAMES = ["<img src=x onerror=alert(1)>", "a|b|c", "`x`", "[l](u)", "**b** # h", "<b>", "é文"]


@pytest.mark.parametrize("named", [True, False])
def test_licences_are_counted(named: bool, tmp_path: Path) -> None:
    """By a field to group by, or by its usual names wherever it stands in the rows."""
    kinds = ["cc0", "mit|x", None]
    rows = [{"text": f"row {i} of words", "meta": {"Licence": kinds[i % 3]}} for i in range(30)]
    options: dict[str, Any] = {"group_by": "meta.Licence"} if named else {}
    dataworth.select(rows, budget="15-docs", steps="length(minimum=1)", out=tmp_path, **options)
    card = (tmp_path / "README.md").read_text()
    table = card.partition("Licences, by the field meta.Licence:")[2].split("\n")[4:]
    counts = {line.rsplit("|", 2)[0]: int(line.rsplit("|", 2)[1]) for line in table if line}
    assert sum(counts.values()) == 15
    assert all(name[2:].strip() in ("cc0", "mit&#124;x", r"mit\|x", "(none)") for name in counts)


def test_no_licences_no_words_on_them(tmp_path: Path) -> None:
    rows = [{"text": f"row {i} of words"} for i in range(9)]
    dataworth.select(rows, budget="5-docs", steps="length(minimum=1)", out=tmp_path)
    assert "Licences" not in (tmp_path / "README.md").read_text()


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
