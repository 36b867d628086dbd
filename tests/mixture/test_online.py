"""The online mixtures: their steps by hand, and a planted pool in which one group is noise."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dataworth.errors import ConfigError
from dataworth.lm import online as lm_online
from dataworth.lm.model import SIZES
from dataworth.mixture import online
from dataworth.mixture.ado import Slopes, at_least, fit_laws, slopes
from dataworth.mixture.base import Groups
from dataworth.mixture.doge import Alignment, alignment
from dataworth.mixture.doremi import Excess, ascend
from dataworth.mixture.odm import Bandit, explore
from dataworth.mixture.registry import parse
from mixture.swarm_text import MICRO, NAMES, swarm_text

SIZED = dict.fromkeys(NAMES, 1000.0)


@pytest.fixture(autouse=True)
def _micro(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIZES, "micro", MICRO)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return swarm_text(tmp_path_factory.mktemp("text") / "swarm")


def shares(
    text: str, folder: Path, *, targets: Any = (), sizes: Any = None, budget: float = 500
) -> dict[str, float]:
    mixture = parse(text.replace("SWARM", json.dumps(str(folder))))
    return mixture.fit(Groups("domain", sizes or SIZED, budget), targets, None)


def seen(losses: Any, counts: Any, step: int = 0, **more: Any) -> Any:
    from dataworth.lm.online import Seen

    counts = np.array(counts)
    domain = np.repeat(np.arange(len(counts)), counts)
    blank = torch.zeros((len(domain), 1))
    facts = (blank, blank, torch.full_like(blank, 3.0), counts, counts, np.array(losses))
    return Seen(
        step, more.get("steps", 100), more.get("rate", 0.01), domain, *facts, more.get("gram")
    )


# Each step by hand.


def test_excess_moves_weights_as_a_logistic() -> None:
    """Excess (1, 0), eta 1, no smoothing: after m steps the first has 1 / (1 + e^-m)."""
    weights = np.array([0.5, 0.5])
    for m in range(1, 6):
        weights = ascend(weights, np.array([1.0, 0.0]), 1.0, 0.0)
        assert weights[0] == pytest.approx(1 / (1 + math.exp(-m)))
    for _ in range(200):
        weights = ascend(weights, np.array([1.0, 0.0]), 1.0, 0.1)
    assert 0.9 < weights[0] <= 1 - 0.1 / 2 + 1e-12


def test_what_the_proxy_already_knows_loses_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    """A group on which the proxy is as good as its reference (noise) loses to one where it is not.

    Factors are the weights over the shares drawn by, and 1 on the mean of the step's sequences.
    """
    before = torch.tensor([[3.0], [3.0], [2.0]])  # of the reference; the proxy has 3 everywhere
    monkeypatch.setattr(lm_online, "token_losses", lambda *_: before)
    rule = Excess(None, 0, np.array([0.5, 0.5]), 1.0, 0.01)
    factors = rule.learn(seen([3.0, 3.0], [2, 1]))
    grown = np.array([0.5, 0.5 * math.e]) / (0.5 + 0.5 * math.e)
    weights = 0.99 * grown + 0.01 / 2
    assert rule.state["weights"] == pytest.approx(weights)
    assert factors[0] / factors[1] == pytest.approx(weights[0] / weights[1])
    assert (2 * factors[0] + factors[1]) / 3 == pytest.approx(1)
    assert rule.weights() == pytest.approx([0.5, 0.5])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 50), min_size=2, max_size=6), st.floats(0, 1))
def test_steps_stay_on_the_simplex_and_follow_the_order(excess: list[float], c: float) -> None:
    values = np.array(excess)
    start = np.full(len(values), 1 / len(values))
    order = np.random.default_rng(0).permutation(len(values))
    stepped = ascend(start, values, 1.0, c)
    bandit = explore(values, 7)
    for moved in (stepped, bandit):
        assert moved.sum() == pytest.approx(1) and (moved >= 0).all()
    assert ascend(start, values[order], 1.0, c) == pytest.approx(stepped[order])
    assert explore(values[order], 7) == pytest.approx(bandit[order])
    assert (
        bandit.min()
        >= min(1 / len(values), math.sqrt(math.log(len(values)) / len(values) / 7)) - 1e-9
    )


def test_the_bandit_by_hand() -> None:
    rule = Bandit(2, 10.0)
    rule.learn(seen([4.0, np.nan], [3, 0]))
    assert rule.state["rewards"] == pytest.approx([4.0 / 10 / 0.5, 0])
    # e_0 = e_1 = 1/2, as ln 2 / 2 is above 1/4: still uniform.
    assert rule.state["weights"] == pytest.approx([0.5, 0.5])
    rule.learn(seen([4.0, 2.0], [1, 2], step=1))
    rewards = np.array([0.8 + 0.4 / 0.5 / 3, 0.2 / 0.5 * 2 / 3])
    assert rule.state["rewards"] == pytest.approx(rewards)
    e = math.sqrt(math.log(2) / 4)
    soft = np.exp(0.5 * rewards) / np.exp(0.5 * rewards).sum()
    assert rule.state["weights"] == pytest.approx((1 - 2 * e) * soft + e)


def test_alignment_by_hand() -> None:
    gradients = np.array([[0.3, 0.4], [0.6, 0.0], [0.0, -3.0]])  # the last is clipped to norm 1
    clipped = np.array([[0.3, 0.4], [0.6, 0.0], [0.0, -1.0]])
    norm = np.mean([0.5, 0.6, 1.0])
    others = [clipped[i] @ (clipped.sum(0) - clipped[i]) for i in range(3)]
    wanted = np.clip(np.array(others) / norm, 0, 5)
    found = alignment(gradients @ gradients.T, 3, 5.0)
    assert found == pytest.approx(wanted, rel=1e-5) and found[2] == 0
    towards = alignment(gradients @ gradients.T, 2, 5.0)
    assert towards == pytest.approx([0.0, 0.0])
    probe = np.array([[0.3, 0.4], [0.6, 0.0], [1.0, 0.0]])
    towards = alignment(probe @ probe.T, 2, 5.0)
    assert towards == pytest.approx(np.array([0.3, 0.6]) / 0.55, rel=1e-5)
    rule = Alignment(2, (), 0.05, 5.0)
    factors = rule.learn(seen([3.0, 3.0], [1, 1], gram=np.array([[0.25, 0.2], [0.2, 0.25]])))
    assert factors == pytest.approx([1, 1])
    score = 0.01 * 0.2 / 0.5 / 0.05
    rule.learn(seen([3.0, 3.0], [1, 1], gram=np.array([[0.25, 0.0], [0.0, 0.25]])))
    assert rule.state["weights"] == pytest.approx([0.5, 0.5])
    assert score == pytest.approx(0.08)


def test_laws_of_losses_are_found() -> None:
    n = np.arange(1.0, 1500.0) * 4
    laws = np.array([[2.0, 6.0, 0.3], [1.2, 9.0, 0.5], [3.0, 1.0, 0.15]])
    losses = laws[:, 0] + laws[:, 1] * n[:, None] ** -laws[:, 2]
    found = fit_laws(n[150:], losses[150:])
    assert found[:, 2] == pytest.approx(laws[:, 2], abs=0.01)
    assert found[:, 0] == pytest.approx(laws[:, 0], rel=0.02)
    step = losses[-1] - (laws[:, 0] + laws[:, 1] * (n[-1] + 1.0) ** -laws[:, 2])
    assert slopes(found, n[-1]) == pytest.approx(step, rel=0.05)


def test_online_slopes_prefer_what_still_falls() -> None:
    """Shares by the slopes of the two planted laws, once the mean has left its start behind."""
    laws = np.array([[2.0, 4.0, 0.3], [5.0, 3.0, 0.7]])
    rule = Slopes(np.array([0.5, 0.5]), 10, 0.01)
    for step in range(200):
        losses = laws[:, 0] + laws[:, 1] * (2 * step + 2.0) ** -laws[:, 2]
        rule.observe(seen(losses, [1, 1], step=step, steps=200))
        assert rule.state["weights"].sum() == pytest.approx(1)
    last = slopes(laws, 400)
    assert rule.state["weights"] == pytest.approx(last / last.sum(), abs=0.1)
    assert rule.state["weights"][0] > 0.7
    assert at_least(np.array([1.0, 0.0, 0.0]), 0.01) == pytest.approx(
        np.array([1, 0.01, 0.01]) / 1.02
    )
    assert at_least(np.zeros(4), 0.01) == pytest.approx(np.full(4, 0.25))


# Whole trainings on the text of a swarm.


@pytest.mark.parametrize("name", ["doremi", "doge", "ado"])
def test_a_training_gives_shares(folder: Path, name: str) -> None:
    """No more than that: in so few steps none of them takes weight from noise reliably."""
    found = shares(f"{name}(swarm=SWARM)", folder)
    assert sum(found.values()) == pytest.approx(1) and min(found.values()) > 0


def test_the_bandit_of_losses_likes_noise(folder: Path) -> None:
    """Its reward is the loss itself, and noise keeps a high one: a known weakness."""
    found = shares("odm(swarm=SWARM)", folder)
    assert found["noise"] > max(found["red"], found["blue"])


def test_gradients_are_aligned_with_the_target(folder: Path) -> None:
    found = shares("doge(swarm=SWARM)", folder, targets=("red",))
    assert found["red"] > 2 * max(found["blue"], found["noise"])
    assert found == shares("doge(swarm=SWARM, minimise=red)", folder)
    with pytest.raises(ConfigError, match="no text of 'green', only of blue, noise, red"):
        shares("doge(swarm=SWARM)", folder, targets=("green",))


def test_a_training_is_done_once_and_is_the_same(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = shares("odm(swarm=SWARM)", folder)
    kept = list((folder / "online").glob("odm-*"))
    assert len(kept) == 1
    way = json.loads((kept[0] / "found.json").read_text())["way"]
    assert len(way) >= 20 and all(sum(row[1:]) == pytest.approx(1) for row in way)
    other = swarm_text(tmp_path / "other")
    assert shares("odm(swarm=SWARM)", other) == first
    assert shares("odm(swarm=SWARM, seed=1)", other) != first
    monkeypatch.setattr(online.Online, "measure", None)
    assert shares("odm(swarm=SWARM)", folder) == first
    capped = shares("odm(swarm=SWARM)", folder, sizes={**SIZED, "noise": 50.0})
    assert capped["noise"] == pytest.approx(0.1)
    assert sum(capped.values()) == pytest.approx(1)
    assert capped["red"] / capped["blue"] == pytest.approx(first["red"] / first["blue"])


class _StopError(Exception):
    pass


def test_a_stopped_training_goes_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(online, "_EVERY", 10)
    other, wanted = swarm_text(tmp_path / "other"), shares("doremi(swarm=SWARM)", folder)
    before, learned = online.Rule.observe, []

    def stop(self: Any, seen: Any) -> Any:
        learned.append(seen.step)
        if len(learned) == 25:
            raise _StopError
        return before(self, seen)

    monkeypatch.setattr(online.Rule, "observe", stop)
    with pytest.raises(_StopError):
        shares("doremi(swarm=SWARM)", other)
    assert shares("doremi(swarm=SWARM)", other) == wanted
    assert learned[25] == 20


def test_what_is_wrong(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere: is no swarm"):
        shares("odm(swarm=nowhere)", folder)
    with pytest.raises(ConfigError, match=r"eta must be a number .0 or more."):
        shares("doremi(swarm=SWARM, eta=-1)", folder)
    empty = swarm_text(tmp_path / "empty")
    facts = json.loads((empty / "swarm.json").read_text())
    facts["domains"][1]["used"] = 0
    (empty / "swarm.json").write_text(json.dumps(facts))
    with pytest.raises(ConfigError, match="the group 'noise' has no tokens to train on"):
        shares("odm(swarm=SWARM)", empty)
