"""Names that nothing answers to, and places that cannot be written to, are told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import dataworth
from dataworth.engine.files import local_path
from dataworth.errors import ConfigError, InputError


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Any]:
    rows = [{"text": f"some words of document {i} and others", "kind": "a"} for i in range(30)]
    for name in ("pool", "target"):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"{name}.jsonl").write_text(text)
    return {"pool": tmp_path / "pool.jsonl", "target": tmp_path / "target.jsonl", "engine": 1}


def test_fields_that_no_document_has_are_told(files: dict[str, Any]) -> None:
    made = dataworth.select(**files, budget="5-docs", group_by=["kind", "knid"], id_field="key")
    told = [text for text in made.metrics["warnings"] if "No document has" in text]
    assert [text.split("'")[1] for text in told] == ["knid", "key"]
    assert all("text, kind" in text for text in told)


def test_fields_that_are_there_are_not(files: dict[str, Any]) -> None:
    made = dataworth.select(**files, budget="5-docs", group_by=["kind"], id_field="text")
    assert not [text for text in made.metrics["warnings"] if "No document has" in text]


@pytest.mark.parametrize("url", ["s3://bucket/out", "gs://b/o", "hf:/b", "file:///o", "s3:/b"])
def test_urls_are_no_folders(files: dict[str, Any], url: str) -> None:
    with pytest.raises(ConfigError, match="cannot be written to a URL"):
        dataworth.select(**files, budget="5-docs", out=url)
    with pytest.raises(ConfigError, match="cannot be written to a URL"):
        dataworth.select(**files, budget="5-docs").report(url)
    assert not Path(url).exists()


@pytest.mark.parametrize("path", ["out", "a/b:c", "C:/out", "/x/y", "a.b"])
def test_paths_stay_paths(path: str) -> None:
    assert local_path(path) == Path(path)


def test_quotas_by_a_field_that_no_document_has(files: dict[str, Any], tmp_path: Path) -> None:
    """Told before scoring, and when a finished run is chosen from."""
    said = r"'knid', which no document of the pool has; there are text, kind"
    with pytest.raises(ConfigError, match=said):
        dataworth.select(**files, budget="5-docs", quotas="knid=a:2-docs", out=tmp_path / "out")
    assert not (tmp_path / "out" / "table").exists()
    scores = dataworth.score(**files, group_by=["kind", "knid"], out=tmp_path / "scored")
    with pytest.raises(ConfigError, match=said):
        scores.choose("5-docs", quotas={"knid": 0.5})
    assert len(scores.choose("5-docs", quotas={"kind": {"a": "2-docs"}})) == 2
    again = dataworth.select(**files, budget="5-docs", quotas="kind:2-docs", out=tmp_path / "out")
    assert len(again) == 2


@pytest.mark.parametrize("option", [{"group_by": ""}, {"id_field": ""}])
def test_fields_without_a_name(files: dict[str, Any], option: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="'' is no name of a field"):
        dataworth.select(**files, budget="3-docs", **option)


def test_judge_tells_of_a_group_that_no_document_has(files: dict[str, Any]) -> None:
    made = dataworth.judge(files["pool"], pool=files["pool"], group_by="domian")
    assert any(
        "No document has a value in the field 'domian'; there are" in line
        for line in made.metrics["warnings"]
    )


def test_targets_that_are_no_chats(files: dict[str, Any]) -> None:
    chats = [{"prompt": f"question {i}", "completion": "yes"} for i in range(9)]
    with pytest.raises(InputError, match=r"plain text \(--target-template none\)"):
        dataworth.select(chats, files["target"], "3-docs", template="plain")
