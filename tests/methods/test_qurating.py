import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

import dataworth
from dataworth.errors import ConfigError, DataworthError, RunError
from dataworth.features.answers import Answer
from dataworth.features.preferences import sigmoid
from dataworth.methods.base import Batch, Targets
from dataworth.methods.fitted import Fitted, learn
from dataworth.methods.qurating import CRITERIA, QuRating, share_of_second
from judge_server import (
    JudgeServer,
    Reply,
    completion,
    judge_server,
    preferring,
    prompt_of,
    texts_of,
)
from methods.fitting import docs, pool_of

SECRET = "sk-0123-secret"
GOOD = ["theorem", "proof", "lemma", "energy", "matrix", "history", "planet", "species"]
BAD = ["buy", "click", "cheap", "wow", "deal", "hot", "free", "now"]


def text_of(share: float, seed: int, words: int = 40) -> str:
    rng = random.Random(seed)
    return " ".join(rng.choice(GOOD if rng.random() < share else BAD) for _ in range(words))


def worth(text: str) -> float:
    words = text.split()
    return 6.0 * sum(word in GOOD for word in words) / max(len(words), 1)


TEXTS = [text_of(n / 79, n) for n in range(80)]


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    with judge_server() as judge:
        judge.answer = preferring(worth, bias=1.5)
        yield judge


def step(server: JudgeServer, **options: Any) -> QuRating:
    options = {"pairs": 80, "embedder": "ngrams", "confidence": 0.2, **options}
    return QuRating(judge="m", url=server.url, key_variable="", **options)


def fit(one: QuRating, texts: Sequence[str], folder: Path | None) -> Fitted:
    pool = pool_of(texts)
    pool.folder = folder
    return learn(one, pool, Targets({}))


def ratings(fitted: Fitted, texts: Sequence[str]) -> np.ndarray[Any, Any]:
    return np.asarray(fitted.annotate(docs(texts)).column(0))


def test_the_planted_order_is_found(server: JudgeServer, tmp_path: Path) -> None:
    fitted = fit(step(server), TEXTS, tmp_path)
    found = ratings(fitted, TEXTS)
    assert spearmanr(found, [worth(text) for text in TEXTS]).statistic > 0.9
    assert found.mean() == pytest.approx(0, abs=1e-9) and found.std() == pytest.approx(1)
    new = [text_of(n / 29, 1000 + n) for n in range(30)]
    assert spearmanr(ratings(fitted, new), [worth(text) for text in new]).statistic > 0.8
    known = fitted.state["judged"]["educational_value"]
    assert known["pairs"] == known["answered"] == 80
    assert known["share_of_second"] > 0.6  # the bias of the judge towards the second text
    assert known["held_out_accuracy"] > 0.8
    assert len(server.requests) == 160


def test_both_orders_take_the_bias_of_position_away(server: JudgeServer, tmp_path: Path) -> None:
    """A judge that is biased alike in both orders, p = truth + bias, is debiased exactly."""

    def answer(body: dict[str, Any]) -> Any:
        left, right = texts_of(prompt_of(body))
        second = 0.1 + 0.8 * float(sigmoid(np.array(worth(right) - worth(left)))) + 0.05
        return completion("B", {"A": 1 - second, "B": second})

    server.answer = answer
    biased = ratings(fit(step(server, pairs=25), TEXTS, tmp_path / "a"), TEXTS)
    server.answer = lambda body: _fair(answer, body)
    fair = ratings(fit(step(server, pairs=25), TEXTS, tmp_path / "b"), TEXTS)
    np.testing.assert_allclose(biased, fair, atol=1e-6)


def _fair(answer: Any, body: dict[str, Any]) -> Any:
    left, right = texts_of(prompt_of(body))
    second = 0.1 + 0.8 * float(sigmoid(np.array(worth(right) - worth(left))))
    return completion("B", {"A": 1 - second, "B": second})


def test_each_criterion_has_a_column_of_its_own(server: JudgeServer, tmp_path: Path) -> None:
    planned = server.answer

    def answer(body: dict[str, Any]) -> Any:
        if CRITERIA["writing_style"] in prompt_of(body):
            return preferring(lambda text: -worth(text))(body)
        return planned(body)

    server.answer = answer
    one = step(
        server, pairs=50, criteria=("educational_value", "writing_style", "is the longer one")
    )
    fitted = fit(one, TEXTS[::2], tmp_path)
    assert [column.name for column in fitted.columns] == [
        "utility:qurating:educational_value",
        "utility:qurating:writing_style",
        "utility:qurating:is the longer one",
    ]
    columns = fitted.annotate(docs(TEXTS)).columns
    assert spearmanr(np.asarray(columns[0]), np.asarray(columns[1])).statistic < -0.9
    assert any("Which of the two is the longer one?" in prompt for prompt in server.prompts)


def test_without_log_probabilities_votes_count(server: JudgeServer, tmp_path: Path) -> None:
    rng = random.Random(0)

    def answer(body: dict[str, Any]) -> Any:
        left, right = texts_of(prompt_of(body))
        if rng.random() < 0.1:
            return completion(None, refusal="I would rather not")
        return completion("B" if rng.gauss(worth(right) - worth(left), 1) > 0 else "A")

    server.answer = answer
    found = ratings(fit(step(server, votes=3, pairs=30), TEXTS, tmp_path), TEXTS)
    assert spearmanr(found, [worth(text) for text in TEXTS]).statistic > 0.8
    assert len(server.requests) == 30 * 2 * 3


