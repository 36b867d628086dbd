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


def test_different_short_texts_are_not_near() -> None:
    generator = np.random.default_rng(0)
    texts = {" ".join(f"w{i}" for i in generator.integers(0, 10**6, 3)) for _ in range(2000)}
    documents = docs(sorted(texts))
    sketch, known = sketches(documents)
    assert known.all()
    assert len(np.unique(near(sketch))) == len(texts)
