"""A tiny trained model and texts that the tests of methods with a model share."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import torch

from dataworth.corpus.documents import Documents
from dataworth.lm.model import ModelConfig, build, load_model, save_model
from dataworth.lm.moments import save_moments
from dataworth.lm.tokenizer import END, load_tokenizer, train_tokenizer

TOPICS = {
    "sums": "one and two are three while two and three are five so add them",
    "seas": "ships sail over deep blue water as the wind blows and waves rise",
}


def texts(topic: str, count: int, seed: int = 0, words: int = 25) -> list[str]:
    draw = random.Random(f"{topic}{seed}")
    known = TOPICS[topic].split()
    return [" ".join(draw.choices(known, k=draw.randint(3, words))) for _ in range(count)]


POOL = [text for pair in zip(texts("sums", 20), texts("seas", 20), strict=True) for text in pair]
TARGET = texts("sums", 6, seed=1)


@cache
def model_folder(seed: int = 0) -> str:
    """A model of 8,000 parameters that was trained for a moment on the pool; context 32."""
    torch.set_num_threads(1)
    folder = Path(mkdtemp(prefix="dataworth-test-")) / f"model-{seed}"
    tokenizer = train_tokenizer(POOL, 300)
    model = build(ModelConfig(16, 1, 2, 24, vocabulary=300, context=32), seed)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for text in POOL + texts("sums", 20, seed=2) + texts("seas", 20, seed=2):
        ids = torch.tensor([[0, *tokenizer.encode(text).ids, 0]])[:, :32]
        optimizer.zero_grad()
        loss(model, ids).backward()
        optimizer.step()
    save_model(model, folder, tokenizer)
    save_moments(folder, model.as_module(), optimizer, 0.01 * 80)
    return str(folder)


def loss(model: Any, ids: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(model(ids)[0, :-1], ids[0, 1:], reduction="sum")


def opened(seed: int = 0) -> tuple[Any, Any]:
    folder = model_folder(seed)
    return load_model(folder).double(), load_tokenizer(folder)


def pieces(tokenizer: Any, text: str, context: int = 32) -> list[torch.Tensor]:
    """The windows of a document, by hand."""
    end = tokenizer.token_to_id(END)
    ids = [end, *tokenizer.encode(text, add_special_tokens=False).ids, end]
    return [torch.tensor([ids[at : at + context]]) for at in range(0, len(ids) - 1, context - 1)]


def whole_loss(model: Any, tokenizer: Any, text: str) -> torch.Tensor:
    """Nats of a document, by hand."""
    return torch.stack([loss(model, piece) for piece in pieces(tokenizer, text)]).sum()


def tokens(tokenizer: Any, text: str) -> int:
    return sum(piece.shape[1] - 1 for piece in pieces(tokenizer, text))


def gradient(model: Any, tokenizer: Any, some: list[str]) -> np.ndarray:
    """The gradient of the documents' summed loss, by hand: float64 [P] in the model's order."""
    model.zero_grad()
    torch.stack([whole_loss(model, tokenizer, text) for text in some]).sum().backward()
    grads = [parameter.grad for parameter in model.parameters()]
    return torch.cat([g.flatten() for g in grads]).numpy()


def docs(some: list[str]) -> Documents:
    return Documents.from_texts(some)
