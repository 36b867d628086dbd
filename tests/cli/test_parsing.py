"""How the text of options is read."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from dataworth.cli import parsing as p


def test_targets_are_named_or_name_themselves(tmp_path: Path) -> None:
    odd = tmp_path / "a=b.jsonl"
    odd.touch()
    found = p.targets(["math=m.jsonl", "math=n/*.jsonl", "code.target.jsonl", str(odd)])
    assert found == {
        "math": [Path("m.jsonl"), Path("n/*.jsonl")],
        "code": [Path("code.target.jsonl")],
        "a=b": [odd],
    }
    assert p.targets([]) is None
    assert p.targets(["s3://bucket/key=1/law.jsonl"]) == {"law": ["s3://bucket/key=1/law.jsonl"]}
    assert p.targets(["law=s3://b/x"]) == {"law": ["s3://b/x"]}


@pytest.mark.parametrize("texts", [["a/t.jsonl", "b/t.jsonl"], ["t=a", "t.jsonl"], ["t", "t=a"]])
def test_two_targets_of_one_name(texts: list[str]) -> None:
    with pytest.raises(typer.BadParameter, match="two targets are called 't'"):
        p.targets(texts)


def test_storage_options_are_json_and_nest() -> None:
    texts = ["anon=true", "key=abc", "client_kwargs.endpoint_url=http://127.0.0.1:5000", "n=3"]
    assert p.storage_options([*texts, "client_kwargs.region_name=x"]) == {
        "anon": True,
        "key": "abc",
        "client_kwargs": {"endpoint_url": "http://127.0.0.1:5000", "region_name": "x"},
        "n": 3,
    }
    assert p.storage_options([]) is None


@pytest.mark.parametrize(
    ("text", "value"), [("256MB", 256_000_000), ("1MiB", 2**20), ("4096", 4096), ("5GB", 5 * 10**9)]
)
def test_sizes(text: str, value: int) -> None:
    assert p.size(text) == value


@pytest.mark.parametrize("text", ["", "0", "10%", "5M", "-1", "3 parsecs"])
def test_wrong_sizes(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is no size"):
        p.size(text)


def test_shares() -> None:
    assert [p.share(text) for text in ("1%", "0.01", "30 %", "1")] == [0.01, 0.01, 0.3, 1.0]
    with pytest.raises(typer.BadParameter, match="is no share"):
        p.share("some")
