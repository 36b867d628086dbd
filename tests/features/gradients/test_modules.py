"""Per-example gradients against torch.func, for every kind of module, and what is refused."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dataworth.errors import ConfigError, DataworthError, InputError
from dataworth.features.gradients import (
    CausalLM,
    Gradients,
    SequenceClassification,
    Supervised,
    Task,
)
from features.gradients.models import TinyLM, documents, rng, seeded, truth

transformers = pytest.importorskip("transformers")
transformers.logging.set_verbosity_error()


class Last(nn.Module):
    """The mean over all but the first axis and the last."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1, -2).mean(1)


class Channels(nn.Module):
    """The mean over places: [n, channels, ...] to [n, channels]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).mean(2)


class Twice(nn.Module):
    """One linear layer used two times, and once more through its weight's owner."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(5, 5)
        self.other = nn.Linear(5, 5)
        self.other.weight = self.inner.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.other(torch.tanh(self.inner(torch.tanh(self.inner(x)))))


class SharedBias(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(5, 5), nn.Linear(5, 5)
        self.second.bias = self.first.bias

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(x)))


class Flattened(nn.Module):
    """A layer that sees all positions of all examples as one axis."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.reshape(-1, 5)).reshape(*x.shape[:-1], 3).sum(1)


class Functional(nn.Module):
    """A read-out that takes the table's weight with no module of its own; a scaled table."""

    def __init__(self) -> None:
        super().__init__()
        self.table = Scaled(17, 6)
        self.inner = nn.Linear(6, 6)

    def forward(self, ids: Tensor) -> Tensor:
        hidden = torch.tanh(self.inner(self.table(ids)))
        return nn.functional.linear(hidden.cumsum(1), self.table.weight)


class Scaled(nn.Embedding):
    def forward(self, ids: Tensor) -> Tensor:
        return super().forward(ids) * 3.0


def vectors(*shape: int) -> list[tuple[Tensor, int]]:
    generator = rng(5)
    return [
        (torch.randn(*shape, generator=generator, dtype=torch.float64), i % 3) for i in range(4)
    ]


def tokens() -> list[tuple[Tensor, int]]:
    # Repeated ids within an example: their rows' gradients add up.
    generator = rng(6)
    return [(torch.randint(0, 4, (6,), generator=generator), i % 3) for i in range(4)]


conv1d = transformers.pytorch_utils.Conv1D

MODELS: dict[str, tuple[Callable[[], nn.Module], list[Any]]] = {
    "linear": (lambda: nn.Linear(5, 3), vectors(5)),
    "linear without bias": (lambda: nn.Linear(5, 3, bias=False), vectors(5)),
    "linear over positions": (lambda: nn.Sequential(nn.Linear(5, 3), Last()), vectors(7, 5)),
    "linear over a grid": (lambda: nn.Sequential(nn.Linear(5, 3), Last()), vectors(2, 4, 5)),
    "transposed": (lambda: nn.Sequential(conv1d(3, 5), Last()), vectors(7, 5)),
    "embedding": (lambda: nn.Sequential(nn.Embedding(4, 3), Last()), tokens()),
    "embedding with padding": (
        lambda: nn.Sequential(nn.Embedding(4, 3, padding_idx=1), Last()),
        tokens(),
    ),
    "layer norm": (
        lambda: nn.Sequential(nn.Linear(5, 3), nn.LayerNorm(3), Last()),
        vectors(7, 5),
    ),
    "layer norm of two axes": (
        lambda: nn.Sequential(nn.LayerNorm((4, 5)), nn.Linear(5, 3), Last()),
        vectors(4, 5),
    ),
    "layer norm without bias": (
        lambda: nn.Sequential(nn.LayerNorm(5, bias=False), nn.Linear(5, 3)),
        vectors(5),
    ),
    "rms norm": (lambda: nn.Sequential(nn.RMSNorm(5), nn.Linear(5, 3), Last()), vectors(7, 5)),
    "conv 1": (
        lambda: nn.Sequential(nn.Conv1d(4, 3, 3, stride=2, padding=1), Channels()),
        vectors(4, 9),
    ),
    "conv 2": (
        lambda: nn.Sequential(nn.Conv2d(2, 3, (3, 2), stride=(2, 1), dilation=(1, 2)), Channels()),
        vectors(2, 9, 8),
    ),
    "conv 2 in groups": (
        lambda: nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.Conv2d(6, 3, 1), Channels()),
        vectors(4, 5, 5),
    ),
    "conv 2 depthwise, reflected": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 3, 3, groups=3, padding="same", padding_mode="reflect"), Channels()
        ),
        vectors(3, 5, 6),
    ),
    "conv then an activation in place": (
        lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(inplace=True), Channels()),
        vectors(2, 5, 5),
    ),
    "a layer used twice and shared": (Twice, vectors(5)),
    "a shared bias": (SharedBias, vectors(5)),
    "positions in one axis": (Flattened, vectors(7, 5)),
    "tied": (lambda: TinyLM(tied=True), documents(4)),
    "not tied": (lambda: TinyLM(tied=False), documents(4)),
    "weights used by functions": (Functional, documents(4)),
}


