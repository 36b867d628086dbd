"""Keys of folders (`lang=en`) are fields of the rows below them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import zstandard

import dataworth
from dataworth.corpus.read.folders import folder_keys
from dataworth.errors import ConfigError

LANGUAGES = ("en", "fr")


def rows(language: str, count: int = 20) -> list[dict[str, Any]]:
    return [{"text": f"some words of document {i} in {language} here"} for i in range(count)]


def lines(values: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(value) + "\n" for value in values).encode()


def as_jsonl(folder: Path, language: str) -> None:
    (folder / "part.jsonl").write_bytes(lines(rows(language)))


def as_zst(folder: Path, language: str) -> None:
    (folder / "part.jsonl.zst").write_bytes(zstandard.compress(lines(rows(language))))


def as_parquet(folder: Path, language: str) -> None:
    pq.write_table(pa.Table.from_pylist(rows(language)), folder / "part.parquet")


def as_texts(folder: Path, language: str) -> None:
    for number, row in enumerate(rows(language)):
        (folder / f"{number}.txt").write_text(row["text"])


def as_chats(folder: Path, language: str) -> None:
    chats = [{"messages": [{"role": "user", "content": row["text"]}]} for row in rows(language)]
    (folder / "part.jsonl").write_bytes(lines(chats))


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "target.jsonl"
    path.write_bytes(lines(rows("fr", 5)))
    return path


def scattered(pool: Path, write: Callable[[Path, str], None]) -> Path:
    for language in LANGUAGES:
        folder = pool / f"lang={language}"
        folder.mkdir(parents=True)
        write(folder, language)
    return pool


def kept(made: dataworth.Selection, field: str = "lang") -> dict[str | None, int]:
    (found,) = [part for part in made.metrics["composition"] if part["field"] == field]
    return {part["value"]: part["selection"]["documents"] for part in found["parts"]}


@pytest.mark.parametrize("write", [as_jsonl, as_zst, as_parquet, as_texts, as_chats])
def test_groups_and_quotas(write: Callable[..., None], target: Path, tmp_path: Path) -> None:
    pool = scattered(tmp_path / "pool", write)
    made = dataworth.select(
        pool,
        target,
        "10-docs",
        quotas=["lang=fr:3-docs"],
        template="plain" if write is as_chats else None,
        target_template="none",
        out=tmp_path / "out",
        engine=1,
    )
    assert kept(made) == {"en": 7, "fr": 3}
    assert not [text for text in made.metrics["warnings"] if "No document has" in text]
    again = dataworth.load(tmp_path / "out").choose("6-docs", quotas="lang:3-docs")
    assert kept(again) == {"en": 3, "fr": 3}


@pytest.mark.parametrize("form", ["folder", "glob", "list"])
def test_however_the_pool_is_named(form: str, target: Path, tmp_path: Path) -> None:
    pool: Any = scattered(tmp_path / "pool", as_jsonl)
    if form == "glob":
        pool = str(pool / "lang=*" / "*.jsonl")
    elif form == "list":
        pool = [pool / "lang=en" / "part.jsonl", pool / "lang=fr"]
    made = dataworth.select(pool, target, "40-docs", group_by="lang", engine=1)
    assert kept(made) == {"en": 20, "fr": 20}


def test_what_arrow_writes(target: Path, tmp_path: Path) -> None:
    """Names that a folder cannot have are encoded, and a null has a folder of its own."""
    table = pa.table({"text": [f"words of text {i}" for i in range(3)], "of": ["a/b c", "é", None]})
    flavour = ds.partitioning(pa.schema([("of", pa.string())]), flavor="hive")
    ds.write_dataset(table, tmp_path / "pool", format="parquet", partitioning=flavour)
    made = dataworth.select(tmp_path / "pool", target, "100%", group_by="of", engine=1)
    assert kept(made, "of") == {"a/b c": 1, "é": 1, None: 1}


def test_values_of_rows_come_first(target: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pool" / "lang=en"
    folder.mkdir(parents=True)
    own = [{"text": "words of their own", "lang": "de"}, {"text": "words of none", "lang": None}]
    (folder / "part.jsonl").write_bytes(lines([*own, {"text": "words without"}]))
    made = dataworth.select(tmp_path / "pool", target, "100%", group_by="lang", engine=1)
    assert kept(made) == {"de": 1, "en": 2}


def test_ids_pieces_and_what_is_told(target: Path, tmp_path: Path) -> None:
    pool = scattered(tmp_path / "pool", as_jsonl)
    scores = dataworth.score(pool, target, id_field="lang", split_words=4, engine=1)
    assert set(scores.to_arrow()["id"].to_pylist()) == set(LANGUAGES)
    assert "lang" in [field.name for field in dataworth.inspect(pool).fields]
    made = dataworth.select(pool, target, "5-docs", group_by="land", engine=1)
    (said,) = [text for text in made.metrics["warnings"] if "No document has" in text]
    assert "there are text, lang" in said


def test_a_value_that_no_folder_has(target: Path, tmp_path: Path) -> None:
    pool = scattered(tmp_path / "pool", as_jsonl)
    with pytest.raises(ConfigError, match=r"lang does not have; it has 2: en, fr"):
        dataworth.select(pool, target, "5-docs", quotas="lang=de:1-docs", engine=1)


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("/data/pool.jsonl", {}),
        ("/data/lang=en/a=b.jsonl", {"lang": "en"}),
        ("/run=1/run=2/x.jsonl", {"run": "2"}),
        ("s3://bucket/a=b=c/=d/e=/x.jsonl", {"a": "b=c", "e": ""}),
        ("https://host/a=1/x.jsonl?b=2/c=3/d", {"a": "1"}),
        ("/a=__HIVE_DEFAULT_PARTITION__/x.jsonl", {"a": None}),
    ],
)
def test_keys_of_a_path(path: str, keys: dict[str, str | None]) -> None:
    assert folder_keys(path) == keys
