"""Gradients of documents: chats by what the assistant says, few at a time, by several workers."""

from __future__ import annotations

import json
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.corpus.fields import Fields
from dataworth.features.gradients import CausalLM, Gradients, documents
from dataworth.features.gradients.documents import DocumentGradients
from dataworth.features.gradients.preconditioners import Identity
from dataworth.features.gradients.projection import Sparse
from dataworth.lm.tokenizer import train_tokenizer

TEXTS = ["What is 2 and 3?", "It is five.", "No, it is six, or so I think.", "", "five"]
TOKENIZER = train_tokenizer(TEXTS * 3, 300)


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.mix, self.out = nn.Embedding(300, 8), nn.Linear(8, 8), nn.Linear(8, 300)

    def forward(self, ids: Tensor) -> Tensor:
        made: Tensor = self.out(torch.tanh(self.mix(self.table(ids).cumsum(1))))
        return made


class Meeting(Small):
    """Goes on only when two threads are in it at once."""

    met = threading.Barrier(2)

    def forward(self, ids: Tensor) -> Tensor:
        self.met.wait(timeout=60)
        return super().forward(ids)


class Locked(Small):
    """Cannot be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


def chats(folder: Path) -> Documents:
    rows: list[list[tuple[str, str]]] = [
        [("user", TEXTS[0]), ("assistant", TEXTS[1]), ("user", "Sure?"), ("assistant", TEXTS[2])],
        [("user", TEXTS[0])],
        [("user", TEXTS[0]), ("assistant", "")],
        [("system", TEXTS[1]), ("assistant", TEXTS[2])],
    ]
    made = [{"messages": [{"role": r, "content": c} for r, c in row]} for row in rows]
    (folder / "chats.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made))
    found = Corpus.open(folder / "chats.jsonl", fields=Fields(template="plain"))
    return found.read_all()[0]


def row(feature: DocumentGradients, given: Documents) -> Tensor:
    return feature._gradients(feature._readings.read(given))


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_of_chats_the_words_of_the_assistant_count(tmp_path: Path, reduction: Any) -> None:
    model, given = Small(), chats(tmp_path)
    feature = DocumentGradients(
        model, TOKENIZER, Sparse(64, parts=4), context=12, first=0, reduction=reduction
    )
    found = row(feature, given)
    engine = Gradients(model, CausalLM())
    for number in range(len(given)):
        text = given.text(number)
        encoded = TOKENIZER.encode(text, add_special_tokens=False)
        said = np.zeros(len(text), np.bool_)
        assert given.spans is not None
        for place in np.flatnonzero(given.spans.document == number):
            if given.spans.role[place] == "assistant":
                said[given.spans.start[place] : given.spans.end[place]] = True
        counted = np.array([False, *(bool(said[a:b].any()) for a, b in encoded.offsets)])
        if not counted.any():
            assert not found[number].any()
            continue
        total = torch.zeros(engine.size)
        ids = [0, *encoded.ids]
        for start in range(0, len(ids) - 1, 11):
            piece, mask = ids[start : start + 12], counted[start : start + 12]
            if mask[1:].any():
                batch = engine.task.lay([(piece, mask)], np.zeros(1, np.uint64))
                total += engine.gradients(batch)[0]
        if reduction == "mean":
            total /= counted.sum()
        expected = feature.projector.flat(total[None])[0]
        torch.testing.assert_close(found[number], expected, rtol=1e-3, atol=1e-5)


class Noting(Identity):
    """Tells how many whole gradients it is given at once."""

    def __init__(self) -> None:
        self.most = 0

    def train(self, vectors: Tensor) -> Tensor:
        self.most = max(self.most, len(vectors))
        return vectors.sign()


def test_a_step_holds_few_whole_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Noting(), Noting()
    found = []
    for step, held in zip(steps, (1 << 24, 1), strict=True):
        monkeypatch.setattr(documents, "_HELD", held)
        feature = DocumentGradients(Small(), TOKENIZER, Sparse(64), context=16, step=step)
        found.append(feature.values(Documents.from_texts(TEXTS)))
    assert (steps[0].most, steps[1].most) == (len(TEXTS), 1)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-2, atol=1e-3)
    assert feature.values(Documents.from_texts([])).shape == (0, feature.dimension)


@pytest.mark.parametrize("kind", [Small, Locked])
def test_workers_give_what_one_gives(kind: type[Small]) -> None:
    feature = DocumentGradients(kind(), TOKENIZER, Sparse(64), context=16)
    whole = feature.values(Documents.from_texts(TEXTS))
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(feature.values, [Documents.from_texts([text]) for text in TEXTS]))
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-2, atol=1e-3)
    if kind is Small:
        again = pickle.loads(pickle.dumps(feature))
        assert np.array_equal(again.values(Documents.from_texts(TEXTS)), whole)


def test_workers_run_at_once() -> None:
    feature = DocumentGradients(Meeting(), TOKENIZER, Sparse(64), context=16)
    feature.engine._check = False
    with ThreadPoolExecutor(2) as pool:
        given = [Documents.from_texts([text]) for text in TEXTS[:2]]
        # Both run the model twice, once for the check, in step with each other.
        assert [len(part) for part in pool.map(feature.values, given)] == [1, 1]