def task_of(items: Sequence[Any]) -> Task:
    return CausalLM() if isinstance(items[0], list) else Supervised()


@pytest.mark.parametrize("name", MODELS)
def test_gradients_are_those_of_torch_func(name: str) -> None:
    make, items = MODELS[name]
    model = seeded(3, make())
    engine = Gradients(model, task_of(items))
    _, batch = next(iter(engine.task.examples(items, size=8)))
    found, expected = engine.gradients(batch), truth(model, engine, batch)
    assert engine.size == sum(p.numel() for p in model.parameters())
    assert found.shape == expected.shape
    assert float(expected.abs().max()) > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def small(kind: str, **more: Any) -> Any:
    config = {
        "vocab_size": 17,
        "hidden_size": 8,
        "intermediate_size": 12,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 32,
        **more,
    }
    return getattr(transformers, f"{kind}Config")(**config)


def lora() -> nn.Module:
    peft = pytest.importorskip("peft")
    model = transformers.LlamaForCausalLM(small("Llama"))
    config = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], lora_dropout=0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = peft.get_peft_model(model, config)
    # As after some training: at the start one half of each adapter is zero.
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(generator=rng(4))
    return model


def gpt2() -> nn.Module:
    config = {"vocab_size": 17, "n_embd": 8, "n_layer": 2, "n_head": 2, "n_positions": 32}
    special = {"bos_token_id": None, "eos_token_id": None}
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**config, **special))


HUGGING_FACE: dict[str, Callable[[], nn.Module]] = {
    "llama": lambda: transformers.LlamaForCausalLM(
        small("Llama", tie_word_embeddings=True, num_key_value_heads=1)
    ),
    "gpt 2": gpt2,
    "gemma": lambda: transformers.GemmaForCausalLM(
        small("Gemma", num_key_value_heads=1, head_dim=4)
    ),
    "gpt neox": lambda: transformers.GPTNeoXForCausalLM(small("GPTNeoX")),
    "lora": lora,
}


@pytest.mark.parametrize("name", HUGGING_FACE)
def test_models_of_hugging_face(name: str) -> None:
    torch.manual_seed(0)
    model = HUGGING_FACE[name]()
    engine = Gradients(model, CausalLM("mean"))
    _, batch = next(iter(engine.task.examples(documents(4), size=8)))
    model.train()
    found = engine.gradients(batch)
    assert model.training
    torch.testing.assert_close(found, truth(model, engine, batch), rtol=1e-3, atol=1e-5)
    assert engine.size == sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_sequence_classification() -> None:
    torch.manual_seed(0)
    model = transformers.BertForSequenceClassification(small("Bert", num_labels=3))
    engine = Gradients(model, SequenceClassification())
    items = [(ids, i % 3) for i, ids in enumerate(documents(4))]
    _, batch = next(iter(engine.task.examples(items, size=8)))
    torch.testing.assert_close(
        engine.gradients(batch), truth(model, engine, batch), rtol=1e-3, atol=1e-5
    )


def test_own_language_model() -> None:
    from dataworth.lm.model import ModelConfig, build

    model = build(ModelConfig(16, 2, 2, 24, vocabulary=32, context=32), 0)
    torch.manual_seed(0)
    for parameter in model.parameters():  # a new one is zero where it writes to its stream
        nn.init.normal_(parameter, std=0.3)
    engine = Gradients(model, CausalLM())
    _, batch = next(iter(engine.task.examples(documents(4), size=8)))
    found = engine.gradients(batch)
    torch.testing.assert_close(found, truth(model, engine, batch), rtol=1e-3, atol=1e-5)
    assert all(found[:, block.span].abs().max() > 1e-3 for block in engine.blocks)
    assert engine.size == model.config.parameters


