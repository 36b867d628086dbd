"""What cannot be right is refused in one line that says what to mend."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dataworth.corpus.documents import Documents
from dataworth.errors import ConfigError, InputError
from dataworth.features.gradients import CausalLM, Gradients, SequenceClassification, Supervised
from dataworth.features.gradients.documents import DocumentGradients
from dataworth.features.gradients.preconditioners import kronecker
from dataworth.features.gradients.probe import self_check, small_copy
from dataworth.features.gradients.projection import Sparse
from dataworth.features.gradients.scoring import scores
from dataworth.lm.tokenizer import train_tokenizer
from dataworth.measures.lds import lds, subsets
from features.gradients.models import TinyLM, documents, rng, seeded

TASK = Supervised()
X = torch.randn(40, 6, generator=rng(1))
Y = torch.randint(0, 3, (40,), generator=rng(2))
PAIRS = list(zip(X, Y, strict=True))


def run(items: list[Any], model: nn.Module | None = None, size: int = 16) -> np.ndarray:
    engine = Gradients(model or nn.Linear(6, 3), TASK)
    train = TASK.examples(items, np.arange(100, 100 + len(items), dtype=np.uint64), size=size)
    return scores(engine, train, TASK.examples(PAIRS[:2]))


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ([*PAIRS[:3], (X[0], torch.tensor(7))], "no class 7: the model has 3, from 0"),
        ([(X[0], torch.tensor(-1))], "no class -1"),
        ([(X[0], torch.tensor(1.5))], "labels are whole numbers, not float32"),
        ([(X[0, :5], Y[0])], r"inputs of the shape \(1, 5\) and the type float32"),
        ([(X[0].double(), Y[0])], "and the type float64"),
        ([(X[0], Y[0]), (X[0, :5], Y[0])], "items are pairs .* of one shape"),
        ([1, 2], "items are pairs"),
        ([(torch.full((6,), torch.nan), Y[0])], "loss of the example of uid 100 is nan"),
    ],
)
def test_items(items: list[Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        run(items)


def test_numbers_that_are_none_in_a_later_batch() -> None:
    broken = [*PAIRS[:20], (X[0] * torch.inf, Y[0]), *PAIRS[20:]]
    with pytest.raises(InputError, match="loss of the example of uid 120 is nan"):
        run(broken, size=8)
    assert np.isfinite(run(PAIRS, size=8)).all()


def test_a_gradient_that_is_not_finite() -> None:
    class Root(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 3, bias=False)
            self.layer.weight.data.zero_()

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x).abs().sqrt()

    with pytest.raises(InputError, match="finite, but its gradient by plain differentiation is"):
        run(PAIRS[:4], Root())


def test_labels_of_sequences() -> None:
    class Classes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(9, 4)
            self.read = nn.Linear(4, 2)

        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
            return self.read((self.table(input_ids) * attention_mask[..., None]).sum(1))

    task = SequenceClassification()
    engine = Gradients(Classes(), task)
    for label in (0, 2):
        examples = task.examples([([1, 2], label)])
        if label:
            with pytest.raises(InputError, match="no class 2"):
                scores(engine, examples, examples)
        else:
            assert scores(engine, examples, examples) > 0
    with pytest.raises(ConfigError, match="measured is one of loss, margin"):
        SequenceClassification(measured="foo")  # type: ignore[arg-type]


def test_the_root_has_a_name() -> None:
    with pytest.raises(ConfigError, match=r"no per-example gradients for the model itself \(LSTM"):
        Gradients(nn.LSTM(6, 3), TASK)


class Later(nn.Module):
    """Mixes its examples from the fourth call on."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += len(x) > 1
        y: Tensor = self.layer(x)
        return y - y.mean(0) if self.calls >= 4 and len(x) > 1 else y


def test_a_later_batch_is_checked_too() -> None:
    engine = Gradients(Later(), TASK)
    batches = [batch for _, batch in TASK.examples(PAIRS, size=5)]
    for batch in batches[:3]:
        engine.factors(batch)
    with pytest.raises(InputError, match="gradients of layer found through hooks are not those"):
        engine.factors(batches[3])


def test_few_batches_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Gradients(nn.Linear(6, 3), TASK)
    checked: list[int] = []
    plain = engine._truth

    def truth(*given: Any) -> Tensor:
        checked.append(engine._batches)
        return plain(*given)

    monkeypatch.setattr(engine, "_truth", truth)
    _, batch = next(iter(TASK.examples(PAIRS)))
    for _ in range(70):
        engine.factors(batch)
    assert checked == [1, 4, 16, 64]
    unchecked = Gradients(Later(), TASK, check=False)
    for _ in range(5):
        unchecked.factors(batch)


def test_ids_and_contexts_of_another_model() -> None:
    texts = [f"the {word} sat on the mat" for word in ("cat", "dog", "hen")]
    tokenizer = train_tokenizer(texts, 300)
    small = DocumentGradients(TinyLM(vocabulary=20), tokenizer, Sparse(16), context=16)
    with pytest.raises(InputError, match=r"ids up to \d+ .* is the tokenizer the model's own"):
        small.values(Documents.from_texts(texts))
    long = DocumentGradients(TinyLM(vocabulary=300), tokenizer, Sparse(16), context=64)
    with pytest.raises(InputError, match=r"up to 64 of them .* context no more than it was made"):
        long.values(Documents.from_texts([" ".join(texts * 20)]))
    assert np.isfinite(long.values(Documents.from_texts(texts))).all()


def test_self_check_of_adapters() -> None:
    peft: Any = pytest.importorskip("peft")
    transformers: Any = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        hidden_size=32,
        num_attention_heads=4,
        num_hidden_layers=3,
        intermediate_size=64,
        vocab_size=500,
    )
    base = transformers.LlamaForCausalLM(config)
    lora = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], inference_mode=True)
    model = peft.get_peft_model(base, lora)
    tiny = small_copy(model)
    names = [name for name, value in tiny.named_parameters() if value.requires_grad]
    assert names and all("lora_" in name for name in names)
    found = self_check(model, {"ekfac": kronecker}, examples=8, queries=3, steps=10)
    assert found.architecture == "PeftModel" and 0 < found.parameters < 1000
    assert 0.1 < found.found[0].pearson <= 1
    odd = peft.LoraConfig(r=2, target_modules=["layers.2.self_attn.q_proj"])
    with pytest.raises(ConfigError, match="give a small model as `probe`"):
        self_check(peft.get_peft_model(transformers.LlamaForCausalLM(config), odd), {})


def test_a_copy_that_cannot_be_made() -> None:
    class Odd(nn.Module):
        def __init__(self, width: int, depth: int) -> None:
            super().__init__()
            self.config = type("Config", (), {"to_dict": dict})()

    with pytest.raises(ConfigError, match=r"no tiny copy .* of Odd: give a small model as `probe`"):
        small_copy(Odd(1, 2))


def test_an_estimate_is_short_to_read() -> None:
    masks = subsets(np.arange(12, dtype=np.uint64), 6)
    table = np.random.default_rng(0).normal(size=(12, 2))
    found = lds(masks, table, masks @ table)
    assert repr(found).startswith("Estimate(value=1.0, low=1.0") and len(repr(found)) < 100


def test_ids_of_a_batch() -> None:
    task = CausalLM()
    engine = Gradients(seeded(1, TinyLM()), task)
    with pytest.raises(InputError, match="ids up to 30 and up to 3 of them"):
        scores(engine, task.examples([[1, 2, 30]]), task.examples(documents(1)))
