import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from dataworth.errors import ConfigError, DataworthError
from dataworth.features.answers import Answer
from dataworth.methods.base import Targets
from dataworth.methods.fitted import Fitted, learn
from dataworth.methods.llm_rating import PROMPTS, LLMRating
from judge_server import JudgeServer, completion, judge_server, prompt_of, texts_of
from methods.fitting import docs, pool_of

GOOD = ["theorem", "proof", "lemma", "energy", "matrix", "history", "planet", "species"]
BAD = ["buy", "click", "cheap", "wow", "deal", "hot", "free", "now"]


def text_of(share: float, seed: int) -> str:
    rng = random.Random(seed)
    return " ".join(rng.choice(GOOD if rng.random() < share else BAD) for _ in range(40))


def points(text: str) -> float:
    return round(5 * sum(word in GOOD for word in text.split()) / len(text.split()), 1)


TEXTS = [text_of(n / 59, n) for n in range(60)]


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    with judge_server() as judge:
        judge.answer = answer
        yield judge


def answer(body: dict[str, Any]) -> Any:
    (text,) = texts_of(prompt_of(body))
    return completion(f"It has 3 ideas. Score: {points(text)}")


def fit(server: JudgeServer, texts: Sequence[str], folder: Path | None, **options: Any) -> Fitted:
    one = LLMRating(judge="m", url=server.url, key_variable="", **{"embedder": "ngrams", **options})
    pool = pool_of(texts)
    pool.folder = folder
    return learn(one, pool, Targets({}))


def ratings(fitted: Fitted, texts: Sequence[str]) -> list[Any]:
    return fitted.annotate(docs(texts)).column(0).to_pylist()  # type: ignore[no-any-return]


def test_every_document_has_the_rating_that_was_given(server: JudgeServer, tmp_path: Path) -> None:
    texts = [*TEXTS[:20], TEXTS[3]]
    fitted = fit(server, texts, tmp_path, sample=0)
    assert ratings(fitted, texts) == [points(text) for text in texts]
    assert len(server.requests) == 20  # a copy is not paid for
    batch = fitted.annotate(docs([TEXTS[0], "another text"]))
    assert batch.to_pydict() == {
        "utility:llm_rating:": [points(TEXTS[0]), None],
        "drop": [None, "without a rating"],
    }
    assert ratings(fitted, []) == []


def test_a_document_without_a_rating_has_no_utility(server: JudgeServer, tmp_path: Path) -> None:
    def refusing(body: dict[str, Any]) -> Any:
        return completion(None, refusal="no") if TEXTS[1] in prompt_of(body) else answer(body)

    server.answer = refusing
    fitted = fit(server, TEXTS[:4], tmp_path, sample=0)
    assert ratings(fitted, TEXTS[:3]) == [points(TEXTS[0]), None, points(TEXTS[2])]
    server.requests.clear()
    fit(server, TEXTS[:4], tmp_path, sample=0)
    assert not server.requests  # a refusal is an answer


def test_a_rater_carries_the_ratings_to_the_pool(server: JudgeServer, tmp_path: Path) -> None:
    fitted = fit(server, TEXTS, tmp_path, sample=50)
    assert len(server.requests) == 50
    new = [text_of(n / 29, 1000 + n) for n in range(30)]
    found = ratings(fitted, new)
    assert spearmanr(found, [points(text) for text in new]).statistic > 0.8
    assert 0 < min(found) < 2 and 3 < max(found) < 5
    assert np.mean(found) == pytest.approx(np.mean([points(text) for text in new]), abs=0.3)
    assert fitted.state["judged"]["held_out_error"] < 1


def test_useful_is_a_probability(server: JudgeServer, tmp_path: Path) -> None:
    server.answer = lambda body: completion("Yes", {"Yes": 0.6, " yes": 0.15, "no": 0.05})
    fitted = fit(server, TEXTS[:3], tmp_path, sample=0, prompt="useful")
    assert ratings(fitted, TEXTS[:3]) == pytest.approx([0.9375] * 3)
    assert fitted.columns[0].unit == "probability"


@pytest.mark.parametrize(
    ("text", "rating"),
    [
        ("It has 3 of them.\nScore: 4", 4),
        ("**Score: 3**", 3),
        ("Educational score: 2.5/5", 2.5),
        ("score = 5", 5),
        ("Score: 1. On second thoughts,\n\nScore: **2**", 2),
        ("4", 4),
        ("4/5", 4),
        ("Score: 6", None),
        ("Score: none", None),
        ("I count 3 points", None),
        ("", None),
    ],
)
def test_answers_are_read(text: str, rating: float | None) -> None:
    found = LLMRating(judge="m").rating(Answer(text))
    assert found == rating if rating is not None else np.isnan(found)


def test_a_prompt_of_ones_own(server: JudgeServer, tmp_path: Path) -> None:
    path = tmp_path / "prompt.txt"
    path.write_text("How {good} is\n<<<\n{text}\n>>>\n? Score: N")
    fit(server, [TEXTS[0], TEXTS[1] * 3], tmp_path, sample=0, template=str(path), excerpt=50)
    wanted = [f"How {{good}} is\n<<<\n{text[:50]}\n>>>\n? Score: N" for text in TEXTS[:2]]
    assert sorted(server.prompts) == sorted(wanted)  # workers ask side by side
    for wrong, message in ((tmp_path / "none", "No such file"), (tmp_path, "directory")):
        with pytest.raises(ConfigError, match=message):
            LLMRating(judge="m", key_variable="", template=str(wrong), embedder="ngrams").check()
    path.write_text("no place")
    with pytest.raises(ConfigError, match=r"has no \{text\}"):
        LLMRating(judge="m", key_variable="", template=str(path), embedder="ngrams").check()


@pytest.mark.parametrize("sample", [0, 20])
def test_a_plan_asks_nothing(server: JudgeServer, sample: int) -> None:
    fitted = fit(server, TEXTS, None, sample=sample)
    assert not server.requests
    assert len(ratings(fitted, TEXTS[:3])) == 3


def test_answers_of_no_use_are_told(server: JudgeServer, tmp_path: Path) -> None:
    server.answer = lambda body: completion("As a model,\nI like it")
    with pytest.raises(DataworthError, match="none of 3 answers is a rating; m answers such"):
        fit(server, TEXTS[:3], tmp_path)


def test_the_prompts_have_a_place_for_the_text() -> None:
    for prompt in PROMPTS.values():
        assert prompt.count("{text}") == 1
