"""The models of a swarm: one trained on each mixture, kept, and measured on held-out text."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dataworth.engine.device import find_device, spread
from dataworth.engine.files import damaged, read_object, read_parquet, write_json
from dataworth.engine.local import Tick
from dataworth.mixture.swarm import FILE, HELD_OUT, MODELS, RUNS, TARGET, TARGETS

if TYPE_CHECKING:
    from dataworth.lm.llama import LanguageModel
    from dataworth.lm.packing import TokenStream

_TRIAL = 25  # steps by which the time of a training is estimated


@dataclass(frozen=True)
class Run:
    """One training: its number and each group's share."""

    number: int
    weights: tuple[float, ...]
    size: int = 1  # all are as long


@dataclass(frozen=True)
class TrainRuns:
    """The work on one training, in any process: what is left of it is done, and written.

    `tokens` of a training, `seed` of the weights and of the order. `marks`: fingerprints of the
    targets to measure, by name. `beside`: the folder in it where models and records go.
    """

    folder: Path
    size: str
    tokens: int
    seed: int
    compiled: bool
    device: str
    marks: Mapping[str, str]
    beside: str = ""

    def __call__(self, run: Run, tick: Tick) -> None:
        """Train the model unless it is there, measure what is missing, and write both."""
        if self.is_done(run):
            return
        from dataworth.lm.model import load_model

        number = self.folder / self.beside / MODELS / f"{run.number:04d}"
        device = spread(self.device)
        if (number / "config.json").is_file():
            model = load_model(number, device)
        else:
            model = self.train(run, device)
        losses = self._known(run)
        marks = {TARGET + name: mark for name, mark in self.marks.items()}
        for file in (HELD_OUT, TARGETS) if self.marks else (HELD_OUT,):
            for name, texts in _texts(self.folder / file).items():
                mark = marks.get(name, "")
                if losses.get(name, {}).get("mark") != mark:
                    losses[name] = {"loss": self.loss(model, texts), "mark": mark}
        write_json(self._file(run), {"weights": run.weights, "losses": losses})

    def is_done(self, run: Run) -> bool:
        """Tell if the training and all that is to be measured are there."""
        known = self._known(run)
        wanted = {TARGET + name: mark for name, mark in self.marks.items()}
        return bool(known) and all(known.get(n, {}).get("mark") == m for n, m in wanted.items())

    def train(self, run: Run, device: str, *, trial: bool = False) -> LanguageModel:
        """Return the trained model of a mixture, kept unless it is a trial of few steps."""
        from dataworth.lm.model import SIZES, build, save_model
        from dataworth.lm.tokenizer import load_tokenizer
        from dataworth.lm.training import TrainConfig, train

        preset = SIZES[self.size]
        tokenizer = load_tokenizer(self.folder / "tokenizer.json")
        shape = {**vars(preset.model), "vocabulary": tokenizer.get_vocab_size()}
        model = build(type(preset.model)(**shape), self.seed)
        each = preset.batch_sequences * preset.model.context
        config = TrainConfig(
            min(self.tokens, _TRIAL * each) if trial else self.tokens,
            preset.learning_rate,
            batch_sequences=preset.batch_sequences,
            seed=self.seed,
            compile=self.compiled and not trial,
            device=device,
        )
        train(model, self.stream(run), config)
        if not trial:
            save_model(model, self.folder / self.beside / MODELS / f"{run.number:04d}", tokenizer)
        return model

    def stream(self, run: Run) -> TokenStream:
        """Return the tokens of a training: of each group as many as its share, repeated if need be.

        They are the first ones of the group in every mixture, so that mixtures differ in nothing
        else.
        """
        from dataworth.lm.packing import TokenStream, open_stream

        facts = read_object(self.folder / FILE)
        with damaged(self.folder / FILE):
            used = [int(one["used"]) for one in facts["domains"]]
        parts: list[Any] = []
        for number, share in enumerate(run.weights):
            stream = open_stream(self.folder / "tokens" / str(number))
            parts.append(np.resize(stream.tokens[: used[number]], round(share * self.tokens)))
        tokens = np.concatenate(parts)
        mark = hashlib.sha256(tokens.data).hexdigest()
        whole = np.array([0, len(tokens)])
        return TokenStream(
            tokens, whole, np.zeros(1, np.int64), stream.end, stream.vocabulary, mark
        )

    def loss(self, model: LanguageModel, texts: list[str]) -> float:
        """Return the mean loss on texts, nats per token."""
        from dataworth.lm.evaluation import document_losses
        from dataworth.lm.tokenizer import load_tokenizer

        tokenizer = load_tokenizer(self.folder / "tokenizer.json")
        return document_losses(model, tokenizer, texts, precision="auto").loss

    def _file(self, run: Run) -> Path:
        return self.folder / self.beside / RUNS / f"{run.number:04d}.json"

    def _known(self, run: Run) -> dict[str, Any]:
        path = self._file(run)
        if not path.is_file():
            return {}
        with damaged(path):
            return dict(read_object(path)["losses"])


def time_run(work: TrainRuns, run: Run) -> float:
    """Return an estimate of the seconds that one training and its measures take.

    From a few steps, not compiled, so that it is rather too long.
    """
    from dataworth.lm.model import SIZES

    preset = SIZES[work.size]
    steps = -(-work.tokens // (preset.batch_sequences * preset.model.context))
    device = str(find_device(work.device))
    begun = time.perf_counter()
    model = work.train(run, device, trial=True)
    trained = time.perf_counter()
    files = (HELD_OUT, TARGETS) if work.marks else (HELD_OUT,)
    for file in files:
        for texts in _texts(work.folder / file).values():
            work.loss(model, texts)
    measured = time.perf_counter() - trained
    return (trained - begun) * max(steps / min(steps, _TRIAL), 1.0) + measured


def _texts(path: Path) -> dict[str, list[str]]:
    """Return texts by the name of what they measure."""
    table = read_parquet(path)
    found: dict[str, list[str]] = {}
    with damaged(path):
        for name, text in zip(*(table[c].to_pylist() for c in ("name", "text")), strict=True):
            found.setdefault(name, []).append(text)
    return found