def test_vector_and_parameters_are_the_same_numbers() -> None:
    model = seeded(1, nn.Sequential(conv1d(4, 5), nn.LayerNorm(4), nn.Conv1d(2, 3, 2)))
    engine = Gradients(model, Supervised(patterns=("*",)), check=False)
    values = {k: v.detach() for k, v in engine.parameters().items()}
    flat = engine.blocks.flatten(values)
    back = engine.blocks.unflatten(flat)
    assert set(back) == set(values) == {name for name, _ in model.named_parameters()}
    for name, value in values.items():
        assert torch.equal(back[name], value)
    stacked = torch.stack([flat, 2 * flat])
    assert torch.equal(engine.blocks.flatten(engine.blocks.unflatten(stacked)), stacked)


class Refused(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.odd = inner
        self.last = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.odd(self.first(x)))


def test_what_is_not_covered_is_refused_by_name() -> None:
    model = Refused(nn.BatchNorm1d(6))
    with pytest.raises(ConfigError, match=r"odd \(BatchNorm1d\).*freeze"):
        Gradients(model, Supervised())
    with pytest.raises(ConfigError, match=r"no module.*fits 'lost'.*first"):
        Gradients(model, Supervised(patterns=("lost",)))
    # Named modules, or the rest frozen, are what was asked for.
    assert Gradients(model, Supervised(patterns=("first", "l*"))).size == 63
    model.odd.requires_grad_(False)
    assert Gradients(model, Supervised()).size == 63
    model.requires_grad_(False)
    with pytest.raises(ConfigError, match="no trained parameters"):
        Gradients(model, Supervised())


def test_normalised_weights_are_refused() -> None:
    inner = torch.nn.utils.parametrizations.weight_norm(nn.Linear(6, 6))
    with pytest.raises(ConfigError, match="parametrizations"):
        Gradients(Refused(inner), Supervised())


class Outside(nn.Module):
    """Uses a weight in a way that no hook sees."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + x @ self.inner.weight.T


class Mixed(nn.Module):
    """Every example sees the batch's mean."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x - x.mean(0))


class Turned(nn.Module):
    """Positions first: [n, positions, 5] worked on as [positions, n, 5]."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.transpose(0, 1)).sum(0)


class Changed(nn.Module):
    """Changes what a layer has read."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(5, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = x * 1.0
        made = self.inner(x)
        x += made
        return x


@pytest.mark.parametrize(
    ("model", "items", "said"),
    [
        (Outside(), vectors(5), "inner.*outside its module"),
        (Mixed(), vectors(5), "inner.*mixed"),
        (Turned(), vectors(4, 5), "inner.*mixed"),  # as many positions as examples
        (Changed(), vectors(5), "inner is changed in place"),
    ],
)
def test_what_hooks_cannot_see_is_refused(
    model: nn.Module, items: list[tuple[Tensor, int]], said: str
) -> None:
    engine = Gradients(seeded(1, model), Supervised())
    _, batch = next(iter(engine.task.examples(items, size=8)))
    with pytest.raises(InputError, match=said):
        engine.gradients(batch)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_the_model_is_left_as_it_was() -> None:
    model = seeded(1, TinyLM())
    model.down.requires_grad_(False)
    model.train()
    model.up.eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    engine = Gradients(model, CausalLM())
    _, batch = next(iter(engine.task.examples(documents(3))))
    engine.gradients(batch)
    assert "down" not in engine.blocks.names
    assert model.training and model.first.training and not model.up.training
    assert [n for n, p in model.named_parameters() if not p.requires_grad] == ["down.weight"]
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_shape_of_a_loss_is_checked() -> None:
    class Mean(Supervised):
        def loss(self, outputs: Tensor, batch: Any) -> Tensor:
            return super().loss(outputs, batch).mean()

    task = Mean()
    engine = Gradients(seeded(1, nn.Linear(5, 3)), task)
    _, batch = next(iter(task.examples(vectors(5))))
    with pytest.raises(ConfigError, match="shape"):
        engine.gradients(batch)


def test_items_that_cannot_be_laid() -> None:
    task = CausalLM(context=4)
    uid = np.array([7], np.uint64)
    for item, said in (
        ([1], "uid 7 has no token"),
        (([1, 2, 3], [True, False, False]), "uid 7 has no token"),
        ([1, 2, 3, 4, 5], "5 tokens"),
    ):
        with pytest.raises(InputError, match=said):
            task.lay([item], uid)
    with pytest.raises(DataworthError, match="reduction"):
        CausalLM("median")  # type: ignore[arg-type]
