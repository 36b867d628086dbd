"""What the optimizer remembers, beside the model that it trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dataworth.errors import ConfigError, DataworthError
from dataworth.features.gradients.language import Reader
from dataworth.features.gradients.preconditioners import Moments
from dataworth.lm.model import SIZES, ModelConfig, build, load_model
from dataworth.lm.moments import FILE, load_moments, save_moments
from dataworth.lm.packing import stream_of
from dataworth.lm.proxies import train_kept
from dataworth.lm.tokenizer import train_tokenizer
from dataworth.lm.training import Progress, TrainConfig, train

TEXTS = [f"the ship {n} sails over the sea and {n + 1} waves rise" for n in range(200)]


def test_saved_and_loaded_by_name_with_what_each_group_has(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 1))
    groups = [
        {"params": [*module[0].parameters()], "factor": 0.5, "weight_decay": 0.1},
        {"params": [*module[1].parameters()], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=0.1, betas=(0.8, 0.95), eps=1e-6)
    for seed in range(3):
        optimizer.zero_grad()
        module(torch.full((1, 3), float(seed))).sum().backward()
        optimizer.step()
    assert load_moments(tmp_path) is None
    save_moments(tmp_path, module, optimizer, 0.3)
    kept = load_moments(tmp_path)
    assert kept is not None
    assert (kept.step, kept.betas, kept.epsilon) == (3, (0.8, 0.95), 1e-6)
    assert kept.rates == {"0.weight": 0.15, "0.bias": 0.15, "1.weight": 0.3, "1.bias": 0.3}
    assert kept.decay == {"0.weight": 0.1, "0.bias": 0.1, "1.weight": 0.0, "1.bias": 0.0}
    for name, parameter in module.named_parameters():
        state = optimizer.state[parameter]
        assert np.array_equal(kept.first[name], state["exp_avg"].numpy())
        assert np.array_equal(kept.second[name], state["exp_avg_sq"].numpy())
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataworthError, match=r"cannot be read .*remove the file"):
        load_moments(tmp_path)


def test_a_proxy_has_the_moments_of_its_own_training(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(TEXTS, 300)
    kept = train_kept(
        TEXTS, tokenizer, tmp_path, size="tiny", tokens=8_000, seed=1, points=2, compile=False
    )
    told: list[tuple[int, float, float]] = []

    def note(now: Progress) -> None:
        told.append((now.step, now.learning_rate, now.travelled))

    preset = SIZES["tiny"]
    shape = {**vars(preset.model), "vocabulary": tokenizer.get_vocab_size()}
    model = build(ModelConfig(**shape), 1)
    config = TrainConfig(8_000, preset.learning_rate, preset.batch_sequences, seed=1, compile=False)
    train(model, stream_of(TEXTS, tokenizer), config, on_step=note)
    rates = [rate for _, rate, _ in told]
    assert [travelled for *_, travelled in told] == pytest.approx(np.cumsum(rates).tolist())
    for one in kept:
        found = load_moments(tmp_path / one.folder)
        assert found is not None and found.step == one.step
        assert max(found.rates.values()) == pytest.approx(sum(rates[: one.step]))
        again = load_model(tmp_path / one.folder).as_module()
        assert set(found.second) == {name for name, _ in again.named_parameters()}
    # The reader lays them out as it does the gradients.
    reader = Reader(str(tmp_path / kept[-1].folder))
    moments = reader.moments()
    parts = reader.engine.blocks.unflatten(moments.second)
    assert found is not None
    for name, value in parts.items():
        assert np.array_equal(value.numpy(), found.second[name])
    assert moments.rates is not None and float(moments.rates.max()) == pytest.approx(sum(rates))


def test_moments_of_another_model_are_refused(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(TEXTS, 300)
    (one,) = train_kept(
        TEXTS, tokenizer, tmp_path, size="tiny", tokens=2_000, seed=0, points=1, compile=False
    )
    other = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW([{"params": [*other.parameters()], "weight_decay": 0.0}], lr=0.1)
    other(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    save_moments(tmp_path / one.folder, other, optimizer, 0.1)
    with pytest.raises(ConfigError, match="of another model"):
        Reader(str(tmp_path / one.folder)).moments()


def test_the_damping_is_nearly_where_steps_of_a_fixed_scale_come() -> None:
    """On a quadratic, step by step, as `Moments.stopped` says: within a factor of 1.3."""
    curvature = torch.logspace(-4, 1, 60, dtype=torch.float64)
    scale, rate, steps = 3.0, 0.02, 400
    moments = Moments(
        torch.zeros(60),
        torch.full((60,), scale**2, dtype=torch.float64) * (1 - 0.99**steps),
        steps,
        (0.9, 0.99),
        0.0,
        torch.full((60,), rate * steps, dtype=torch.float64),
    )
    way = torch.zeros(60, dtype=torch.float64)
    for _ in range(steps):
        way += rate / scale * (1 - curvature * way)
    ratio = way * (curvature + moments.stopped())
    assert float(ratio.min()) > 0.99 and float(ratio.max()) < 1.3
    # Decay, which is not divided by the scale, adds its share of the scale to the curvature.
    decayed = Moments(
        *(moments.first, moments.second, steps, moments.betas, 0.0, moments.rates),
        torch.full((60,), 0.1, dtype=torch.float64),
    )
    assert torch.allclose(decayed.stopped() - moments.stopped(), torch.tensor(0.3).double())
    with pytest.raises(ConfigError, match="not known"):
        Moments(torch.zeros(2), torch.ones(2), 5).stopped()
