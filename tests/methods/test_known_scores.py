"""Scores from files, lists of words, fields and languages: what comes from beside the text."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataworth.errors import ConfigError, InputError
from dataworth.methods.base import Batch
from dataworth.methods.exact_duplicates import ExactDuplicates
from dataworth.methods.field_in import FieldIn
from dataworth.methods.known_scores import KnownScores
from dataworth.methods.language_id import LanguageId
from dataworth.methods.state import State
from dataworth.methods.word_list import WordList
from methods.crossing import decide, kept
from methods.fitting import docs, fit, utility

TEXTS = ["first text", "second text", "third"]


def test_scores_by_uid(tmp_path: Path) -> None:
    path = tmp_path / "scores.parquet"
    uid = docs(TEXTS).uid.tolist()
    table = pa.table({"uid": [f"{u:016x}" for u in uid[:2]], "q": [0.5, -1.0]})
    pq.write_table(table, path)
    fitted = fit(KnownScores(str(path), "q"), ["x"], {})
    assert utility(fitted, TEXTS) == [0.5, -1.0, None] or math.isnan(utility(fitted, TEXTS)[2])
    assert fitted.annotate(docs(TEXTS)).column("drop").to_pylist() == [
        None,
        None,
        "no known score",
    ]
    smaller = fit(KnownScores(str(path), "q", sign="smaller"), ["x"], {})
    assert utility(smaller, TEXTS[:2]) == [-0.5, 1.0]
    pq.write_table(table.set_column(0, "uid", pa.array(uid[:2], pa.uint64())), path)
    assert utility(fit(KnownScores(str(path), "q"), ["x"], {}), TEXTS[:2]) == [0.5, -1.0]


def test_dolma_attributes_by_id(tmp_path: Path) -> None:
    """The mean over spans, weighted by their lengths."""
    path = tmp_path / "attributes.jsonl"
    spans = {"a": [[0, 4, 1.0], [4, 10, 0.0]], "b": [[0, 5, 0.25]]}
    rows = [
        {"id": name, "attributes": {"tagger__q": value}}
        for name, value in [*spans.items(), ("c", [])]
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    step = KnownScores(str(path), "tagger__q", by="id")
    documents = replace(docs(TEXTS), columns={"id": pa.array(["b", "a", "c"])})
    state = State(step.fit(None, None))  # type: ignore[arg-type]
    values = step.utilities(Batch(documents), state)[:, 0].tolist()
    assert values[:2] == [0.25, 0.4] and math.isnan(values[2])
    with pytest.raises(ConfigError, match="id_field"):
        step.utilities(Batch(docs(TEXTS)), state)


def test_scores_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        KnownScores(str(tmp_path / "none.parquet"), "q").check()
    path = tmp_path / "s.jsonl"
    path.write_text('{"uid": "00", "q": "high"}\n')
    with pytest.raises(InputError, match="no row has a number"):
        fit(KnownScores(str(path), "q"), ["x"], {})
    with pytest.raises(InputError, match="has no 'id'"):
        fit(KnownScores(str(path), "q", by="id"), ["x"], {})


def test_word_list(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("# licence: CC0\n# a comment\nfoo\nbar baz\n")
    texts = ["FOO, and bar: Baz!", "food bar and baz", "foo foo foo", ""]
    step = WordList(str(path), most=2)
    step.check()
    batch = fit(step, ["x"], {}).annotate(docs(texts)).to_pylist()
    assert [row["words:word_list"] for row in batch] == [2, 0, 3, 0]
    assert [row["drop"] for row in batch] == [None, None, "words of the list", None]
    shares = fit(WordList(str(path), most=None, share=True), ["x"], {}).annotate(docs(texts))
    assert shares.column("words:word_list").to_pylist() == [0.5, 0, 1, 0]
    assert shares.column("drop").null_count == 4
    path.write_text("foo\n")
    with pytest.raises(ConfigError, match="says no licence"):
        step.check()
    with pytest.raises(ConfigError, match="no such list"):
        WordList(str(tmp_path / "none")).check()


def test_field_in() -> None:
    documents = replace(docs(TEXTS), columns={"licence": pa.array(["mit", "gpl", None])})
    for keep, wanted in ((True, [0, 1, 1]), (False, [1, 0, 0])):
        step: Any = FieldIn("licence", ("mit",), keep=keep)
        assert step.annotate(Batch(documents), State())["drop"].tolist() == wanted
    with pytest.raises(ConfigError, match="add it to group_by"):
        fit(FieldIn("licence", ("mit",)), ["x"], {})
    with pytest.raises(ConfigError, match="at least one value"):
        FieldIn("licence", ())


def test_languages() -> None:
    texts = [
        "The weather is nice today and we are going to the beach with our friends.",
        "Das Wetter ist heute schön und wir gehen mit unseren Freunden an den Strand.",
        "今日は天気がいいので友達と海に行きます。",
    ]
    batch = fit(LanguageId(keep=("en", "ja")), ["x"], {}).annotate(docs(texts)).to_pylist()
    assert [row["language:language_id"] for row in batch] == ["en", "de", "ja"]
    assert [row["drop"] for row in batch] == [None, "language", None]
    doubt = fit(LanguageId(keep=("en",), confidence=1.0), ["x"], {}).annotate(docs(["hm"]))
    assert doubt.column("drop").to_pylist()[0] is not None
    assert fit(LanguageId(), ["x"], {}).annotate(docs(texts)).column("drop").null_count == 3
    with pytest.raises(ConfigError, match="language_id: there is no file"):
        LanguageId(model="nowhere.bin").check()
    with pytest.raises(ConfigError, match=r"language_id: .* is no model of fastText"):
        LanguageId(model=__file__).check()


def test_exact_copies_after_normalisation(tmp_path: Path) -> None:
    texts = ["The cafe is open", "the  café, is OPEN!", "the cafe is", "!!", "??"]
    rows = decide(ExactDuplicates(normalise=True), texts, tmp_path)
    assert len(kept(rows)) == 4
    assert rows[0]["cluster:exact_duplicates"] == rows[1]["cluster:exact_duplicates"]
    assert rows[3]["drop"] is None and rows[4]["drop"] is None
