"""The learned mixtures against planted laws with a known optimum, and against plain solvers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dataworth.errors import ConfigError, RunError
from dataworth.mixture import log_linear, utilimax
from dataworth.mixture.base import Groups
from dataworth.mixture.laws import best_roots
from dataworth.mixture.learned import water_fill
from dataworth.mixture.registry import parse
from dataworth.mixture.swarm import GRAIN, draw_mixtures, read_table

Floats = NDArray[np.float64]
NAMES = ("books", "code", "web")
NATURAL = np.array([0.3, 0.1, 0.6])
FREE = np.ones(3)


def swarm(folder: Path, losses: Any, count: int = 128, target: str = "math") -> Path:
    """A swarm whose models have the losses that `losses(weights)` gives, [n] or [n, targets]."""
    weights = draw_mixtures(NATURAL, FREE, count, 0)
    values = np.asarray(losses(weights)).reshape(count, -1)
    (folder / "runs").mkdir(parents=True)
    domains = [{"name": n, "tokens": 1000 * p} for n, p in zip(NAMES, NATURAL, strict=True)]
    targets = {f"{target}{i or ''}": "mark" for i in range(values.shape[1])}
    facts = {"swarm": {"field": "domain"}, "domains": domains, "targets": targets}
    (folder / "swarm.json").write_text(json.dumps(facts))
    for number, (shares, row) in enumerate(zip(weights, values, strict=True)):
        measured = {f"group:{n}": {"loss": 3 - w} for n, w in zip(NAMES, shares, strict=True)}
        named = zip(targets, row, strict=True)
        measured |= {f"target:{n}": {"loss": v, "mark": "mark"} for n, v in named}
        run = {"weights": shares.tolist(), "losses": measured}
        (folder / "runs" / f"{number:04d}.json").write_text(json.dumps(run))
    return folder


def shares(text: str, folder: Path, *, repeat: int = 100, targets: Any = ("math",)) -> Floats:
    """The fitted shares, of a pool where nothing limits them unless `repeat` does."""
    sizes = dict(zip(NAMES, (300.0, 100.0, 600.0), strict=True))
    mixture = parse(text.replace("SWARM", json.dumps(str(folder))))
    fitted = mixture.fit(Groups("domain", sizes, 500, repeat), targets, None)
    return np.array([fitted[name] for name in NAMES])


def grid(caps: Floats, step: int = 100) -> Floats:
    """All mixtures of three groups in multiples of 1 / step that keep to the caps, [n, 3]."""
    counts = np.indices((step + 1, step + 1)).reshape(2, -1).T
    counts = counts[counts.sum(1) <= step]
    shares = np.column_stack([counts, step - counts.sum(1)]) / step
    return np.asarray(shares[(shares <= caps + 1e-9).all(1)])


def is_lowest(law: Any, shares: Floats, caps: Floats) -> bool:
    """No mixture of the grid is better; the law takes rows of mixtures."""
    feasible = abs(shares.sum() - 1) < 1e-6 and (shares <= caps + 1e-6).all()
    return bool(feasible and law(shares[None])[0] <= law(grid(caps)).min() + 1e-6)


# Drawing.


def test_mixtures_are_drawn_as_published() -> None:
    caps = np.minimum(15 * NATURAL, 1) * [1, 0.5, 1]
    drawn = draw_mixtures(NATURAL, caps, 200, seed=1)
    assert drawn.shape == (200, 3) and len(np.unique(drawn, axis=0)) == 200
    assert np.allclose(drawn.sum(1), 1, atol=1e-12)
    assert np.allclose(drawn / GRAIN, np.round(drawn / GRAIN), atol=1e-6)
    assert (drawn <= caps + 1.5 * GRAIN).all() and drawn.min() == 0
    # More mixtures begin with the same ones, another seed gives others.
    assert np.array_equal(draw_mixtures(NATURAL, caps, 50, seed=1), drawn[:50])
    assert not np.array_equal(draw_mixtures(NATURAL, caps, 50, seed=2), drawn[:50])


def test_the_mean_of_the_mixtures_is_the_tempered_shares() -> None:
    tempered = np.sqrt(NATURAL) / np.sqrt(NATURAL).sum()
    drawn = draw_mixtures(NATURAL, FREE, 1500, seed=0)
    assert np.abs(drawn.mean(0) - tempered).max() < 0.03


def test_caps_that_leave_nothing_are_told() -> None:
    with pytest.raises(ConfigError, match=r"add up to 0\.9, less than the whole"):
        draw_mixtures(NATURAL, np.full(3, 0.3), 4, 0)
    with pytest.raises(ConfigError, match="only 0 of 4 mixtures"):
        draw_mixtures(NATURAL, np.array([0.5, 0.25, 0.25]), 4, 0)
    with pytest.raises(ConfigError, match="the pool has one"):
        draw_mixtures(np.ones(1), np.ones(1), 4, 0)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(0, 10), min_size=2, max_size=6),
    st.lists(st.floats(0, 1), min_size=6, max_size=6),
)
def test_filled_shares_keep_to_their_caps(weights: list[float], caps: list[float]) -> None:
    limits = np.array(caps[: len(weights)])
    if limits.sum() < 1:
        return
    filled = water_fill(np.array(weights), limits)
    assert filled.sum() == pytest.approx(1, abs=1e-6)
    assert (filled <= limits + 1e-9).all() and (filled >= 0).all()


def test_filling_keeps_the_proportions_of_what_is_not_full() -> None:
    rows = np.array([[0.6, 0.3, 0.1], [1.0, 0.0, 0.0]])
    filled = water_fill(rows, np.array([0.2, 1.0, 1.0]))
    assert filled[0] == pytest.approx([0.2, 0.6, 0.2])
    assert filled[1] == pytest.approx([0.2, 0.4, 0.4])


# Square roots.

GAIN = np.array([0.6, 0.8, -0.2])


def test_square_roots_have_their_closed_form(tmp_path: Path) -> None:
    """Without caps the optimum is b^2 / sum b^2 over the groups that help."""
    folder = swarm(tmp_path / "s", lambda w: 5 - np.sqrt(w) @ GAIN)
    assert shares("square_root(swarm=SWARM)", folder) == pytest.approx([0.36, 0.64, 0], abs=1e-6)
    # Twice the 100 of code in a budget of 500 is at most 0.4.
    capped = shares("square_root(swarm=SWARM)", folder, repeat=2)
    assert capped == pytest.approx([0.6, 0.4, 0], abs=1e-6)
    assert shares("square_root(swarm=SWARM,epochs=2)", folder) == pytest.approx(capped)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0.05, 1), min_size=3, max_size=3), st.floats(0.35, 1))
def test_no_mixture_is_better_by_square_roots(gain: list[float], cap: float) -> None:
    b, caps = np.array(gain), np.array([cap, 1.0, cap])
    assert is_lowest(lambda w: -np.sqrt(w) @ b, best_roots(b, caps), caps)


def test_what_the_helping_groups_cannot_take_goes_where_it_harms_least() -> None:
    caps = np.array([0.375, 1.0, 0.375])
    found = best_roots(np.array([-0.5, -0.5, 0.2]), caps)
    assert found == pytest.approx([0, 0.625, 0.375])  # in one group: the root is concave
    found = best_roots(np.array([0.1, -0.5, -0.1]), caps)
    assert found == pytest.approx([0.375, 0.25, 0.375])


# The log-linear law.

SLOPES = np.array([[-0.5, -2.0, 0.3], [0.4, 0.2, -1.0]])


def test_the_log_linear_law_is_found(tmp_path: Path) -> None:
    weights = draw_mixtures(NATURAL, FREE, 40, 0)
    c, a = log_linear.fit_law(weights, 2.5 + np.exp(weights @ SLOPES[0]))
    assert c == pytest.approx(2.5, abs=1e-3) and a == pytest.approx(SLOPES[0], abs=2e-3)
    folder = swarm(tmp_path / "s", lambda w: 2.5 + np.exp(w @ SLOPES.T))

    def law(w: Floats) -> Floats:
        divergence = (w * np.log(np.maximum(w, 1e-12) / NATURAL)).sum(1)
        return np.asarray(np.exp(w @ SLOPES.T).mean(1) + 0.05 * divergence)

    targets = ("math", "math1")
    fitted = shares("log_linear(swarm=SWARM)", folder, targets=targets)
    assert is_lowest(law, fitted, FREE)
    capped = shares("log_linear(swarm=SWARM)", folder, targets=targets, repeat=2)
    assert capped[1] == pytest.approx(0.4, abs=1e-6)
    assert is_lowest(law, capped, np.array([1, 0.4, 1]))


def test_the_prior_and_the_corner_are_the_ends_of_kl(tmp_path: Path) -> None:
    folder = swarm(tmp_path / "s", lambda w: 2.5 + np.exp(w @ SLOPES[0]))
    assert shares("log_linear(swarm=SWARM,kl=1e4)", folder) == pytest.approx(NATURAL, abs=1e-3)
    assert shares("log_linear(swarm=SWARM,kl=0)", folder) == pytest.approx([0, 1, 0], abs=1e-4)


# RegMix.


@pytest.mark.parametrize("model", ["lightgbm", "linear"])
def test_regmix_comes_near_the_optimum(tmp_path: Path, model: str) -> None:
    """The law is linear, with its least in the corner of code, and at most 0.4 of it."""
    folder = swarm(tmp_path / "s", lambda w: 4 - w @ [0.1, 1.0, 0.0])
    text = f"regmix(swarm=SWARM,model={model},draws=1000,best=10)"
    fitted = shares(text, folder)
    assert fitted.sum() == pytest.approx(1) and fitted[1] > 0.7
    capped = shares(text, folder, repeat=2)
    assert 0.35 < capped[1] <= 0.4 + 1e-9


def test_linear_regmix_is_the_mean_of_the_best_draws(tmp_path: Path) -> None:
    folder = swarm(tmp_path / "s", lambda w: 4 - w @ [0.1, 1.0, 0.0])
    draws = np.random.default_rng(42).dirichlet(NATURAL, 500)
    best = draws[np.argsort(-(draws @ [0.1, 1.0, 0.0]))[:7]].mean(0)
    fitted = shares("regmix(swarm=SWARM,model=linear,draws=500,best=7)", folder)
    assert fitted == pytest.approx(best, abs=1e-6)


def test_trees_rank_unseen_mixtures(tmp_path: Path) -> None:
    from scipy.stats import spearmanr

    from dataworth.mixture.regmix import boosted

    def law(w: Floats) -> Floats:
        return np.asarray(np.exp(-2 * np.sqrt(w)) @ [1.0, 2.0, 0.5])

    seen, unseen = draw_mixtures(NATURAL, FREE, 256, 0), draw_mixtures(NATURAL, FREE, 200, 1)
    assert spearmanr(boosted(seen, law(seen), unseen), law(unseen)).statistic > 0.95


# UtiliMax.


def test_no_mixture_is_better_by_utilimax() -> None:
    utilities = np.array([[1.0, 0.0], [0.2, 1.0], [0.0, 0.6]])
    caps = np.array([1.0, 0.3, 1.0])
    for risk in (0.1, 3.0):

        def law(w: Floats, risk: float = risk) -> Floats:
            return np.asarray(np.linalg.norm(w @ utilities - 1, axis=1) + risk * (w * w).sum(1))

        assert is_lowest(law, utilimax.best_shares(utilities, caps, risk), caps)


def test_utilimax_spreads_and_prefers(tmp_path: Path) -> None:
    folder = swarm(tmp_path / "s", lambda w: 4 - w @ [0.1, 1.0, 0.0])
    wide = shares("utilimax(swarm=SWARM,risk=1e4)", folder)
    assert wide == pytest.approx(np.full(3, 1 / 3), abs=1e-3)
    narrow = shares("utilimax(swarm=SWARM,risk=0.01)", folder)
    assert narrow[1] > 0.95


# What all of them share.


def test_losses_are_those_of_the_targets_or_named(tmp_path: Path) -> None:
    folder = swarm(tmp_path / "s", lambda w: 5 - np.sqrt(w) @ GAIN, count=12)
    table = read_table(folder)
    assert table.of(["math"])[:, 0] == pytest.approx(5 - np.sqrt(table.weights) @ GAIN)
    assert table.of(["web"])[:, 0] == pytest.approx(3 - table.weights[:, 2])
    assert table.of([]).shape == (12, 3)
    web = shares("square_root(swarm=SWARM,minimise=web)", folder)
    assert web[2] > 0.95
    with pytest.raises(ConfigError, match="no loss on 'law', only on books, code, web, math: run"):
        shares("square_root(swarm=SWARM)", folder, targets=["law"])


def test_ties_are_told(tmp_path: Path) -> None:
    folder = swarm(tmp_path / "s", lambda w: np.full(len(w), 3.0), count=12)
    with pytest.raises(ConfigError, match="same loss on math: nothing tells the mixtures apart"):
        shares("square_root(swarm=SWARM)", folder)


def test_a_pool_smaller_than_the_budget_is_taken_whole(tmp_path: Path) -> None:
    folder = swarm(tmp_path / "s", lambda w: 5 - np.sqrt(w) @ GAIN, count=12)
    groups = Groups("domain", {"books": 30.0, "code": 0.0, "web": 60.0}, 100, 1)
    mixture = parse({"square_root": {"swarm": str(folder)}})
    assert mixture.fit(groups, [], None) == pytest.approx({"books": 0.3, "code": 0.0, "web": 0.6})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("square_root(swarm=nowhere)", "nowhere: is no swarm"),
        ("square_root", "needs.*swarm|swarm.*needed|missing.*swarm"),
        ("regmix(swarm=SWARM)", "of 3 groups takes a swarm of 64 models or more, not of 12"),
        ("log_linear(swarm=SWARM,kl=-1)", "kl must be a number .0 or more."),
    ],
)
def test_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    folder = swarm(tmp_path / "s", lambda w: w[:, 0], count=12)
    with pytest.raises(ConfigError, match=said):
        shares(text, folder)


def test_a_swarm_of_something_else(tmp_path: Path) -> None:
    folder = swarm(tmp_path / "s", lambda w: w[:, 0], count=12)
    mixture = parse({"square_root": {"swarm": str(folder)}})
    with pytest.raises(ConfigError, match="is of the groups of 'domain', not of 'lang'"):
        mixture.fit(Groups("lang", {"de": 1.0}, 1), [], None)
    with pytest.raises(ConfigError, match="was trained without 'law' of domain"):
        mixture.fit(Groups("domain", {"law": 1.0}, 1), [], None)
    for file in list((folder / "runs").iterdir())[3:]:
        file.unlink()
    with pytest.raises(ConfigError, match="holds 3 trained models, and fewer than 4"):
        mixture.fit(Groups("domain", {"web": 1.0}, 1), [], None)
    next((folder / "runs").iterdir()).write_text("{}")
    with pytest.raises(RunError, match="runs"):
        mixture.fit(Groups("domain", {"web": 1.0}, 1), [], None)