def test_a_pair_counts_with_more_than_half_of_its_votes() -> None:
    a, b, none = Answer("A"), Answer("B"), Answer("Sorry")
    assert share_of_second([a, b, b, none]) == pytest.approx(2 / 3)
    assert np.isnan(share_of_second([b, none]))


def test_a_fit_that_was_stopped_goes_on(
    server: JudgeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dataworth.features.endpoint._Asking._sleep", lambda asking, seconds: None)
    planned = server.answer
    expected = ratings(fit(step(server, pairs=10), TEXTS, tmp_path / "other"), TEXTS)
    server.requests.clear()
    server.answer = lambda body: Reply(status=500) if len(server.requests) == 9 else planned(body)
    with pytest.raises(DataworthError, match="may exceed max_calls=20"):
        fit(step(server, pairs=10, max_calls=20, workers=1), TEXTS, tmp_path)
    assert len(server.requests) == 20
    found = ratings(fit(step(server, pairs=10, workers=3), TEXTS, tmp_path), TEXTS)
    assert len(server.requests) == 21  # of twenty, one failed, and one was missing
    assert np.array_equal(found, expected)


def test_a_run_keeps_answers_and_no_key(
    server: JudgeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", SECRET)
    pool, out = tmp_path / "pool.jsonl", tmp_path / "out"
    pool.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    options = {"judge": "m", "url": server.url, "key_variable": "JUDGE_KEY", "embedder": "ngrams"}
    options |= {"pairs": 5, "confidence": 0, "price_in": 1.0, "workers": 1}

    def score(overwrite: bool = False, **more: Any) -> dataworth.Scores:
        steps = [{"qurating": {**options, **more}}]
        return dataworth.score(pool, steps=steps, out=out, overwrite=overwrite)

    with pytest.raises(DataworthError, match="may exceed max_cost"):
        score(max_cost=0.0015)
    asked = len(server.requests)
    assert 0 < asked < 10
    scores = score(max_cost=1.0)
    assert len(server.requests) == 10 and set(Counter(server.prompts).values()) == {1}
    assert scores.table.utilities == ("utility:qurating:educational_value",)
    score(overwrite=True, pairs=6)
    assert len(server.requests) == 12  # starting afresh removes no answers
    assert server.headers[0]["authorization"] == f"Bearer {SECRET}"
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(SECRET.encode() in data for data in files)


def test_a_plan_asks_nothing(server: JudgeServer) -> None:
    fitted = fit(step(server), TEXTS, None)
    assert not server.requests
    assert np.array_equal(ratings(fitted, TEXTS[:3]), [0, 0, 0])


def test_confidence_keeps_its_bound(server: JudgeServer, tmp_path: Path) -> None:
    """p = 0.75 counts at 0.5, 0.74 does not."""
    for second, name in ((0.75, "a"), (0.74, "b")):

        def answer(body: dict[str, Any], second: float = second) -> Any:
            left, right = texts_of(prompt_of(body))
            chance = second if worth(right) > worth(left) else 1 - second
            return completion("B", {"A": 1 - chance, "B": chance})

        server.answer = answer
        one = step(server, pairs=10, confidence=0.4999999)
        if name == "a":
            assert fit(one, TEXTS, tmp_path / name).state["judged"]["educational_value"]["clear"]
        else:
            with pytest.raises(DataworthError, match="0 have a clear preference; m answers such"):
                fit(one, TEXTS, tmp_path / name)


def test_a_long_text_has_the_mean_of_its_pieces(server: JudgeServer, tmp_path: Path) -> None:
    fitted = fit(step(server, excerpt=100, pairs=40), TEXTS, tmp_path)
    head, tail = "x" * 100, "theorem proof"
    one, two, both = ratings(fitted, [head, tail, head + tail])
    assert both == pytest.approx((100 * one + 13 * two) / 113)


def test_refusals_alone_are_told(server: JudgeServer, tmp_path: Path) -> None:
    server.answer = lambda body: completion(None, refusal="no")
    with pytest.raises(DataworthError, match="answers nothing but refusals"):
        fit(step(server, pairs=5), TEXTS, tmp_path)
    server.answer = lambda body: completion("I cannot decide")
    with pytest.raises(DataworthError, match="such as 'I cannot decide'"):
        fit(step(server, pairs=5), TEXTS, tmp_path / "other")


def test_another_embedder_is_refused(server: JudgeServer, tmp_path: Path) -> None:
    fitted = fit(step(server, pairs=20), TEXTS, tmp_path)
    fitted.state._values["embedder"] = "another"
    with pytest.raises(RunError, match="fitted with another embedding model"):
        fitted.step.utilities(Batch(docs(["a"])), fitted.state)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"criteria": ("educational_valu",)}, "did you mean 'educational_value'"),
        ({"criteria": ()}, "criteria names what is asked about"),
        ({"criteria": ("a b", "a b")}, "each thing once"),
        ({"judge": ""}, "judge=NAME"),
    ],
)
def test_bad_options(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        QuRating(**{"judge": "m", **options})


def test_one_text_cannot_be_compared(server: JudgeServer, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no two texts"):
        fit(step(server), ["one", "one"], tmp_path)
