"""Tables of linear classifiers of lines: fastText's own probabilities on the same texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataworth.corpus.documents import Documents
from dataworth.features.ngrams.lines import LineTable

TEXTS = [
    "the cat sat on the mat",
    "Straße für Fußgänger, naïve Ελληνικά 漢字 漢字 emoji 😀",
    "unseen words only here zzz qqq",
    "",
    "  white \t\v\f\r and\0null  ",
    "the cat __label__a sat __label__unknown on __label__",
    "the mat </s> is not read",
    "</s>",
    "a </s>x end",
    "the\nmat\n\nsat on",
]


@pytest.fixture(scope="module", params=[(1, "a"), (2, "a"), (4, "abc")])
def model(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    fasttext = pytest.importorskip("fasttext")
    ngrams, labels = request.param
    rng = np.random.default_rng(0)
    words = [*TEXTS[0].split(), *TEXTS[1].split(), *(f"w{i}" for i in range(30))]
    lines = [
        f"__label__{labels[i % len(labels)] if i % 2 else 'z'} "
        + " ".join(rng.choice(words, rng.integers(1, 12)))
        for i in range(200)
    ]
    path: Path = tmp_path_factory.mktemp("lines") / "train.txt"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return fasttext.train_supervised(
        str(path), wordNgrams=ngrams, bucket=50, dim=7, epoch=20, lr=0.5, thread=1, verbose=0
    )


def table(model: Any) -> LineTable:
    return LineTable.of(
        model.get_words(),
        model.get_input_matrix(),
        model.get_output_matrix(),
        ngrams=model.f.getArgs().wordNgrams,
        prefix="__label__",
    )


def test_probabilities_are_those_of_fasttext(model: Any) -> None:
    logits = table(model).logits(Documents.from_texts(TEXTS))
    mine = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels, probabilities = model.predict([text.replace("\n", " ") for text in TEXTS], k=-1)
    for row, names, theirs in zip(mine, labels, probabilities, strict=True):
        known = dict(zip(names, theirs, strict=True))
        # The package adds 1e-5 to every probability.
        np.testing.assert_allclose(row, [known[name] - 1e-5 for name in model.labels], atol=2e-6)
    assert np.ptp(mine[:, 0]) > 0.1


def test_a_text_alone_and_among_others(model: Any) -> None:
    one = table(model)
    together = one.logits(Documents.from_texts(TEXTS))
    alone = np.concatenate([one.logits(Documents.from_texts([text])) for text in TEXTS])
    assert together.tobytes() == alone.tobytes()


def test_a_model_without_a_line_end_knows_nothing_of_an_empty_text() -> None:
    inputs = np.ones((1, 2), np.float32)
    one = LineTable.of(["a"], inputs, np.eye(2, dtype=np.float32), ngrams=1, prefix="__label__")
    logits = one.logits(Documents.from_texts(["", "b", "a"]))
    assert np.isnan(logits[:2]).all() and (logits[2] == 1).all()
