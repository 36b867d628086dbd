"""Copies are found through other forms of the same characters; short texts are no near copies."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest

from dataworth.measures.contamination import contamination
from dataworth.measures.duplicates import near, sketches
from methods.fitting import docs

TEXT = (
    'l\'été dernier nous avons visité "la vieille ville" et 1234 maisons, près de la große rivière'
)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: unicodedata.normalize("NFD", text),
        lambda text: text.replace('"', "«", 1).replace('"', "»"),
        lambda text: text.replace("'", "\u2019"),
        lambda text: text.replace("1234", "\uff11\uff12\uff13\uff14"),
        lambda text: text.replace("maisons", "mai\u00adsons").replace("vieille", "vie\u200bille"),
        lambda text: text.replace(" ", "\u00a0"),
        lambda text: text.replace(",", "\u060c"),
        lambda text: "¡" + text.upper() + "。",
    ],
)
def test_contamination_is_seen_through_other_forms(change) -> None:  # type: ignore[no-untyped-def]
    plain, other = docs([TEXT]), docs([change(TEXT)])
    assert contamination(other, plain).held == 1
    assert contamination(plain, other).held == 1


ARABIC = "كَتَبَ الطَّالِبُ الدَّرْسَ في المَدْرَسَةِ ثُمَّ ذَهَبَ إِلى البَيْتِ مَعَ أَصْدِقائِهِ الكِرامِ اليَوْمَ"


DOTLESS = "\u0131"
TURKISH = (
    "XşXk ve İzmir'de kXyXsXnda XlXk XrmaklarXn İyi insanlarX IğdXr yolunda XsXndXlar dün akşam"
).replace("X", DOTLESS)


def bare(text: str) -> str:
    """The text without combining marks."""
    marks = (c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
    return unicodedata.normalize("NFC", "".join(marks))


@pytest.mark.parametrize(
    ("text", "change"),
    [
        (TEXT, bare),
        (TEXT, lambda text: text.replace("ville", "_ville_")),
        (TEXT, lambda text: text.replace("ville", "ville™")),
        (TEXT, lambda text: text.replace(" ", " \ufe0f")),
        (TEXT, lambda text: text.replace("maisons", "mai\u034fsons")),
        (TEXT, lambda text: text.replace(" ", " \u3164 ")),
        (ARABIC, bare),
        (bare(ARABIC), lambda text: text.replace("ت", "ت\u0640")),
        (TURKISH,
         lambda text: text.replace(DOTLESS, "i").replace("İ", "I")),
        ("вчера ёжик и ещё трое друзей шли через тёмный лес к реке где нашли лодку", bare),
    ],
)  # fmt: skip
def test_marks_and_signs_do_not_hide_a_copy(text: str, change) -> None:  # type: ignore[no-untyped-def]
    plain, other = docs([text]), docs([change(text)])
    assert contamination(other, plain).held == 1
    assert contamination(plain, other).held == 1
    assert near(sketches(docs([text, change(text)]))[0]).tolist() == [0, 0]


def test_letters_of_their_own_are_kept() -> None:
    words = ["は", "ば", "ぱ", "क", "कि", "की", "ก", "กี"]
    texts = [" ".join([word, *(f"w{i}" for i in range(12))]) for word in words]
    shares = [contamination(docs([other]), docs([text])).held for text in texts for other in texts]
    assert sum(shares) == len(texts)  # each holds itself alone


def test_different_short_texts_are_not_near() -> None:
    generator = np.random.default_rng(0)
    texts = {" ".join(f"w{i}" for i in generator.integers(0, 10**6, 3)) for _ in range(2000)}
    documents = docs(sorted(texts))
    sketch, known = sketches(documents)
    assert known.all()
    assert len(np.unique(near(sketch))) == len(texts)
