"""TracIn, TRAK, self-influence, GraNd and EL2N against gradients and predictions by hand."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dataworth.errors import ConfigError
from dataworth.methods import modelled
from dataworth.methods.el2n import EL2N
from dataworth.methods.fitted import Fitted
from dataworth.methods.grand import GraNd
from dataworth.methods.registry import STEPS, parse_step, shown
from dataworth.methods.self_influence import SelfInfluence
from dataworth.methods.tracin import TracIn
from dataworth.methods.trak import TRAK
from methods.fitting import docs, fit, utility
from methods.modelled import (
    POOL,
    TARGET,
    gradient,
    model_folder,
    opened,
    pieces,
    texts,
    tokens,
)

LONG = " ".join(texts("seas", 8))  # of several windows
SOME = [*POOL[:5], LONG, "", "Unseen: 東京!"]


def two() -> tuple[str, ...]:
    return model_folder(0), model_folder(1)


def gradients(seed: int, some: list[str]) -> np.ndarray:
    model, tokenizer = opened(seed)
    return np.stack([gradient(model, tokenizer, [text]) for text in some])


def target(seed: int) -> np.ndarray:
    model, tokenizer = opened(seed)
    return gradient(model, tokenizer, TARGET) / sum(tokens(tokenizer, text) for text in TARGET)


def test_tracin_is_the_weighted_sum_over_checkpoints() -> None:
    step = TracIn(two(), learning_rates=(0.5, 0.1), per="document")
    told = utility(fit(step, POOL, {"sums": TARGET}), SOME)
    truth = sum(rate * gradients(s, SOME) @ target(s) for s, rate in ((0, 0.5), (1, 0.1)))
    assert told == pytest.approx(truth, abs=1e-4 * np.abs(truth).max())
    assert TracIn(two()).rates == (0.5, 0.5)


def test_trak_without_damping_is_the_exact_solution_in_the_projected_space() -> None:
    """With the projection to few numbers: phi_t (Phi'Phi)^-1 phi_i, by the method's projector."""
    step = TRAK(two(), dimension=16, damping=0.0, per="document", projection="gaussian")
    fitted = fit(step, POOL, {"sums": TARGET})
    told = np.array(utility(fitted, SOME))
    truth = np.zeros(len(SOME))
    for number, seed in enumerate((0, 1)):
        reader = fitted.step.models_of(fitted.state)[number].reader
        projector = step.projector(reader, number, 0, 16)

        def flat(rows: np.ndarray, projector: Any = projector) -> np.ndarray:
            found = projector.flat(torch.from_numpy(rows.astype(np.float32)))
            return found.double().numpy()

        pool = flat(gradients(seed, POOL))
        inverse = np.linalg.inv(pool.T @ pool)
        truth += flat(gradients(seed, SOME)) @ inverse @ flat(target(seed)[None])[0] / 2
    # The engine lays its blocks in the order of the model's parameters, as by hand.
    assert told == pytest.approx(truth, abs=1e-3 * np.abs(truth).max())


def test_what_is_like_the_target_is_preferred() -> None:
    pairs = zip(texts("sums", 100, 11), texts("seas", 100, 11), strict=True)
    many = [text for pair in pairs for text in pair]
    signs = TRAK(two(), dimension=16, projection="rademacher")
    for step in (TracIn(two()), TRAK(two(), dimension=16), signs):
        fitted = fit(step, many, {"sums": TARGET})
        like, unlike = utility(fitted, texts("sums", 9, 5)), utility(fitted, texts("seas", 9, 5))
        assert np.mean(like) > np.mean(unlike) and np.mean(like) > 0  # type: ignore[arg-type]


def test_too_few_documents_for_the_dimension_are_told(caplog: pytest.LogCaptureFixture) -> None:
    fit(TRAK((model_folder(),), dimension=64), POOL, {"sums": TARGET})
    assert "40 documents is noise" in caplog.text
    assert "dimension=8" in caplog.text  # a quarter, in four parts


def test_dimensions_that_suit_the_sample(caplog: pytest.LogCaptureFixture) -> None:
    assert [TRAK(two()).dimension_for(n) for n in (3, 40, 2048, 10**6)] == [4, 8, 512, 512]
    assert TRAK(two(), dimension=17).dimension_for(40) == 17
    fitted = fit(TRAK(two()), POOL, {"sums": TARGET})
    assert fitted.state["vectors_0"].shape == (1, 8)
    assert "noise" not in caplog.text


def test_lengths_of_gradients() -> None:
    _, tokenizer = opened()
    told = utility(fit(GraNd(two()), POOL, {}), SOME)
    lengths = sum(np.linalg.norm(gradients(seed, SOME), axis=1) for seed in (0, 1)) / 2
    truth = lengths / [tokens(tokenizer, text) for text in SOME]
    assert told == pytest.approx(truth, rel=1e-4)
    low = utility(fit(GraNd(two(), prefer="low"), POOL, {}), SOME)
    assert low == [-value for value in told if value is not None]


def test_lengths_and_scores_in_one_pass_are_those_by_hand() -> None:
    """Documents of several windows beside short ones, one without a token among them."""
    fitted = fit(GraNd((model_folder(),)), POOL, {})
    reader = fitted.step.models_of(fitted.state)[0].reader
    some = [*SOME, LONG + " again", ""]
    truth = gradients(0, some)
    vectors = torch.from_numpy(truth[:3].astype(np.float32))
    scores, lengths, _ = reader.scores_and_lengths(docs(some), vectors)
    apart = reader.scores(docs(some), vectors)[0]
    assert lengths == pytest.approx(np.linalg.norm(truth, axis=1), rel=1e-4)
    assert scores == pytest.approx(truth @ truth[:3].T, abs=1e-4 * np.abs(truth @ truth.T).max())
    assert scores == pytest.approx(apart, abs=1e-5 * np.abs(apart).max())


def test_the_time_told_is_of_the_windows_that_count(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[float] = []
    clock = itertools.count()
    monkeypatch.setattr(modelled, "_duration", lambda seconds: told.append(seconds) or "")
    monkeypatch.setattr(modelled.time, "perf_counter", lambda: float(next(clock)))
    _, tokenizer = opened()
    for windows in (0, 1, 99):
        fit(GraNd((model_folder(),), windows=windows), [f"{LONG} {i}" for i in range(8)], {})
    scored = told[1::2]
    assert scored[0] == pytest.approx(1.0) and scored[2] == scored[0]  # 8 documents in a "second"
    each = [tokens(tokenizer, f"{LONG} {i}") for i in range(8)]
    assert scored[1] == pytest.approx(8 * 31 / sum(each))


def test_lengths_of_errors() -> None:
    model, tokenizer = opened()
    truth = []
    for text in SOME:
        found = []
        for piece in pieces(tokenizer, text):
            with torch.no_grad():
                share = model(piece)[0, :-1].softmax(-1)
            share[torch.arange(len(share)), piece[0, 1:]] -= 1
            found += share.norm(dim=1).tolist()
        truth.append(np.mean(found))
    told = utility(fit(EL2N((model_folder(),)), POOL, {}), SOME)
    assert told == pytest.approx(truth, rel=1e-4)
    assert all(0 <= value <= 2**0.5 for value in truth)


def test_self_influence_is_the_squared_length_without_curvature() -> None:
    _, tokenizer = opened()
    step = SelfInfluence(model_folder(), "identity", prefer="high")
    told = utility(fit(step, POOL, {}), SOME)
    squares = (gradients(0, SOME) ** 2).sum(1)
    assert told == pytest.approx(squares / [tokens(tokenizer, text) for text in SOME], rel=1e-4)


@pytest.mark.parametrize("solver", ["diagonal", "kfac", "ekfac"])
def test_self_influence_finds_what_is_unlike_the_rest(solver: Any) -> None:
    fitted = fit(SelfInfluence(model_folder(), solver), POOL, {})
    usual, noise = utility(fitted, texts("sums", 8, 9)), utility(fitted, ["zq§ 7-7 ÖÄ", "%%#@!9"])
    assert max(noise) < min(usual) < 0  # type: ignore[type-var]


def steps() -> list[Any]:
    one = (model_folder(),)
    return [
        TracIn(two()),
        TRAK(two(), dimension=32, sample=20),
        SelfInfluence(model_folder()),
        SelfInfluence(model_folder(), "diagonal"),
        SelfInfluence(model_folder(), "identity"),
        GraNd(one),
        EL2N(one, prefer="low", windows=1),
    ]


def test_saved_and_loaded_and_in_any_batch(tmp_path: Path) -> None:
    for number, step in enumerate(steps()):
        fitted = fit(step, POOL, {"sums": TARGET})
        folder = tmp_path / str(number)
        fitted.save(folder)
        wanted = fitted.annotate(docs(SOME))
        assert Fitted.load(step, folder).annotate(docs(SOME)).equals(wanted), step
        values = np.array(wanted.column(0).to_pylist())
        alone = [utility(fitted, [text])[0] for text in SOME]
        assert np.abs(values - np.array(alone)).max() < 1e-4 * np.abs(values).max(), step
        assert parse_step(shown(step)) == step
        assert fitted.annotate(docs([])).num_rows == 0


def test_names_and_units() -> None:
    for step in steps():
        assert STEPS[step.name] is type(step)
        column = fit(step, POOL, {"sums": TARGET}).columns[0]
        wanted = "sums" if getattr(step, "needs_target", False) else ""
        assert column.name == f"utility:{step.name}:{wanted}" and column.unit


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: TracIn(), "models="),
        (lambda: TRAK(), "models="),
        (lambda: GraNd(), "models="),
        (lambda: EL2N(("a", "")), "models="),
        (lambda: SelfInfluence(), "model=FOLDER"),
        (lambda: TracIn(("a",), (0.1, 0.2)), "learning"),
        (lambda: TRAK(("a",), dimension=-1), "dimension"),
        (lambda: SelfInfluence("a", prefer="middle"), "prefer"),  # type: ignore[arg-type]
    ],
)
def test_wrong_settings(make: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make()


@pytest.mark.parametrize("name", ["tracin", "trak", "grand", "el2n"])
def test_one_model_needs_no_brackets(name: str) -> None:
    alone = parse_step(f"{name}(models=out/seed-0)")
    assert alone == parse_step(f"{name}(models=['out/seed-0'])")
    assert alone == STEPS[name]("out/seed-0") == STEPS[name](["out/seed-0"])
    assert parse_step(shown(alone)) == alone
    with pytest.raises(ConfigError, match="needs a causal language model"):
        STEPS[name]("")
