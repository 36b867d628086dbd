"""The steps that docs/extending.md shows, run as they stand there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import dataworth
from dataworth.registry import STEPS
from methods.modelled import POOL, model_folder

PAGE = (Path(__file__).parents[1] / "docs" / "extending.md").read_text("utf-8")


def block(word: str) -> str:
    (code,) = [code for code in re.findall(r"```python\n(.*?)```", PAGE, re.S) if word in code]
    return code


@pytest.fixture(autouse=True)
def names() -> Iterator[None]:
    before = dict(STEPS._registered)
    yield
    STEPS._registered.clear()
    STEPS._registered.update(before)


@pytest.mark.parametrize(
    ("word", "name", "options"),
    [
        ("Compression(Score)", "Compression", "minimum=0.2"),
        ("Certain(ModelMeasure)", "Certain", ""),
    ],
)
def test_the_page_has_whole_steps(
    word: str, name: str, options: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = f"shown_{name.lower()}"
    code = block(word)
    (tmp_path / f"{module}.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    options = options or f"model={model_folder()}"
    pool = [{"text": text} for text in [*POOL, "a " * 500]]
    step = f"{module}:{name}({options})"
    made = dataworth.select(pool, budget="5-docs", steps=[step], out=tmp_path / "run")
    assert len(made) == 5
    dropped = made.metrics["accounting"]["dropped"]
    assert dropped == ({"compresses too well": 1} if name == "Compression" else {})


def test_the_page_has_a_whole_step_that_compares_documents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shown_opening.py").write_text(block("class SameOpening"))
    monkeypatch.syspath_prepend(str(tmp_path))
    texts = ["one two three", "another text", "one two three four", "one", "one two"]
    pool = [{"text": text} for text in texts]
    step = "shown_opening:SameOpening(words=2)"
    table = dataworth.score(pool, steps=[step], out=tmp_path / "run").to_arrow()
    assert table["drop"].to_pylist() == ["same opening", None, None, None, "same opening"]
    cluster = table["cluster:same_opening"].to_pylist()
    assert cluster[0] == cluster[2] == cluster[4]
    assert len(set(cluster)) == 3
