"""The house's own trainer of a loop: a small model, trained further on each round's selection."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from dataworth.errors import ConfigError, check_extra
from dataworth.options import checked, option

if TYPE_CHECKING:
    from dataworth.flow.selection import Selection

_TOKENIZER_BYTES = 8 * 2**20  # of the pool's sample that the tokenizer is trained on
_TEXTS = 1 << 15  # documents read at a time; what is compressed is read anew each time


@checked
@dataclass(frozen=True)
class SmallTrainer:
    """A trainer of small models.

    A round goes on with the weights and the tokenizer of the round before. The learning rate warms
    up and falls by a cosine anew, and the optimizer starts without moments: each round is one
    training of its own. Round 1 begins with random weights, and with a tokenizer that is trained on
    the pool's sample.
    """

    name: ClassVar[str] = "small"
    size: str = option("tiny", help="Of the model: tiny, small or medium.")
    epochs: float = option(1.0, help="Passes over the round's selection.", above=0)
    vocabulary: int = option(4096, help="Tokens of the tokenizer of round 1.", minimum=257)
    tokenizer: str = option("", help="A tokenizer.json for round 1 instead.", content=True)
    learning_rate: float = option(0.0, help="The highest; 0: as suits the size.", minimum=0)
    checkpoint_steps: int = option(
        200, help="Steps after which a stopped training goes on.", minimum=1, run_only=True
    )

    def check(self) -> None:
        """Raise MissingExtra without the extra lm, ConfigError for a size that there is not."""
        check_extra("training a model", "lm")
        from dataworth.lm.proxies import size_of
        from dataworth.lm.tokenizer import load_tokenizer

        size_of(self.size)
        if self.tokenizer:
            load_tokenizer(self.tokenizer)

    def __call__(
        self, selection: Selection, previous: Path | None, number: int, folder: Path
    ) -> Path:
        """Train on a selection, from the model in `previous` on, and return the model's folder.

        What a killed call left beside `folder` is gone on with; the result is the same.
        """
        from dataworth.lm.model import save_model
        from dataworth.lm.moments import FILE, save_moments
        from dataworth.lm.packing import write_stream
        from dataworth.lm.training import Progress, TrainConfig, train

        work = folder.with_name(f"{folder.name}-work")
        if (folder / FILE).is_file() and not work.exists():
            return folder
        model, tokenizer, size = self._begin(selection, previous)
        stream = write_stream(texts_in_order(selection), tokenizer, work / "stream")
        tokens = max(1, round(self.epochs * len(stream)))
        config = TrainConfig(
            tokens,
            self.learning_rate or size.learning_rate,
            batch_sequences=size.batch_sequences,
            seed=selection.choice.settings.seed,
            checkpoint_every=self.checkpoint_steps,
        )

        def keep(now: Progress) -> None:
            if now.step == now.steps:
                save_model(model, folder, tokenizer)
                save_moments(folder, model.as_module(), now.optimizer, now.travelled)

        train(model, stream, config, folder=work, on_step=keep)
        # Renamed first: a folder that is half removed must not be gone on with.
        done = work.with_name(f"{work.name}-done")
        shutil.rmtree(done, ignore_errors=True)
        work.replace(done)
        shutil.rmtree(done, ignore_errors=True)
        return folder

    def _begin(self, selection: Selection, previous: Path | None) -> tuple[Any, Any, Any]:
        """Return (model, tokenizer, size) that a round begins with."""
        from dataworth.lm.model import build, load_model
        from dataworth.lm.proxies import size_of
        from dataworth.lm.tokenizer import load_tokenizer, train_tokenizer

        size = size_of(self.size)
        if previous is not None:
            if not (previous / "config.json").is_file():
                raise ConfigError(f"{previous}: holds no model (config.json) to train further")
            return load_model(previous), load_tokenizer(previous), size
        sample = selection.scores.scored.survey.sample
        enough = int(np.searchsorted(np.cumsum(sample.text_bytes), _TOKENIZER_BYTES)) + 1
        texts = sample.take(np.arange(min(enough, len(sample)))).texts()
        tokenizer = (
            load_tokenizer(self.tokenizer)
            if self.tokenizer
            else train_tokenizer(texts, self.vocabulary)
        )
        shape = {**vars(size.model), "vocabulary": tokenizer.get_vocab_size()}
        model = build(type(size.model)(**shape), selection.scores.settings.seed)
        return model, tokenizer, size


def texts_in_order(selection: Selection) -> Iterator[str]:
    """Yield the chosen texts, each as often as it was chosen, in the order that is written."""
    from dataworth.flow.selection import output_positions
    from dataworth.flow.texts import texts_of

    scores = selection.scores
    rows, positions = output_positions(selection.choice, "shuffled", scores.settings.seed)
    rows = rows[np.argsort(positions)]
    for start in range(0, len(rows), _TEXTS):
        yield from texts_of(scores.scored, rows[start : start + _TEXTS])
