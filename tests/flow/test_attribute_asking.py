"""What `dataworth.attribute` is given: models, queries, and what is refused, with the remedy."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dataworth
from dataworth.attributing import attribution as flow
from dataworth.attributing import opening
from dataworth.corpus.documents import Documents
from dataworth.errors import ConfigError, DataworthError, InputError
from methods.modelled import POOL, TARGET, model_folder

pytestmark = pytest.mark.usefixtures("swift")
PLAIN: dict[str, Any] = {"solver": "identity", "engine": 1, "top": 1}


def chat(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "go"}, {"role": "assistant", "content": text}]}


def written(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def texts(found: dataworth.Attribution) -> list[str]:
    return [query["text"] for query in found.queries]


def test_texts_are_no_chats(tmp_path: Path) -> None:
    """What is asked as text is read without the documents' template."""
    chats = written(tmp_path / "chats.jsonl", [chat(text) for text in POOL[:8]])
    found = dataworth.attribute(model_folder(), chats, TARGET[:2], template="chatml", **PLAIN)
    assert texts(found) == TARGET[:2]
    asked = written(tmp_path / "asked.jsonl", [chat(TARGET[0])])
    found = dataworth.attribute(model_folder(), chats, asked, template="chatml", **PLAIN)
    assert texts(found)[0].startswith("<|im_start|>user")


def test_queries_have_a_template_of_their_own(tmp_path: Path) -> None:
    plain = written(tmp_path / "plain.jsonl", [{"body": text} for text in POOL[:8]])
    asked = written(tmp_path / "asked.jsonl", [chat(TARGET[0])])
    reading: dict[str, Any] = {"text_field": "body", **PLAIN}
    found = dataworth.attribute(model_folder(), plain, asked, query_template="plain", **reading)
    assert texts(found) == [f"go\n\n{TARGET[0]}"]
    chats = written(tmp_path / "chats.jsonl", [chat(text) for text in POOL[:8]])
    found = dataworth.attribute(
        model_folder(),
        chats,
        written(tmp_path / "words.jsonl", [{"text": TARGET[1]}]),
        template="tulu",
        query_template="none",
        **PLAIN,
    )
    assert texts(found) == [TARGET[1]]
    with pytest.raises(ConfigError, match="unknown template 'odd'"):
        dataworth.attribute(model_folder(), plain, asked, query_template="odd", **reading)


def test_texts_are_not_written_to_be_read_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pool = written(tmp_path / "pool.jsonl", [{"text": text} for text in POOL[:8]])
    logging.getLogger("dataworth").propagate = True
    with caplog.at_level(logging.INFO, "dataworth"):
        first = dataworth.attribute(model_folder(), pool, TARGET[:2], **PLAIN)
    assert "estimated" not in caplog.text and "about" in caplog.text
    assert "given in memory" not in caplog.text
    again = dataworth.attribute(model_folder(), pool, Documents.from_texts(TARGET[:2]), **PLAIN)
    assert np.array_equal(again.scores, first.scores)


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"queries": "Hello there"}, InputError, r"a text is a query as a list: \['Hello there'\]"),
        ({"queries": [""]}, InputError, "query 1 is empty"),
        ({"queries": ["words", " \n"]}, InputError, "query 2 is empty"),
        ({"model": object()}, ConfigError, "a folder .*, not a object"),
        ({"trained": "10k"}, ConfigError, "is there already: leave trained out"),
        ({"model": "tiny", "solver": "newton"}, ConfigError, "solver must be one of"),
        ({"solver": "cosine", "per": "token"}, ConfigError, "no share of a token"),
    ],
)
def test_refusals_say_what_to_do(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: dict[str, Any],
    error: type[DataworthError],
    said: str,
) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(opening, "train_proxies", forbidden)
    pool = written(tmp_path / "pool.jsonl", [{"text": text} for text in POOL[:8]])
    with pytest.raises(error, match=said) as raised:
        dataworth.attribute(**{"model": model_folder(), "train": pool, "queries": TARGET, **given})
    assert "\n" not in str(raised.value)


def test_an_empty_file_of_queries(tmp_path: Path) -> None:
    pool = written(tmp_path / "pool.jsonl", [{"text": text} for text in POOL[:8]])
    with pytest.raises(InputError, match="each document is a query") as raised:
        dataworth.attribute(model_folder(), pool, written(tmp_path / "none.jsonl", []))
    assert "good at" not in str(raised.value)


def test_what_cannot_be_is_refused_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(flow.surveys, "survey", forbidden)
    monkeypatch.setattr(flow, "forecast", forbidden)
    monkeypatch.setattr("dataworth.features.gradients.solving.LARGEST", 100)
    pool = written(tmp_path / "pool.jsonl", [{"text": text} for text in POOL[:8]])
    with pytest.raises(ConfigError, match="at most 100; name some modules"):
        dataworth.attribute(model_folder(), pool, TARGET, solver="dense")
    bare = tmp_path / "bare"
    bare.mkdir()
    for path in Path(model_folder()).iterdir():
        if path.name != "moments.npz":
            (bare / path.name).write_bytes(path.read_bytes())
    for solver in ("adam", "adam_cg"):
        with pytest.raises(ConfigError, match="dataworth proxy"):
            dataworth.attribute(bare, pool, TARGET, solver=solver)


def test_a_folder_of_models_is_no_model(tmp_path: Path) -> None:
    for name in ("seed-0", "seed-1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"name one: .*seed-0, .*seed-1"):
        dataworth.attribute(tmp_path, POOL[:4], TARGET)


def test_chats_in_which_the_assistant_says_nothing(tmp_path: Path) -> None:
    silent = [{"messages": chat("")["messages"][:1]}, chat("")]
    chats = written(tmp_path / "chats.jsonl", [*(chat(text) for text in POOL[:6]), *silent])
    options: dict[str, Any] = {"template": "chatml", "engine": 1, "top": 8}
    for solver in ("identity", "cosine"):
        found = dataworth.attribute(model_folder(), chats, TARGET[:1], solver=solver, **options)
        assert found.scores.shape == (8, 1)
        assert (found.scores[:6] != 0).all() and not found.scores[6:].any()
        assert any("2 of 8 chats have no words of the assistant" in n for n in found.facts["notes"])
        shown = found.queries[0]["helpful"] + found.queries[0]["harmful"]
        assert len(shown) == 6 and all(document["tokens"] for document in shown)
    for row in silent:
        asked = written(tmp_path / "asked.jsonl", [chat(TARGET[0]), row])
        with pytest.raises(InputError, match="query 2 is a chat without words of the assistant"):
            dataworth.attribute(model_folder(), chats, asked, **options)
    nothing = written(tmp_path / "nothing.jsonl", silent[:1] * 3)
    with pytest.raises(InputError, match="no chat has words of the assistant"):
        dataworth.attribute(model_folder(), nothing, TARGET[:1], **options)
