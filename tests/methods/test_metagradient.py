"""Metagradients as a method: against trainings with a document's weight moved by hand."""

from __future__ import annotations

import logging
import pickle
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from dataworth.corpus.uid import hash_uid
from dataworth.errors import ConfigError
from dataworth.features.gradients import CausalLM
from dataworth.features.gradients import metagradient as engine
from dataworth.features.gradients.language import Reader
from dataworth.features.gradients.metagradient import Adam, Run
from dataworth.features.gradients.reading import Reading
from dataworth.methods import metagradient
from dataworth.methods.fitted import Fitted
from dataworth.methods.metagradient import Metagradient
from methods.fitting import docs, fit, utility
from methods.modelled import POOL, TARGET, model_folder, opened, texts, tokens, whole_loss

SMALL = POOL[:12]
OPTIONS = {"batch": 4, "learning_rate": 1e-3}


def step(**options: object) -> Metagradient:
    return Metagradient(model=model_folder(), **{**OPTIONS, **options})  # type: ignore[arg-type]


def target_loss(vector: torch.Tensor, run: Run) -> float:
    """Of the target a token, by the plain model."""
    model, tokenizer = opened()
    model.load_state_dict(run.named(vector), strict=False)
    with torch.no_grad():
        total = sum(float(whole_loss(model, tokenizer, text)) for text in TARGET)
    return total / sum(tokens(tokenizer, text) for text in TARGET)


def test_what_training_with_more_of_a_document_does() -> None:
    """One run, in float64, by finite differences of its weights."""
    fitted = fit(step(runs=1, per="document"), SMALL, {"sums": TARGET})
    told = np.array(utility(fitted, SMALL))
    model, _ = opened()
    documents = docs(SMALL)
    items = Reader(model_folder(), Reading(windows=1)).items(documents)
    order = np.argsort(hash_uid(0, items.uid, metagradient._ORDER), kind="stable")
    scale = items.tokens.mean()
    adam = Adam([1e-3] * 3, (0.9, 0.98), 1e-8 * scale, 1e-6 * scale**2)
    batches = [order[start : start + 4] for start in (0, 4, 8)]
    run = Run(model.as_module(), CausalLM("sum", "sum"), items.items, batches, adam)
    near = 0.02 * np.abs(told).max()
    for row in (0, 5, 11):
        ends = []
        for sign in (1, -1):
            weights = torch.ones(len(SMALL), dtype=torch.float64)
            weights[row] += sign * 1e-3
            ends.append(target_loss(run.train(weights)[0], run))
        assert told[row] == pytest.approx((ends[1] - ends[0]) / 2e-3, abs=near)


BAKING = ("bread", "salt", "oven", "flour", "yeast")


def new(count: int, seed: int) -> list[str]:
    """Texts of a topic that the model has not seen."""
    draw = random.Random(seed)
    return [" ".join(draw.choices(BAKING, k=9)) for _ in range(count)]


MIXED = [text for pair in zip(new(24, 0), texts("seas", 24, 5), strict=True) for text in pair]


def test_two_runs_are_the_mean_of_both_orders() -> None:
    target = {"new": new(6, 1)}
    both = np.array(utility(fit(step(runs=2), MIXED, target), MIXED))
    one = np.array(utility(fit(step(runs=1), MIXED, target), MIXED))
    other = 2 * both - one
    # They agree on what helps, but for the place in the order.
    assert np.corrcoef(one, other)[0, 1] > 0.3 and not np.allclose(one, other, rtol=1e-3)


def test_what_is_like_the_target_helps_more_than_the_rest() -> None:
    found = np.array(utility(fit(step(), MIXED, {"new": new(6, 1)}), MIXED))
    like, unlike = found[::2], found[1::2]
    assert like.mean() > 0 > unlike.mean() and (like > 0).mean() > 0.7 > (unlike > 0).mean()
    # More of everything is no more of anything: Adam's steps keep their size.
    assert abs(found.sum()) < 0.1 * np.abs(found).sum()


def test_each_token_has_its_share_and_copies_are_alike() -> None:
    _, tokenizer = opened()
    pool = [*SMALL, SMALL[0]]
    whole = utility(fit(step(per="document"), pool, {"sums": TARGET}), pool)
    each = utility(fit(step(), pool, {"sums": TARGET}), pool)
    assert whole[0] == whole[-1]
    for text, a, b in zip(pool, whole, each, strict=True):
        assert a is not None and b == pytest.approx(a / min(tokens(tokenizer, text), 31), rel=1e-6)


def test_saved_loaded_and_sent_to_another_process(tmp_path: Path) -> None:
    fitted = fit(step(), [*SMALL, ""], {"sums": TARGET})
    wanted = fitted.annotate(docs(SMALL))
    fitted.save(tmp_path / "step")
    assert Fitted.load(step(), tmp_path / "step").annotate(docs(SMALL)).equals(wanted)
    assert pickle.loads(pickle.dumps(fitted)).annotate(docs(SMALL[::-1])).num_rows == len(SMALL)
    assert fitted.annotate(docs([])).num_rows == 0
    other = fitted.annotate(docs(["something else", SMALL[0]]))
    assert other.column(0).to_pylist()[0] is None and other.column(0).to_pylist()[1] is not None
    assert "not of the pool" in other.column(1).to_pylist()[0]


def test_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="metagradient: option windows must be a whole number"):
        step(windows=-1)
    for options in ({"learning_rate": 0}, {"batch": 0}, {"runs": 0}):
        with pytest.raises(ConfigError, match=r"metagradient: option .* must be a"):
            step(**options)
    with pytest.raises(ConfigError, match="needs a target"):
        fit(step(), SMALL, {})
    with pytest.raises(ConfigError, match="needs a causal language model"):
        Metagradient()
    monkeypatch.setattr(metagradient, "MOST", 11)
    with pytest.raises(ConfigError, match="on 11 at most, and there are 12"):
        fit(step(), SMALL, {"sums": TARGET})


@pytest.mark.parametrize("smooth", [0.79, float("nan"), 0.81])
def test_a_rough_training_is_warned_of(
    smooth: float, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "smoothness", lambda run, asked: smooth)
    with caplog.at_level(logging.WARNING, "dataworth"):
        fit(step(runs=1), SMALL, {"sums": TARGET})
    assert ("the training is not smooth" in caplog.text) == (smooth != 0.81)
