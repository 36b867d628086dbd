"""What lds.py trains on subsets: a classifier of digits, and the small language model of the bench.

Both are runs of `metagradient.Run`: a fixed start and order for each seed, all steps of the whole
run on every subset, the loss of a batch divided by all of its rows, examples that are left out at
weight 0. So what is trained again on subsets is the very function that metagradients differentiate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from common import data_folder, scratch
from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.corpus.uid import hash_uid
from dataworth.features.gradients import CausalLM, Supervised, Task
from dataworth.features.gradients.metagradient import Adam, Descent, Run
from dataworth.lm.model import SIZES, build, load_model, save_model
from dataworth.lm.packing import write_stream
from dataworth.lm.tokenizer import load_tokenizer, save_tokenizer, train_tokenizer
from dataworth.lm.training import TrainConfig, train

TARGETS = ("biomed", "code", "math")
CONTEXT = 64
_STREAM = 0x6C64
Rates = tuple[float, ...]


@dataclass(frozen=True)
class Setup:
    """Examples, queries and a run for each seed.

    `together`: models that are trained side by side, 1 for one after the other. `batch`: examples
    of which gradients are taken at a time. `sample`: examples for products with the curvature, and
    `vectors`: that are multiplied at a time. `slow_seeds`: seeds for which the slow methods score.
    `texts`, `query_texts`: for methods that read. `dense`: whether the whole curvature fits.
    """

    name: str
    about: str
    task: Task
    items: list[Any]
    queries: list[Any]
    run: Callable[[int], Run]
    seeds: int
    together: int
    batch: int
    sample: int
    vectors: int
    slow_seeds: int
    decay: float = 0.0
    texts: Sequence[str] = ()
    query_texts: Sequence[str] = ()

    @property
    def uid(self) -> NDArray[np.uint64]:
        """Of the examples."""
        return np.arange(len(self.items), dtype=np.uint64)


def digits(
    name: str = "digits", epochs: int = 20, divide: Literal["rows", "weights"] = "rows"
) -> Setup:
    """1,000 digits of 8 x 8 pixels, 100 queries, 2,410 parameters."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = np.argsort(hash_uid(0, np.arange(len(x), dtype=np.uint64), _STREAM))[:1100]
    pixels = torch.from_numpy((x[order] / 16).astype(np.float32))
    pairs = list(zip(pixels, torch.from_numpy(y[order]), strict=True))
    items, queries = pairs[:1000], pairs[1000:]
    task, decay = Supervised(measured="loss"), 1e-3

    def run(seed: int) -> Run:
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(64, 32), nn.GELU(), nn.Linear(32, 10))
        steps = batches(len(items), 50, epochs, seed)
        descent = Descent(falling(0.1, len(steps)), 0.9, decay)
        return Run(model, task, items, steps, descent, divide=divide)

    about = (
        "1,000 digits of scikit-learn, 100 queries; 64-32-10 with GELU, 2,410 parameters; descent "
        f"with momentum 0.9, rate 0.1 falling to 0, weight decay {decay:g}, batches of 50, "
        f"{epochs} epochs"
    )
    return Setup(name, about, task, items, queries, run, 5, 100, 250, 1000, 100, 5, decay)


def language() -> Setup:
    """400 windows of 64 tokens, 48 queries, 0.25 million parameters that have seen other text."""
    return _language("language", *_trained_on(epochs=2), count=400, epochs=2)


def repeated_language() -> Setup:
    """The same with a quarter of the windows, each four times as often: curvature has its say."""
    return _language("repeated", *_trained_on(epochs=8), count=100, epochs=8)


def _trained_on(epochs: int) -> tuple[str, Callable[[int, NDArray[np.int64]], Run]]:
    """Words for a training that goes on from a model, and the training."""

    def run(seed: int, ids: NDArray[np.int64]) -> Run:
        steps = batches(len(ids), 16, epochs, seed)
        optimizer = Adam(falling(2e-3, len(steps)), (0.9, 0.98), 1e-8, 1e-6)
        start = _start()
        return Run(start, CausalLM("mean"), list(ids), steps, optimizer, 8, "weights")

    about = (
        "trained on from a model that has seen 200,000 tokens of other documents of the pool; a "
        "seed is an order. Adam with epsilon 1e-06 in the root, rate 0.002 warmed up and falling "
        "to 0, batches of 16, their losses divided by the rows that are left"
    )
    return about, run


