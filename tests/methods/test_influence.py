"""Influence: what the utility says happens to the target's loss, and does not hang on batches."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor

import dataworth
from dataworth.errors import ConfigError, DataworthError
from dataworth.features.gradients import CausalLM, Gradients, solving
from dataworth.features.gradients.language import Reader
from dataworth.features.gradients.preconditioners import Products
from dataworth.lm.moments import load_moments
from dataworth.methods.fitted import Fitted
from dataworth.methods.influence import SOLVERS, Influence
from dataworth.options import calls
from methods.fitting import docs, fit, utility
from methods.modelled import (
    POOL,
    TARGET,
    gradient,
    model_folder,
    opened,
    texts,
    tokens,
    whole_loss,
)

LONG = " ".join(texts("seas", 8))  # of several windows
SOME = [*POOL[:6], LONG, "", "Unseen: 東京!"]


def step(**options: object) -> Influence:
    return Influence(model=model_folder(), **options)  # type: ignore[arg-type]


def test_the_plain_product_is_the_fall_of_the_loss_by_one_small_step() -> None:
    model, tokenizer = opened()
    fitted = fit(step(solver="identity", per="document"), POOL, {"sums": TARGET})
    told = utility(fitted, SOME)
    near = 1e-4 * max(abs(value or 0) for value in told)
    count = sum(tokens(tokenizer, text) for text in TARGET)
    start = {name: value.clone() for name, value in model.state_dict().items()}

    def target_loss() -> float:
        with torch.no_grad():
            return float(sum(whole_loss(model, tokenizer, text) for text in TARGET)) / count

    for text, said in zip(SOME, told, strict=True):
        fallen = []
        for rate in (1e-5, -1e-5):
            model.load_state_dict(start)
            model.zero_grad()
            whole_loss(model, tokenizer, text).backward()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter -= rate * parameter.grad
            fallen.append(target_loss())
        model.load_state_dict(start)
        assert said is not None
        assert said == pytest.approx((fallen[1] - fallen[0]) / 2e-5, rel=2e-3, abs=near)


def test_what_is_like_the_target_helps_and_the_rest_less() -> None:
    for solver in ("identity", "cosine", "diagonal", "kfac", "ekfac"):
        fitted = fit(step(solver=solver), POOL, {"sums": TARGET})
        like, unlike = utility(fitted, texts("sums", 9, 5)), utility(fitted, texts("seas", 9, 5))
        assert np.mean(like) > np.mean(unlike) and np.mean(like) > 0, solver  # type: ignore[arg-type]


def test_cosine_is_that_of_the_gradients() -> None:
    model, tokenizer = opened()
    target = gradient(model, tokenizer, TARGET)
    told = utility(fit(step(solver="cosine"), POOL, {"sums": TARGET}), SOME)
    for text, said in zip(SOME, told, strict=True):
        own = gradient(model, tokenizer, [text])
        truth = own @ target / np.linalg.norm(own) / np.linalg.norm(target)
        assert said == pytest.approx(truth, abs=1e-5)


def test_by_length_is_a_share_for_each_token() -> None:
    _, tokenizer = opened()
    whole = utility(fit(step(solver="kfac", per="document"), POOL, {"sums": TARGET}), SOME)
    each = utility(fit(step(solver="kfac"), POOL, {"sums": TARGET}), SOME)
    for text, a, b in zip(SOME, whole, each, strict=True):
        assert a is not None and b == pytest.approx(a / tokens(tokenizer, text), rel=1e-5)


def test_by_the_length_of_the_gradient() -> None:
    model, tokenizer = opened()
    whole = utility(fit(step(per="document"), POOL, {"sums": TARGET}), SOME)
    each = utility(fit(step(per="gradient"), POOL, {"sums": TARGET}), SOME)
    for text, a, b in zip(SOME, whole, each, strict=True):
        length = np.linalg.norm(gradient(model, tokenizer, [text]))
        assert a is not None and b == pytest.approx(a / length, rel=1e-3)


def test_more_steps_of_conjugate_gradients_come_nearer_to_the_exact_answer() -> None:
    layers = ("blocks.0.attention.out", "blocks.0.feed.down")
    options = {"layers": layers, "sample": 12}
    exact = np.array(utility(fit(step(solver="dense", **options), POOL, {"s": TARGET}), SOME))
    near = []
    for solver in ("ekfac", "ekfac_cg"):  # the damping is a share of curvatures that differ a bit
        found = utility(fit(step(solver=solver, steps=40, **options), POOL, {"s": TARGET}), SOME)
        near.append(np.corrcoef(np.array(found), exact)[0, 1])
    assert near[0] < near[1] and near[1] > 0.99


def test_how_far_conjugate_gradients_came_is_told() -> None:
    fitted = fit(step(solver="ekfac_cg", steps=1, damping=1e-4), POOL, {"sums": TARGET})
    assert "after 1 step" in fitted.state["about"] and "residual" in fitted.state["about"]


def test_a_dense_curvature_of_too_many_is_refused_before_its_cost_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("dataworth.features.gradients.solving.LARGEST", 100)
    with pytest.raises(ConfigError, match="at most 100; name some modules"):
        fit(step(solver="dense"), POOL, {"sums": TARGET})
    assert "will take" not in caplog.text


def test_a_longer_series_comes_nearer_to_the_exact_answer() -> None:
    options = {"layers": ("blocks.0.attention.out",), "sample": 12, "damping": 1.0}
    exact = np.array(utility(fit(step(solver="dense", **options), POOL, {"s": TARGET}), SOME))
    near = []
    for steps in (2, 30):
        found = utility(
            fit(step(solver="lissa", steps=steps, **options), POOL, {"s": TARGET}), SOME
        )
        near.append(np.corrcoef(np.array(found), exact)[0, 1])
    assert near[0] < near[1] and near[1] > 0.99


def scale_of_adam() -> Tensor:
    """By hand, in the model's order."""
    model, _ = opened()
    kept = load_moments(Path(model_folder()))
    assert kept is not None and kept.step == 80 and kept.betas == (0.9, 0.999)
    second = [torch.from_numpy(kept.second[name]).flatten() for name, _ in model.named_parameters()]
    return (torch.cat(second).double() / (1 - 0.999**80)).sqrt() + 1e-8


