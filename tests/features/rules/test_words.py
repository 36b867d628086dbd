"""The words of English text: cases by hand, and those of the published tokenizer for 300 texts."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataworth.corpus.documents import Documents
from dataworth.features.rules.words import words
from testdata import sample_pool

FIXTURE = Path(__file__).with_name("datatrove.json")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", ""),
        (" \n\t ", ""),
        ("Don't (you) stop!", "Do n't ( you ) stop !"),
        ("well-known and/or U.S. Mr. Smith's", "well - known and/or U.S. Mr. Smith 's"),
        ("It costs $5.50, 10km away...", "It costs $ 5.50 , 10 km away ..."),
        ("see www.w3.org/TR, a.b@c.org.", "see www.w3.org/TR , a.b@c.org ."),
        ("end.Start x=y 1-2 a,b", "end . Start x = y 1 - 2 a , b"),
        ("cannot \u2019em gonna", "can not \u2019em gon na"),
        ("yes:) at 7am", "yes :) at 7 am"),
        ("漢字 é—ü", "漢字 é — ü"),
    ],
)
def test_words(text: str, wanted: str) -> None:
    assert words(text) == wanted.split()


@settings(deadline=None)
@given(st.text(max_size=60))
def test_every_character_but_white_space_is_in_one_word(text: str) -> None:
    text = text.encode(errors="ignore").decode()
    assert "".join(words(text)) == "".join(text.split())
    assert words(f"{text} {text}") == words(text) * 2


def peer(data_files: list[Path]) -> tuple[Documents, dict[str, list[int | None]], list[str]]:
    """300 documents, what the published filters say of each uid, and the names of reasons."""
    rows = [json.loads(line) for line in sample_pool(data_files, documents=300)][:300]
    recorded = json.loads(FIXTURE.read_text())
    documents = Documents.from_texts([row["text"] for row in rows])
    return documents, recorded["documents"], recorded["reasons"]


def test_the_words_of_the_published_tokenizer(pool_files: list[Path]) -> None:
    documents, recorded, _ = peer(pool_files)
    assert len(documents) == 300
    for text, uid in zip(documents.texts(), documents.uid.tolist(), strict=True):
        own = words(text)
        assert [len(own), zlib.crc32("\n".join(own).encode())] == recorded[f"{uid:016x}"][:2]