def scratch_language() -> Setup:
    """The same from new weights, where training is not as smooth."""

    def run(seed: int, ids: NDArray[np.int64]) -> Run:
        steps = batches(len(ids), 16, 2, seed)
        optimizer = Adam(falling(5e-3, len(steps)), (0.9, 0.98), 1e-8, 1e-7)
        start = build(SIZES["tiny"].model, seed)
        return Run(start, CausalLM("mean"), list(ids), steps, optimizer, 8)

    about = (
        "trained from new weights; a seed is a start and an order. Adam with epsilon 1e-07 in the "
        "root, rate 0.005 warmed up and falling to 0, batches of 16, their losses divided by 16"
    )
    return _language("scratch", about, run, count=400, epochs=2)


def _language(
    name: str,
    about: str,
    run: Callable[[int, NDArray[np.int64]], Run],
    *,
    count: int,
    epochs: int,
) -> Setup:
    ids, queries, texts, query_texts = _windows()
    ids, texts = ids[:count], texts[:count]
    data = (
        f"{count} documents of the pool, the first {CONTEXT} tokens of each, {epochs} epochs "
        f"({count * (CONTEXT - 1) * epochs:,} tokens predicted); 48 queries, the first {CONTEXT} "
        f"tokens of 16 validation documents each of {', '.join(TARGETS)}; the preset tiny, "
        "0.25 million parameters, float32, "
    )
    return Setup(
        name,
        data + about,
        CausalLM("mean"),
        list(ids),
        list(queries),
        lambda seed: run(seed, ids),
        seeds=3,
        together=1,
        batch=8,
        sample=64,
        vectors=1,
        slow_seeds=1,
        texts=texts,
        query_texts=query_texts,
    )


SETUPS: dict[str, Callable[[], Setup]] = {
    "digits": digits,
    "language": language,
    "repeated": repeated_language,
    "scratch": scratch_language,
}


def batches(count: int, size: int, epochs: int, seed: int) -> list[NDArray[np.int64]]:
    """The rows of each step: every epoch in an order of its own."""
    random = np.random.default_rng(seed)
    orders = [random.permutation(count) for _ in range(epochs)]
    return [order[start : start + size] for order in orders for start in range(0, count, size)]


def falling(rate: float, steps: int) -> Rates:
    """Up in the first tenth, then straight down to 0."""
    warm = max(1, steps // 10)
    return tuple(rate * min(1, (i + 1) / warm) * (1 - i / steps) for i in range(steps))


def _windows() -> tuple[NDArray[np.int64], NDArray[np.int64], list[str], list[str]]:
    """Ids [400, 64] and [48, 64] of examples and queries, and their texts."""
    folder = scratch("lds")
    kept = folder / "windows.npz"
    if not kept.exists():
        documents, _ = Corpus.open(str(data_folder() / "pool")).read_all()
        order = np.argsort(hash_uid(0, documents.uid, _STREAM))
        tokenizer = train_tokenizer(documents.take(order[:2000]).texts(), 4096)
        save_tokenizer(tokenizer, folder)
        ids = _first(tokenizer, documents.take(order[2000:4000]), 400)
        asked = []
        for name in TARGETS:
            (path,) = (data_folder() / "targets").glob(f"{name}.val*")
            some, _ = Corpus.open(str(path)).read_all()
            order = np.argsort(hash_uid(0, some.uid, _STREAM))
            asked.append(_first(tokenizer, some.take(order[:200]), 16))
        np.savez(kept, ids=ids, queries=np.concatenate(asked))
    tokenizer = load_tokenizer(folder)
    with np.load(kept) as arrays:
        ids, queries = arrays["ids"], arrays["queries"]
    texts, query_texts = (
        [tokenizer.decode(row[1:].tolist()) for row in side] for side in (ids, queries)
    )
    return ids, queries, texts, query_texts


def _start() -> nn.Module:
    """The preset tiny after 200,000 tokens of documents that are neither examples nor queries."""
    folder = scratch("lds") / "start"
    if not (folder / "config.json").exists():
        documents, _ = Corpus.open(str(data_folder() / "pool")).read_all()
        order = np.argsort(hash_uid(0, documents.uid, _STREAM))[4000:4800]
        tokenizer, size = load_tokenizer(scratch("lds")), SIZES["tiny"]
        stream = write_stream(documents.take(order).texts(), tokenizer, scratch("lds") / "stream")
        config = TrainConfig(
            200_000, size.learning_rate, batch_sequences=size.batch_sequences, compile=False
        )
        trained = train(build(size.model), stream, config).model
        save_model(trained, folder, tokenizer)
    return load_model(folder).as_module()


def _first(tokenizer: Any, documents: Documents, count: int) -> NDArray[np.int64]:
    """An end token and the first tokens of documents that are long enough."""
    encoded = tokenizer.encode_batch(list(documents.texts()), add_special_tokens=False)
    rows = [[0, *one.ids[: CONTEXT - 1]] for one in encoded if len(one.ids) >= CONTEXT - 1]
    return np.array(rows[:count], np.int64)
