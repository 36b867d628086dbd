"""Filters by rules: the published filters' reasons for 300 documents, and each threshold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataworth.errors import ConfigError
from dataworth.methods.c4 import C4
from dataworth.methods.fineweb import FineWeb
from dataworth.methods.gopher_quality import GopherQuality
from dataworth.methods.gopher_repetition import GopherRepetition
from dataworth.methods.refinedweb import RefinedWeb
from dataworth.methods.rules import NOT_JUDGED, pass_rates
from methods.fitting import docs, fit
from testdata import sample_pool

FIXTURE = Path(__file__).parent.parent / "features" / "rules" / "datatrove.json"
PUBLISHED: dict[str, tuple[str, Any]] = {
    "gopher_quality": ("gopher_quality", GopherQuality(scope="all")),
    "gopher_repetition": ("gopher_repetition", GopherRepetition(scope="all")),
    "fineweb": ("fineweb", FineWeb(scope="all")),
    "c4": ("c4", C4(scope="all")),
    "c4_no_end": ("c4", C4(scope="all", line_ends=False)),
}
CALLED = {
    "gopher_short_doc": "too few words",
    "gopher_above_avg_threshold": "words too long",
    "gopher_too_many_hashes": "too many hash signs",
    "gopher_below_alpha_threshold": "too few words with letters",
    "gopher_enough_stop_words": "too few stop words",
    "dup_para_frac": "paragraphs repeated",
    "dup_line_frac": "lines repeated",
    "line_punct_ratio": "too few lines end a sentence",
    "short_line_ratio": "too many short lines",
    "char_dup_ratio": "lines repeated",
    "lorem_ipsum": "lorem ipsum",
    "curly_bracket": "curly bracket",
    "too_few_sentences": "too few sentences",
    **{f"top_{n}_gram": f"{n}-gram too frequent" for n in (2, 3, 4)},
    **{f"duplicated_{n}_n_grams": f"{n}-grams repeated" for n in range(5, 11)},
}


def rows(step: Any, texts: list[str]) -> list[dict[str, Any]]:
    return fit(step, ["x"], {}).annotate(docs(texts)).to_pylist()


def reason(step: Any, text: str) -> str | None:
    drop: str | None = rows(step, [text])[0]["drop"]
    return drop


def test_the_published_reasons(pool_files: list[Path]) -> None:
    """Of 300 documents, five filters, with no difference."""
    texts = [json.loads(line)["text"] for line in sample_pool(pool_files, documents=300)][:300]
    documents = docs(texts)
    recorded = json.loads(FIXTURE.read_text())
    for number, name in enumerate(recorded["filters"]):
        step = PUBLISHED[name][1]
        drop = fit(step, ["x"], {}).annotate(documents).column("drop").to_pylist()
        for uid, own in zip(documents.uid.tolist(), drop, strict=True):
            code = recorded["documents"][f"{uid:016x}"][2 + number]
            assert own == (None if code is None else CALLED[recorded["reasons"][code]])


def test_thresholds_are_inside() -> None:
    fifty = ("the story of " * 25).strip() + "."
    cases = [
        (fifty, "words 50 to 75", None),
        (" ".join(["the that"] * 25), "50", None),
        (" ".join(["the that"] * 24 + ["and"]), "49", "too few words"),
        (" ".join(["abcdefghij"] * 50 + ["the", "of"]), "10", None),
        (" ".join(["abcdefghijk"] * 98 + ["the", "of"]), "over 10", "words too long"),
        (" ".join(["the story"] * 45 + ["#"] * 10), "10 of 100 hashes", "too few stop words"),
        (" ".join(["story"] * 50 + ["the"]), "one stop word", "too few stop words"),
    ]
    for text, what, wanted in cases:
        options = {} if what != "10 of 100 hashes" else {"least_words": 1}
        assert reason(GopherQuality(**options), text) == wanted, what


def test_stop_words_once_or_each_time() -> None:
    text = " ".join(["story"] * 50 + ["the", "the"])
    assert reason(GopherQuality(), text) == "too few stop words"
    assert reason(GopherQuality(distinct=False), text) is None


def test_repetition() -> None:
    assert reason(GopherRepetition(), "a b " * 50) == "2-gram too frequent"
    draw = np.random.default_rng(0)
    assert reason(GopherRepetition(), " ".join(f"w{n}" for n in draw.permutation(500))) is None
    lines = "\n".join(["one line of words"] * 3 + [f"line {n} of it" for n in range(7)])
    assert rows(GopherRepetition(values=True), [lines])[0]["lines:gopher_repetition"] == 0.2
    assert reason(GopherRepetition(lines=0.1), lines) == "lines repeated"


def test_each_rule_by_itself() -> None:
    """Two rules fail, one gives the reason; the rates count both."""
    step = GopherQuality(least_words=5)
    batch = rows(step, ["# # one", "the one and two of the three."])
    assert [row["drop"] for row in batch] == ["too few words", None]
    failed = np.array([row["failed:gopher_quality"] for row in batch], np.uint32)
    rates = pass_rates(step, failed)
    assert rates["too few words"] == rates["too many hash signs"] == 0.5
    assert rates["too many bullets"] == 1 and rates["not judged"] == 0


def test_rules_are_off_where_they_do_not_hold() -> None:
    code = "int main() {\n  return 0;\n}\n"
    texts = ["漢字の文章です。", code, "Это русский текст без английских слов. " * 10, "short."]
    batch = rows(GopherQuality(), texts)
    assert [row["drop"] for row in batch] == [None, None, None, "too few words"]
    assert [row["failed:gopher_quality"] == NOT_JUDGED for row in batch] == [1, 1, 0, 0]
    dropped = [row["drop"] for row in rows(GopherQuality(scope="all"), texts)]
    assert dropped[:2] == ["too few words"] * 2 and dropped[2] == "too few stop words"
    assert rows(C4(), [code])[0]["drop"] is None


def test_values_and_empty_texts() -> None:
    for step in (GopherQuality, GopherRepetition, FineWeb, C4, RefinedWeb):
        (row,) = rows(step(values=True, scope="all"), [""])
        assert {f"{name}:{step.name}" for name in step.numbers} < row.keys()
        assert (row["drop"] is None) == (step is RefinedWeb)
    assert reason(FineWeb(), "A line of more than thirty characters.\n" * 2) == "lines repeated"
    assert reason(RefinedWeb(), "A proper line of text.\nSHOUTED WORDS") == "too much to clean"


def test_wrong_options() -> None:
    with pytest.raises(ConfigError, match="at most 64"):
        GopherQuality(stop_words=tuple(map(str, range(65))))
    with pytest.raises(ConfigError, match="line_ends"):
        FineWeb(line_ends=-1)
