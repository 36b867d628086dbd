"""The fused read-out against torch's own cross-entropy."""

import pytest
import torch
from torch.nn import functional

from dataworth.lm import readout
from dataworth.lm.readout import read_out_loss


@pytest.mark.parametrize("z_loss", [0.0, 1e-2])
@pytest.mark.parametrize("rows", [1, 7, 8, 21])
def test_loss_and_gradients(monkeypatch: pytest.MonkeyPatch, z_loss: float, rows: int) -> None:
    monkeypatch.setattr(readout, "CHUNK", 8)
    generator = torch.Generator().manual_seed(rows)
    hidden = torch.randn(rows, 6, generator=generator, requires_grad=True)
    weight = torch.randn(50, 6, generator=generator, requires_grad=True)
    targets = torch.randint(50, (rows,), generator=generator)

    loss, nats = read_out_loss(hidden, weight, targets, z_loss=z_loss, dtype=torch.float32)
    (3 * loss).backward()
    found = hidden.grad, weight.grad
    hidden.grad = weight.grad = None

    logits = hidden @ weight.t()
    wanted = functional.cross_entropy(logits, targets)
    total = wanted + z_loss * logits.logsumexp(-1).square().mean()
    (3 * total).backward()
    torch.testing.assert_close(loss, total)
    torch.testing.assert_close(nats, wanted)
    torch.testing.assert_close(found, (hidden.grad, weight.grad), rtol=1e-5, atol=1e-6)
    assert not nats.requires_grad


def test_large_logits_do_not_overflow() -> None:
    hidden = torch.full((2, 4), 100.0)
    weight = torch.eye(4) * 100
    loss, _ = read_out_loss(hidden, weight, torch.tensor([0, 1]), z_loss=0.0, dtype=torch.float32)
    torch.testing.assert_close(float(loss), float(torch.tensor(4.0).log()))


def test_half_precision_is_close() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(64, 32, generator=generator)
    weight = torch.randn(100, 32, generator=generator) / 6
    targets = torch.randint(100, (64,), generator=generator)
    half, _ = read_out_loss(hidden, weight, targets, z_loss=0.0, dtype=torch.bfloat16)
    full, _ = read_out_loss(hidden, weight, targets, z_loss=0.0, dtype=torch.float32)
    assert abs(float(half - full)) < 5e-3
