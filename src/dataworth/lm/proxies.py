"""A small model trained on some texts, and kept at several points of its training.

    kept = train_kept(texts, tokenizer, "proxies/", size="tiny", tokens=500_000, seed=0, points=3)

A folder is left for each point, `seed-0-step-325` and so on, and for the end `seed-0`. Each is a
model that transformers loads too, with the moments of its optimizer beside it (lm/moments.py).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from dataworth.engine.device import AUTO
from dataworth.errors import ConfigError
from dataworth.lm.model import SIZES, Size, build, save_model
from dataworth.lm.moments import save_moments
from dataworth.lm.packing import stream_of
from dataworth.lm.training import Progress, TrainConfig, train

log = logging.getLogger("dataworth")
_TIMED = 40  # steps after which the time that is left is told
_COMPILING = 10  # steps at the beginning that are no measure


@dataclass(frozen=True)
class Kept:
    """A model at one point of its training.

    `folder`: its name. `tokens`: seen so far. `learning_rate`: of the step that led here.
    `loss`: of training, nats per token, the mean over the last steps. `core_seconds`: of processor
    time since the training began. `last`: the training ends here.
    """

    folder: str
    seed: int
    step: int
    tokens: int
    learning_rate: float
    loss: float
    core_seconds: float
    last: bool

    def as_dict(self) -> dict[str, Any]:
        """Return the results as a dictionary for JSON."""
        return dict(vars(self))


def size_of(name: str) -> Size:
    """Return a preset by its name. Raises ConfigError for one that there is not."""
    if name not in SIZES:
        raise ConfigError(f"there is no size {name!r}; there are {', '.join(SIZES)}")
    return SIZES[name]


def train_kept(
    texts: Iterable[str],
    tokenizer: Tokenizer,
    folder: Path,
    *,
    size: str,
    tokens: int,
    seed: int,
    points: int,
    compile: Any = "auto",
    device: str = AUTO,
) -> list[Kept]:
    """Train a model of a named size and keep it at `points` evenly spaced points, the last the end.

    Raises ConfigError for an unknown size, or for more points than there are steps.
    """
    preset = size_of(size)
    shape = {**vars(preset.model), "vocabulary": tokenizer.get_vocab_size()}
    model = build(type(preset.model)(**shape), seed)
    config = TrainConfig(
        tokens,
        preset.learning_rate,
        batch_sequences=preset.batch_sequences,
        seed=seed,
        compile=compile,
        device=device,
    )
    each = config.batch_sequences * preset.model.context
    sequences = -(-tokens // preset.model.context)
    steps = -(-sequences // config.batch_sequences)
    if points > steps:
        raise ConfigError(
            f"{points} checkpoints of a training of {steps} steps: take fewer, or more than "
            f"{points * each:,} tokens"
        )
    wanted = {steps * (i + 1) // points for i in range(points)}
    kept: list[Kept] = []
    recent: list[float] = []
    begun = [0.0]

    def step(now: Progress) -> None:
        recent.append(now.loss)
        if now.step == _COMPILING:
            begun[0] = time.perf_counter()
        if now.step == _TIMED and begun[0]:
            left = (time.perf_counter() - begun[0]) / (_TIMED - _COMPILING) * (steps - _TIMED)
            log.info("proxy: seed %d, %s tokens, about %.0f s left", seed, f"{tokens:,}", left)
        if now.step not in wanted:
            return
        last = now.step == steps
        name = f"seed-{seed}" if last else f"seed-{seed}-step-{now.step}"
        save_model(model, folder / name, tokenizer)
        save_moments(folder / name, model.as_module(), now.optimizer, now.travelled)
        some = recent[-_TIMED:]
        loss = sum(some) / len(some)
        spent = round(time.thread_time() - start, 3)
        kept.append(Kept(name, seed, now.step, now.tokens, now.learning_rate, loss, spent, last))

    stream = stream_of(texts, tokenizer)
    start = time.thread_time()
    train(model, stream, config, on_step=step)
    return kept