def test_a_step_of_adam_divides_by_its_second_moment() -> None:
    model, tokenizer = opened()
    target = gradient(model, tokenizer, TARGET) / sum(tokens(tokenizer, text) for text in TARGET)
    told = utility(fit(step(solver="adam", per="document"), POOL, {"sums": TARGET}), SOME)
    scale = scale_of_adam().numpy()
    for text, said in zip(SOME, told, strict=True):
        truth = gradient(model, tokenizer, [text]) @ (target / scale)
        assert said == pytest.approx(truth, rel=1e-4, abs=1e-6)


def test_conjugate_gradients_as_the_training_are_damped_by_parameter() -> None:
    """What comes out solves the damped equation."""
    model, tokenizer = opened()
    reader = Reader(model_folder())
    items = reader.items(docs(POOL))  # of all documents: they are the sample
    engine = Gradients(reader.engine.model.double(), CausalLM("sum", "sum"))
    products = Products(engine, engine.task.examples(items.items, items.uid, size=16))

    def flat(vector: Tensor) -> Tensor:
        """From the model's order to that of the engine."""
        known = dict(model.named_parameters())
        parts = vector.split([value.numel() for value in known.values()])
        named = zip(known.items(), parts, strict=True)
        return engine.blocks.flatten({name: part.view(like.shape) for (name, like), part in named})

    fitted = fit(step(solver="adam_cg", sample=len(POOL), steps=60), POOL, {"sums": TARGET})
    solution = torch.from_numpy(fitted.state["vectors"]).double() * len(items.items)
    each = flat(scale_of_adam() / 0.8 * (items.tokens.sum() / len(items.items)))
    wanted = flat(torch.from_numpy(gradient(model, tokenizer, TARGET)))
    wanted /= sum(tokens(tokenizer, text) for text in TARGET)
    assert (products(solution)[0] + each * solution[0] - wanted).norm() < 0.011 * wanted.norm()
    assert (products(solution)[0] - wanted).norm() > 0.1 * wanted.norm()  # damping matters


def test_without_the_moments_of_adam_its_solvers_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_folder(), folder)
    (folder / "moments.npz").unlink()
    for solver in ("adam", "adam_cg"):
        with pytest.raises(ConfigError, match=r"no moments\.npz beside the model.*proxy"):
            fit(Influence(model=str(folder), solver=solver), POOL, {"sums": TARGET})
    (folder / "moments.npz").write_bytes(b"PK not so")
    with pytest.raises(DataworthError, match=r"moments\.npz: cannot be read"):
        fit(Influence(model=str(folder), solver="adam"), POOL, {"sums": TARGET})


