"""Factors of wide layers in blocks, the check of small blocks, and hooks of others."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dataworth.errors import InputError
from dataworth.features.gradients import Gradients, Supervised
from dataworth.features.gradients.factors import Factors
from dataworth.features.gradients.preconditioners import kronecker
from dataworth.features.gradients.task import CausalLM
from features.gradients.models import TinyLM, documents, rng, seeded, truth


def _linear(wide: int, count: int = 12) -> tuple[Gradients, object, torch.Tensor, torch.Tensor]:
    x = torch.randn(count, wide, generator=rng(1), dtype=torch.float64)
    y = torch.randn(count, 2, generator=rng(2), dtype=torch.float64)
    task = Supervised("squared")
    engine = Gradients(seeded(0, nn.Linear(wide, 2, bias=False)), task)
    return engine, task.examples(list(zip(x, y, strict=True)), size=5), x, y


def test_blocks_are_those_of_a_naive_block_diagonal_factor() -> None:
    engine, examples, x, y = _linear(7)
    found = kronecker(engine, examples, labels="true", longest=3)  # 7 = 3 + 3 + 1
    with torch.no_grad():
        g = engine.model(x) - y
    grads = torch.cat([engine.gradients(batch) for _, batch in examples]).view(-1, 2, 7)
    g = grads[:, :, 0] / x[:, :1]  # of the loss as it is scaled
    whole = x.T @ x / len(x)
    naive = torch.zeros_like(whole)
    for start, end in ((0, 3), (3, 6), (6, 7)):
        naive[start:end, start:end] = whole[start:end, start:end]
    _, right = torch.linalg.eigh(naive)
    _, left = torch.linalg.eigh(g.T @ g / len(g))
    variances = (left.T @ grads @ right).square().mean(0)
    variances += 0.1 * variances.mean()
    vectors = torch.randn(3, 14, generator=rng(3), dtype=torch.float64)
    turned = left.T @ vectors.view(3, 2, 7) @ right
    expected = (left @ (turned / variances) @ right.T).flatten(1)
    torch.testing.assert_close(found.apply(vectors), expected)
    assert "factors in blocks of 3 for the model itself" in found.describe()


def test_limit_that_is_not_reached_changes_nothing() -> None:
    engine, examples, _, _ = _linear(7)
    vectors = torch.randn(3, 14, generator=rng(3), dtype=torch.float64)
    one, other = (kronecker(engine, examples, longest=n) for n in (7, 2048))
    torch.testing.assert_close(one.apply(vectors), other.apply(vectors))
    assert "blocks of" not in other.describe() and "diagonal factor" not in other.describe()


def test_a_wide_module_is_no_diagonal() -> None:
    engine, examples, _, _ = _linear(2500)
    found = kronecker(engine, examples)
    assert found.columns[0] is not None and found.columns[0].shape == (2, 1250, 1250)
    assert "factors in blocks of 1,250 for the model itself" in found.describe()


def test_ids_are_told_to_be_diagonal() -> None:
    engine = Gradients(seeded(0, TinyLM()), CausalLM())
    found = kronecker(engine, engine.task.examples(documents(4), size=2))
    assert "a diagonal factor for table, places" in found.describe()
    own = {index for index, rows in enumerate(found.rows) if rows is None}
    assert engine.tables == own  # what the forecast of memory leaves out


def test_a_small_block_that_is_wrong_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = TinyLM()
    seeded(0, model).float()
    engine = Gradients(model, CausalLM())
    ((_, batch),) = list(engine.task.examples(documents(2), size=2))
    exact = engine.gradients(batch)
    scales = [float(exact[:, block.span].abs().max()) for block in engine.blocks]
    index = engine.blocks.names.index("up")
    with torch.no_grad():  # its gradient is 1,000 times smaller than the largest
        model.down.weight *= 5e-4 * max(scales) / scales[index]
    right = Factors.block

    def planted(self: Factors, at: int) -> torch.Tensor:
        return right(self, at) * (2 if at == index else 1)

    Gradients(model, CausalLM()).factors(batch)
    monkeypatch.setattr(Factors, "block", planted)
    with pytest.raises(InputError, match="gradients of up found"):
        Gradients(model, CausalLM()).factors(batch)


@pytest.mark.parametrize("patterns", [None, ("up",)])
def test_inputs_that_require_gradients(patterns: tuple[str, ...] | None) -> None:
    """As `enable_input_require_grads` of transformers does."""
    model = seeded(0, TinyLM(tied=False))
    engine = Gradients(model, CausalLM("sum", "sum", patterns))
    ((_, batch),) = list(engine.task.examples(documents(3), size=3))
    expected = truth(model, engine, batch)
    model.table.register_forward_hook(lambda _m, _a, output: output.requires_grad_(True))
    torch.testing.assert_close(engine.gradients(batch), expected)
