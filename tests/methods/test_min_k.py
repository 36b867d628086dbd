"""Min-K% and Min-K%++ against the formulas, token by token."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dataworth.errors import ConfigError
from dataworth.methods.min_k import MinK
from dataworth.methods.min_k_plus_plus import MinKPlusPlus
from methods.fitting import docs, fit, utility
from methods.modelled import POOL, model_folder, opened, pieces, texts

LONG = " ".join(texts("seas", 8))  # of several windows
SOME = [*POOL[:5], LONG, "", "Unseen: 東京!"]


class Fixed:
    """A reader whose tokens have these scores."""

    def __init__(self, *scores: list[float]) -> None:
        self.scores = [np.array(one) for one in scores]

    def token_scores(self, documents: object, score: object) -> list[np.ndarray]:
        return self.scores


def mean(step: MinK, *scores: list[float]) -> list[float]:
    sums, counts = step.measure(Fixed(*scores), docs([]))  # type: ignore[arg-type]
    return (sums / np.maximum(counts, 1)).tolist()


def by_hand(text: str, *, plus: bool, share: float = 0.2) -> float:
    model, tokenizer = opened()
    scores = []
    for piece in pieces(tokenizer, text):
        with torch.no_grad():
            logs = model(piece)[0, :-1].log_softmax(-1)
        for position, token in zip(logs.tolist(), piece[0, 1:].tolist(), strict=True):
            found = position[token]
            if plus:
                mu = sum(math.exp(one) * one for one in position)
                square = sum(math.exp(one) * one * one for one in position)
                found = (found - mu) / math.sqrt(square - mu * mu)
            scores.append(found)
    lowest = sorted(scores)[: max(1, math.floor(share * len(scores)))]
    return sum(lowest) / len(lowest)


@pytest.mark.parametrize("step", [MinK, MinKPlusPlus])
def test_the_mean_of_the_lowest_scores(step: type[MinK]) -> None:
    truth = [by_hand(text, plus=step is MinKPlusPlus) for text in SOME]
    high = utility(fit(step(model_folder(), prefer="high"), POOL, {}), SOME)
    assert high == pytest.approx(truth, rel=1e-4)
    low = utility(fit(step(model_folder()), POOL, {}), SOME)
    assert low == [-value for value in high if value is not None]


def test_closed_forms() -> None:
    logs = [-1.0, -2.0, -3.0, -4.0, -5.0]
    assert mean(MinK("m", share=0.4), logs) == [-4.5]
    assert mean(MinK("m", share=1.0), logs) == [-3.0]
    assert mean(MinK("m"), [-1.0, -7.0, -3.0], [], [-2.0]) == [-7.0, 0.0, -2.0]  # at least one


@pytest.mark.parametrize("seed", range(10))
def test_order_does_not_count_and_a_shift_shifts(seed: int) -> None:
    draw = np.random.default_rng(seed)
    logs, shift = draw.normal(size=1 + 3 * seed).tolist(), draw.normal()
    step = MinK("m", share=0.5)
    assert mean(step, logs) == mean(step, sorted(logs))
    assert mean(step, [one + shift for one in logs]) == pytest.approx([mean(step, logs)[0] + shift])


def test_an_even_prediction_says_nothing() -> None:
    """And of two equally likely tokens both have z = 0, though a third never comes."""
    tokens = torch.tensor([0, 1])
    assert MinKPlusPlus.score_tokens(torch.full((2, 7), 3.0), tokens).tolist() == [0.0, 0.0]
    assert MinK.score_tokens(torch.zeros(2, 4), tokens).exp().tolist() == pytest.approx([0.25] * 2)
    halves = torch.tensor([[0.0, 0.0, -200.0]]).expand(2, 3)
    assert MinKPlusPlus.score_tokens(halves, tokens).abs().max() < 1e-3


def test_bad_input_is_one_line() -> None:
    with pytest.raises(ConfigError, match="share must be a number"):
        MinK("m", share=0.0)
    with pytest.raises(ConfigError, match="min_k_plus_plus: needs a causal language model"):
        MinKPlusPlus()
