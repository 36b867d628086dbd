"""Models of which a batch cannot be told apart by example: run alone, or refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dataworth.errors import ConfigError, InputError
from dataworth.features.gradients import CausalLM, Gradients, SequenceClassification
from dataworth.features.gradients.preconditioners import kronecker

IDS = [[1, 2, 3, 4, 5], [3, 4, 5, 6], [7, 8, 9, 1, 2, 3], [4, 4, 2]]


class Experts(nn.Module):
    """A mixture whose experts see the tokens that a gate sends them, as one axis."""

    def __init__(self, top: int, count: int) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.top = top
        self.table, self.gate = nn.Embedding(32, 8), nn.Linear(8, count)
        self.experts = nn.ModuleList(nn.Linear(8, 8) for _ in range(count))
        self.out = nn.Linear(8, 32)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.table(ids)
        flat = x.reshape(-1, 8)
        shares, which = self.gate(flat).softmax(-1).topk(self.top, -1)
        found = torch.zeros_like(flat)
        for number, expert in enumerate(self.experts):
            rows, slot = torch.where(which == number)
            if len(rows):
                found = found.index_add(0, rows, expert(flat[rows]) * shares[rows, slot, None])
        made: Tensor = self.out(x + found.view_as(x))
        return made


class Recomputing(nn.Module):
    """A layer that is always run again in the backward pass."""

    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.reentrant = reentrant
        self.table, self.layer, self.out = nn.Embedding(32, 8), nn.Linear(8, 8), nn.Linear(8, 32)

    def forward(self, ids: Tensor) -> Tensor:
        x = checkpoint(self._inner, self.table(ids), use_reentrant=self.reentrant)
        made: Tensor = self.out(x)
        return made

    def _inner(self, x: Tensor) -> Tensor:
        return x + torch.tanh(self.layer(x))


def llama() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=32,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    return LlamaForCausalLM(config)


def adapted(kind: str) -> nn.Module:
    import peft

    how: Any = {
        "prompt": lambda: peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),
        "prefix": lambda: peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),
        "p-tuning": lambda: peft.PromptEncoderConfig(
            task_type="CAUSAL_LM", num_virtual_tokens=3, encoder_hidden_size=8
        ),
    }[kind]
    model: nn.Module = peft.get_peft_model(llama(), how())
    return model


def checkpointing(**how: bool) -> nn.Module:
    model = llama()
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=how)
    model.enable_input_require_grads()
    trained: nn.Module = model.train()
    return trained


def deberta() -> nn.Module:
    from transformers import DebertaV2Config, DebertaV2ForSequenceClassification

    torch.manual_seed(0)
    config = DebertaV2Config(
        vocab_size=32,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        relative_attention=True,
        position_buckets=8,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type=["p2c", "c2p"],
        max_position_embeddings=32,
        position_biased_input=False,
        num_labels=3,
    )
    model: nn.Module = DebertaV2ForSequenceClassification(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape))
    return model


def batch_of(engine: Gradients) -> Any:
    items: list[Any] = list(IDS)
    if isinstance(engine.task, SequenceClassification):
        items = [(ids, number % 3) for number, ids in enumerate(IDS)]
    return engine.task.lay(items, np.arange(len(items), dtype=np.uint64))


def truth(engine: Gradients, batch: Any) -> Tensor:
    """By plain differentiation, one example after the other."""
    each = [batch.take(slice(row, row + 1)) for row in range(len(batch))]
    return torch.stack([engine._truth(one, "loss", 0) for one in each])


@pytest.mark.parametrize(
    "make",
    [
        *(lambda top=top, count=count: Experts(top, count) for top, count in [(1, 4), (2, 4)]),
        lambda: Experts(1, 16),  # an expert may see one token, or as many as there are examples
        *(lambda kind=kind: adapted(kind) for kind in ("prompt", "prefix", "p-tuning")),
        checkpointing,
        lambda: checkpointing(use_reentrant=True),
        lambda: Recomputing(reentrant=False),
    ],
)
def test_gradients_are_those_of_each_example(make: Callable[[], nn.Module]) -> None:
    engine = Gradients(make(), CausalLM(), check=False)  # nothing is left to the check
    batch = batch_of(engine)
    expected = truth(engine, batch)
    found = engine.factors(batch)
    close = {"rtol": 1e-4, "atol": float(expected.abs().max()) * 1e-5}
    torch.testing.assert_close(found.gradients(), expected, **close)
    torch.testing.assert_close(found.squared_norms(), expected.square().sum(1), rtol=1e-4, atol=0)
    vector = torch.randn(1, engine.size, generator=torch.Generator().manual_seed(0))
    parts = found.scores_by_position(vector)
    whole = parts.positions.sum(-1) + parts.rest
    torch.testing.assert_close(whole, expected @ vector.T, rtol=1e-3, atol=1e-4)


def test_factors_of_experts_are_refused_for_batches() -> None:
    engine = Gradients(Experts(2, 4), CausalLM())
    kronecker(engine, engine.task.examples(IDS, size=1), labels="true")
    with pytest.raises(ConfigError, match=r"take another solver \(identity, cosine, diagonal\)"):
        kronecker(engine, engine.task.examples(IDS, size=4), labels="true")


def test_relative_positions_of_deberta() -> None:
    engine = Gradients(deberta(), SequenceClassification())
    with pytest.raises(InputError, match=r"rel_embeddings .*Freeze") as caught:
        engine.factors(batch_of(engine))  # the table is read as a whole
    assert "\n" not in str(caught.value)
    model: Any = deberta()
    model.deberta.encoder.rel_embeddings.requires_grad_(False)
    engine = Gradients(model, SequenceClassification())
    batch = batch_of(engine)
    expected = truth(engine, batch)
    torch.testing.assert_close(engine.gradients(batch), expected, rtol=1e-3, atol=1e-4)


def test_what_has_no_values_or_no_graph_is_refused() -> None:
    model = llama()
    model.model.layers[1].to("meta")
    with pytest.raises(ConfigError, match=r"layers\.1.* have no values .*load the weights"):
        Gradients(model, CausalLM())
    engine = Gradients(Recomputing(reentrant=True), CausalLM())
    with pytest.raises(InputError, match=r"layer runs without a graph .*use_reentrant=False"):
        engine.factors(batch_of(engine))