def test_batches_change_rounding_alone() -> None:
    fitted = fit(step(), POOL, {"seas": texts("seas", 3, 7), "sums": TARGET})
    whole = fitted.annotate(docs(SOME)).to_pandas()
    for column in whole.columns[:2]:
        alone = np.array([fitted.annotate(docs([text])).to_pandas()[column][0] for text in SOME])
        largest = np.abs(whole[column]).max()
        assert np.abs(alone - whole[column]).max() < 1e-5 * largest
    again = fitted.annotate(docs(SOME))
    assert again.equals(fitted.annotate(docs(SOME)))
    assert fitted.annotate(docs([])).num_rows == 0


def test_the_number_of_training_tokens_is_a_factor() -> None:
    few = np.array(utility(fit(step(trained=1_000), POOL, {"sums": TARGET}), SOME))
    many = np.array(utility(fit(step(trained=100_000), POOL, {"sums": TARGET}), SOME))
    assert few / many == pytest.approx(100, rel=0.05)


def test_saved_loaded_and_sent_to_another_process(tmp_path: Path) -> None:
    fitted = fit(step(), POOL, {"sums": TARGET})
    fitted.save(tmp_path / "step")
    wanted = fitted.annotate(docs(SOME))
    assert Fitted.load(step(), tmp_path / "step").annotate(docs(SOME)).equals(wanted)
    assert pickle.loads(pickle.dumps(fitted)).annotate(docs(SOME)).equals(wanted)
    assert {path.name for path in (tmp_path / "step").iterdir()} == {"step.json", "vectors.npy"}


def test_another_model_in_the_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_folder(), folder)
    own = Influence(model=str(folder))
    fit(own, POOL, {"sums": TARGET}).save(tmp_path / "step")
    shutil.copytree(model_folder(1), folder, dirs_exist_ok=True)
    with pytest.raises(DataworthError, match="another model"):
        Fitted.load(own, tmp_path / "step").annotate(docs(SOME))


def test_layers_and_beginnings() -> None:
    plain = fit(step(), POOL, {"sums": TARGET})
    part = fit(step(layers=("*feed*",)), POOL, {"sums": TARGET})
    assert part.state["vectors"].shape[1] < plain.state["vectors"].shape[1]
    first = fit(step(windows=1, per="document"), POOL, {"sums": TARGET})
    whole = fit(step(per="document"), POOL, {"sums": TARGET})
    assert utility(first, [POOL[0]]) == pytest.approx(utility(whole, [POOL[0]]), rel=1e-4)
    assert utility(first, [LONG]) != pytest.approx(utility(whole, [LONG]), rel=1e-2)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "model=FOLDER"),
        ({"model": "x", "solver": "newton"}, "solver must be"),
        ({"model": "x", "damping": -1.0}, "damping"),
        ({"model": "x", "sample": 0}, "sample"),
    ],
)
def test_wrong_settings(options: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as raised:
        Influence(**options)
    assert "\n" not in str(raised.value)


def test_what_is_no_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no folder of a model"):
        fit(Influence(model=str(tmp_path / "nothing")), POOL, {"sums": TARGET})
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no causal language model"):
        fit(Influence(model=str(tmp_path / "empty")), POOL, {"sums": TARGET})


def test_in_a_run(tmp_path: Path) -> None:
    text = f'influence(model="{model_folder()}", solver=diagonal)'
    found = []
    for workers, kind in ((1, "threads"), (2, "threads")):
        selection = dataworth.select(
            POOL,
            {"sums": TARGET},
            "10-docs",
            steps=text,
            out=tmp_path / f"{kind}{workers}",
            engine=dataworth.Engine(workers, kind),
        )
        found.append(selection.scores.table.column("utility:influence:sums"))
        chosen = [POOL[row] for row in selection.rows]
        assert sum(text in POOL[::2] for text in chosen) >= 8
    assert np.array_equal(found[0], found[1])


def test_every_solver_has_a_unit() -> None:
    assert solving.SOLVERS == get_args(calls.Solver) == SOLVERS
    units = {solver: step(solver=solver).unit for solver in SOLVERS}
    assert units.pop("cosine") == "cosine"
    assert set(units.values()) == {"nats saved per token"}
