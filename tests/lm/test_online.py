"""The hook of online mixtures: what is drawn and descended, and that a run goes on bit for bit."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dataworth.errors import ConfigError, RunError
from dataworth.lm.model import build
from dataworth.lm.online import DomainBatches, Seen, pick, token_losses
from dataworth.lm.packing import TokenStream, stream_of
from dataworth.lm.training import TrainConfig, train
from lm.lm_tools import SHAPE, sharp, small_tokenizer, some_texts

PLAIN = TrainConfig(32 * 6 * 4, 1e-2, batch_sequences=6, precision="float32", compile=False)


@dataclass
class Rule:
    """Shares that follow the losses, so that a run which forgets them differs."""

    gradients: bool = False
    factors: Any = None
    probes: tuple[TokenStream, ...] = ()
    shares: tuple[float, ...] = (0.5, 0.25, 0.25)
    state: dict[str, Any] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state = {"weights": np.array(self.shares)}

    def identity(self) -> str:
        return f"rule {self.shares}"

    def weights(self) -> Any:
        return self.state["weights"]

    def observe(self, seen: Seen) -> Any:
        self.seen.append(seen)
        moved = self.state["weights"] * np.exp(np.nan_to_num(seen.losses) - 5)
        self.state["weights"] = moved / moved.sum()
        return self.factors


class Fixed(Rule):
    def observe(self, seen: Seen) -> Any:
        self.seen.append(seen)
        return self.factors


@pytest.fixture(scope="module")
def streams() -> list[TokenStream]:
    texts = [some_texts(30, 30, seed) for seed in range(3)]
    return [stream_of(some, small_tokenizer()) for some in texts]


def weights_of(model: Any) -> torch.Tensor:
    return torch.cat([one.detach().flatten() for one in model.parameters()])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.integers(1, 9), st.integers(0, 99))
def test_a_step_has_each_domain_by_its_share(shares: list[float], size: int, step: int) -> None:
    weights = np.array(shares)
    if not weights.sum() > 1e-6:
        return
    counts = np.bincount(pick(weights, size, 7, step), minlength=len(weights))
    assert counts.sum() == size
    assert (np.abs(counts - size * weights / weights.sum()) < 1 + 1e-9).all()
    assert counts[weights == 0].sum() == 0


def test_shares_hold_on_average() -> None:
    weights = np.array([0.6, 0.3, 0.07, 0.03])
    drawn = np.concatenate([pick(weights, 3, 0, step) for step in range(1000)])
    assert np.bincount(drawn) / len(drawn) == pytest.approx(weights, abs=0.02)
    with pytest.raises(ConfigError, match="shares that are none"):
        pick(np.array([0.5, np.nan]), 3, 0, 0)


@pytest.mark.parametrize("gradients", [False, True])
def test_the_gradient_is_that_of_the_weighted_loss(
    streams: list[TokenStream], gradients: bool
) -> None:
    """Against autograd on the sequences that were drawn, with and without gradients apart."""
    factors = np.array([0.5, 2.0, 0.0])
    rule = Fixed(gradients=gradients, factors=factors, probes=(streams[0],) * gradients)
    model = sharp(SHAPE)
    parameters = list(model.parameters())
    batches = DomainBatches(streams, rule, length=32, tokens=900, batch=6, seed=3)
    how: Any = {"step": 0, "steps": 4, "rate": 1.0, "end": streams[0].end, "dtype": torch.float32}
    nats = batches.descend(model, parameters, z_loss=1e-2, **how)
    own = torch.cat([one.grad.flatten() for one in parameters if one.grad is not None])
    seen = rule.seen[0]
    assert seen.counts.tolist() == batches.drawn.tolist() and seen.counts.sum() == 6
    losses = token_losses(model, seen.inputs, seen.targets, streams[0].end)
    assert float(nats) == pytest.approx(losses.mean().item(), rel=1e-5)
    for k in range(3):
        mean = losses[torch.from_numpy(seen.domain == k)].mean()
        assert seen.losses[k] == pytest.approx(mean.item(), rel=1e-5)
    logits = model(seen.inputs, (seen.inputs == streams[0].end).cumsum(1))
    whole = losses + 1e-2 * logits.logsumexp(-1).square()
    rows = torch.from_numpy(factors[seen.domain]).float()[:, None]
    wanted = torch.autograd.grad((whole * rows).mean(), parameters, retain_graph=True)
    torch.testing.assert_close(own, torch.cat([one.flatten() for one in wanted]))
    if gradients:
        assert seen.gram is not None and seen.gram.shape == (4, 4)
        each = [
            torch.cat(
                [
                    g.flatten()
                    for g in torch.autograd.grad(part.mean(), parameters, retain_graph=True)
                ]
            )
            for part in (whole[torch.from_numpy(seen.domain == k)] for k in range(3))
        ]
        gram = torch.stack(each) @ torch.stack(each).T
        np.testing.assert_allclose(seen.gram[:3, :3], gram.numpy(), rtol=1e-4, atol=1e-5)
        assert np.isfinite(seen.gram).all()
    else:
        assert seen.gram is None


def test_a_domain_that_is_not_drawn_has_no_loss(streams: list[TokenStream]) -> None:
    rule = Fixed(gradients=True, shares=(0.5, 0.0, 0.5))
    train(build(SHAPE), streams, PLAIN, mixture=rule)
    for seen in rule.seen:
        assert np.isnan(seen.losses).tolist() == [False, True, False]
        assert seen.gram is not None and np.isnan(seen.gram[1]).all()
    assert rule.seen[-1].drawn.tolist() == [12, 0, 12]


def test_gradients_apart_train_alike(streams: list[TokenStream]) -> None:
    config = replace(PLAIN, epsilon=1e-3)
    first = train(build(SHAPE), streams, config, mixture=Fixed()).model
    second = train(build(SHAPE), streams, config, mixture=Fixed(gradients=True)).model
    torch.testing.assert_close(weights_of(first), weights_of(second), rtol=1e-4, atol=1e-5)


class _StopError(Exception):
    pass


@pytest.mark.parametrize("gradients", [False, True])
def test_a_stopped_run_goes_on_bit_for_bit(
    streams: list[TokenStream], tmp_path: Path, gradients: bool
) -> None:
    whole = Rule(gradients)
    wanted = train(build(SHAPE), streams, PLAIN, mixture=whole)
    config = replace(PLAIN, checkpoint_every=2)

    def stop(progress: Any) -> None:
        if progress.step == 3:
            raise _StopError

    with pytest.raises(_StopError):
        first = Rule(gradients)
        train(build(SHAPE), streams, config, folder=tmp_path, on_step=stop, mixture=first)
    again = Rule(gradients)
    resumed = train(build(SHAPE), streams, config, folder=tmp_path, mixture=again)
    assert [seen.step for seen in again.seen] == [2, 3]
    assert torch.equal(weights_of(resumed.model), weights_of(wanted.model))
    assert np.array_equal(again.state["weights"], whole.state["weights"])
    assert again.seen[-1].drawn.tolist() == whole.seen[-1].drawn.tolist()
    with pytest.raises(RunError, match="mixture: rule"):
        other = Rule(gradients, shares=(0.2, 0.4, 0.4))
        train(build(SHAPE), streams, config, folder=tmp_path, mixture=other)


def test_what_is_wrong(streams: list[TokenStream]) -> None:
    empty = replace(streams[1], tokens=streams[1].tokens[:0])
    with pytest.raises(ConfigError, match="domain 1 has no tokens"):
        train(build(SHAPE), [streams[0], empty], PLAIN, mixture=Fixed())
    with pytest.raises(ConfigError, match="several streams want a mixture"):
        train(build(SHAPE), streams, PLAIN)
