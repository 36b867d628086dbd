"""The bench of a worker that trains models in turn: banks, tokenizers, held-out text.

Everything is opened once. So a training costs its steps, one pass over the text that it is
measured on, and a few hundredths of a second to put its token stream together.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dataworth.comparing.bank import TextBank, TokenBank
from dataworth.comparing.choices import load_documents
from dataworth.comparing.grid import Unit, model_folder, result_file
from dataworth.comparing.held_out import EvaluationSet, load_sets, read_rows
from dataworth.comparing.measures import SHIFT
from dataworth.comparing.plan import ComparePlan, SizePlan
from dataworth.comparing.reading import read_plan
from dataworth.engine.device import AUTO, find_device, spread
from dataworth.engine.files import read_object, write_json
from dataworth.engine.local import Tick
from dataworth.errors import ConfigError, DataworthError
from dataworth.measures.choices import measures

_LARGE = 32_000_000  # tokens of a stream from which only what is trained on is put together
_TIMED_STEPS = 12
log = logging.getLogger("dataworth")
OVERLAP = 0.25  # of the context, as in `losses`, which imports torch


def config_of(plan: ComparePlan, size: SizePlan, tokens: int, seed: int, device: str = AUTO) -> Any:
    """Return how a plan trains a model of a size (`dataworth.lm.training.TrainConfig`)."""
    from dataworth.lm.training import TrainConfig

    options = {**plan.training, **size.training}
    options["betas"] = tuple(options["betas"])
    steps = max(1, tokens // (options["batch_sequences"] * 256))
    every = max(1, steps // 60)  # about as many points of the curve for any length
    return TrainConfig(**options, tokens=tokens, seed=seed, log_every=every, device=device)


def training_rate(plan: ComparePlan, size: SizePlan, device: str = AUTO) -> tuple[float, float]:
    """Return (seconds a token, seconds of starting) of training a size, timed on random tokens.

    `size` describes its model; what a folder holds is not loaded for this.
    """
    from dataworth.lm.model import ModelConfig, build
    from dataworth.lm.packing import TokenStream
    from dataworth.lm.steps import threads
    from dataworth.lm.training import train

    model = build(ModelConfig(**size.options), 0)
    config = config_of(plan, size, 1, 0, device)
    each = config.batch_sequences * (config.length or model.context)
    total, vocabulary = each * _TIMED_STEPS, int(size.options["vocabulary"])
    ids = np.random.default_rng(0).integers(1, vocabulary, total).astype(np.uint32)
    ids[each - 1 :: each] = 0
    starts = np.arange(0, total + 1, each, dtype=np.int64)
    stream = TokenStream(ids, starts, np.diff(starts), 0, vocabulary, "random")
    with threads(1):
        begin = time.perf_counter()
        train(model, stream, config_of(plan, size, each * 2, 0, device))
        start = time.perf_counter() - begin
        made = train(model, stream, config_of(plan, size, total, 0, device))
    return made.seconds / total, start


@dataclass(frozen=True)
class Task:
    """A unit to train, or a size to time on a selection. `size`: the work, tokens times width."""

    size: int
    unit: Unit | None = None
    timed: tuple[str, str] = ("", "")


@dataclass(frozen=True)
class Work:
    """The work on a task, in any process, for the comparison in a folder; its bench stays open.

    `key` tells one state of the folder from another.
    """

    folder: Path
    device: str
    key: str

    def __call__(self, task: Task, tick: Tick) -> dict[str, Any]:
        """Train or time. Raises DataworthError where that fails."""
        if self.key not in _open:
            _open.clear()
            _open[self.key] = Bench(self.folder, spread(self.device))
        bench = _open[self.key]
        try:
            return bench.time(*task.timed) if task.unit is None else bench.train(task.unit)
        except DataworthError:
            raise
        except Exception as error:  # of any library; the place is in the log
            log.debug("a training failed", exc_info=True)
            raise DataworthError(f"a training failed: {type(error).__name__}: {error}") from error


_open: dict[str, Bench] = {}
"""The bench of this process, by the key of its work."""


class Bench:
    """Trains and measures what it is told to, for the comparison in a folder, on one device."""

    def __init__(self, folder: Path, device: str = AUTO) -> None:
        import torch

        torch.set_num_threads(1)
        self.folder = folder
        self.device = find_device(device)
        self.plan = read_plan(read_object(folder / "plan.json"))
        self.sizes = {size.name: size for size in self.plan.sizes}
        self.marks = read_object(folder / "bank" / "marks.json")
        self.texts = TextBank(folder / "bank" / "text")
        self.sets = load_sets(folder / "held_out")
        self._banks: dict[str, TokenBank] = {}
        self._tokenizers: dict[str, Remembering] = {}
        self._rows: dict[str, list[dict[str, Any]]] = {}
        self._packed: dict[tuple[str, str, int], Any] = {}

    def train(self, unit: Unit) -> dict[str, Any]:
        """Train and measure one model, and write its result; returns the seconds that it took."""
        from dataworth.lm.model import save_model
        from dataworth.lm.training import train

        begin = time.perf_counter()
        size = self.sizes[unit.size]
        stream, unique = self.stream(unit.content, unit.seed, size, unit.tokens)
        model = self.model(size, unit.seed)
        config = self.config(size, unit.tokens, unit.seed)
        cpu = time.thread_time()
        trained = train(model, stream, config)
        cpu = time.thread_time() - cpu
        evaluations = {
            item.key: self.measure(model, size, item)
            for item in self.sets
            if item.target is None or item.target in unit.targets
        }
        seconds = time.perf_counter() - begin
        if self.plan.keep_models:  # before the result, which says that all is there
            place = model_folder(self.folder / "trainings", unit.name)
            save_model(model, place, self.tokenizer(size).inner)
        result = {
            **unit.as_dict(),
            "parameters": parameters_of(model),
            "tokens_seen": trained.tokens_seen,
            "unique_tokens": unique,
            "epochs": trained.epochs,
            "seconds": trained.seconds,
            "core_seconds": cpu,
            "seconds_in_all": seconds,
            "precision": trained.precision,
            "device": self.device.type,
            "compiled": trained.compiled,
            "curve": [[int(tokens), float(loss)] for tokens, loss in trained.curve],
            "evaluations": evaluations,
        }
        write_json(result_file(self.folder / "trainings", unit.name), result)
        return {"seconds": trained.seconds, "in_all": seconds}

    def time(self, name: str, content: str) -> dict[str, Any]:
        """Measure seconds per token of training a size, and seconds of measuring on each set.

        After a first training of a few steps, which compiles.
        """
        from dataworth.lm.training import train

        size = self.sizes[name]
        config = self.config(size, 1, 0)
        model = self.model(size, 0)
        each = config.batch_sequences * (config.length or model.context)
        stream, _ = self.stream(content, 0, size, each * _TIMED_STEPS)
        begin = time.perf_counter()
        train(model, stream, self.config(size, each * 2, 0))
        first = time.perf_counter() - begin
        made = train(model, stream, self.config(size, each * _TIMED_STEPS, 0))
        sets = {}
        for item in self.sets:
            begin = time.perf_counter()
            self.measure(model, size, item)
            sets[item.key] = time.perf_counter() - begin
        each_token = made.seconds / (each * _TIMED_STEPS)
        return {"a_token": each_token, "start": first, "sets": sets}

    def stream(self, content: str, seed: int, size: SizePlan, tokens: int) -> tuple[Any, int]:
        """Return (the token stream of a choice's documents, tokens of its different documents).

        Of a choice with far more tokens than are trained on, some random documents.
        """
        from dataworth.lm.packing import TokenStream
        from dataworth.lm.tokenizer import end_token

        bank, tokenizer = self.bank(size), self.tokenizer(size)
        uid, counts = load_documents(self.folder / "choices" / "documents", content)
        unique = bank.count(uid, np.ones(len(uid), np.int64))
        ids, starts, sizes = bank.stream(uid, counts, seed, max(_LARGE, 4 * tokens))
        made = TokenStream(
            ids,
            starts,
            sizes,
            end_token(tokenizer.inner, size.model),
            tokenizer.inner.get_vocab_size(),
            f"{content}-{seed}-{self.marks[size.name]}",
        )
        return made, unique

    def bank(self, size: SizePlan) -> TokenBank:
        """Return the tokens of all documents by the size's tokenizer."""
        mark = self.marks[size.name]
        if mark not in self._banks:
            self._banks[mark] = TokenBank(self.folder / "bank" / f"tokens-{mark}", self.texts)
        return self._banks[mark]

    def tokenizer(self, size: SizePlan) -> Remembering:
        """Return the size's tokenizer: the comparison's, or that of the model to go on with."""
        from dataworth.lm.tokenizer import load_tokenizer

        mark = self.marks[size.name]
        if mark not in self._tokenizers:
            source = self.folder / "tokenizer.json" if size.model is None else size.model
            self._tokenizers[mark] = Remembering(load_tokenizer(source))
        return self._tokenizers[mark]

    def model(self, size: SizePlan, seed: int) -> Any:
        """Return a new model from the seed, or the one to go on with."""
        from dataworth.lm.model import ModelConfig, build, load_model

        if size.model is not None:
            return load_model(size.model)
        return build(ModelConfig(**size.options), seed)

    def config(self, size: SizePlan, tokens: int, seed: int) -> Any:
        """Return the settings of training a model of a size."""
        return config_of(self.plan, size, tokens, seed, str(self.device))

    def measure(self, model: Any, size: SizePlan, item: EvaluationSet) -> dict[str, float]:
        """Return a model's measures on one set."""
        from dataworth.lm.evaluation import choice_log_probs, cloze
        from dataworth.lm.steps import threads

        if item.file not in self._rows:
            self._rows[item.file] = read_rows(self.folder / "held_out", item)
        rows = self._rows[item.file]
        tokenizer: Any = self.tokenizer(size)
        with threads(1):
            if item.kind in ("text", SHIFT):
                return self.losses(model, size, item.file, [row["text"] for row in rows])
            prompts = [row["prompt"] for row in rows]
            joined = [row.get("between", " ") for row in rows]
            if item.kind == "choice":
                options = [
                    [between + text for text in row["options"]]
                    for row, between in zip(rows, joined, strict=True)
                ]
                scored = choice_log_probs(model, tokenizer, prompts, options)
                found = measures(
                    [one.log_probs for one in scored],
                    [row["answer"] for row in rows],
                    tokens=[one.tokens for one in scored],
                    characters=[one.chars for one in scored],
                )
                return {name: float(value) for name, value in found.items()}
            responses = [
                between + row["response"] for row, between in zip(rows, joined, strict=True)
            ]
            answers = cloze(model, tokenizer, prompts, responses)
            size_of = sum(len(text.encode()) for text in responses)
            bits = float(answers.nats.sum()) / math.log(2) / size_of
            return {"response_bits_per_byte": bits, "exact_match": answers.accuracy}

    def losses(
        self, model: Any, size: SizePlan, file: str, texts: Sequence[str]
    ) -> dict[str, float]:
        """Measure nats per token and bits per byte of held-out texts; ours are packed once."""
        from dataworth.comparing.losses import loss_of, pack
        from dataworth.lm.evaluation import document_losses
        from dataworth.lm.model import CausalLM
        from dataworth.lm.steps import numbers
        from dataworth.lm.tokenizer import end_token

        tokenizer = self.tokenizer(size)
        if not isinstance(model, CausalLM):
            made = document_losses(model, tokenizer, texts, overlap=OVERLAP)  # type: ignore[arg-type]
            return {"loss": made.loss, "bits_per_byte": made.bits_per_byte}
        options = {**self.plan.training, **size.training}
        context = options["length"] or model.context
        key = (file, self.marks[size.name], context)
        if key not in self._packed:
            encoded = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
            total = sum(len(text.encode()) for text in texts)
            ids = [item.ids for item in encoded]
            self._packed[key] = pack(ids, end_token(tokenizer.inner, size.model), context, total)
        packed = self._packed[key]
        nats = loss_of(
            model, packed, numbers(options["precision"], self.device), compiled=options["compile"]
        )
        return {"loss": nats / packed.tokens, "bits_per_byte": nats / packed.bytes / math.log(2)}


class Remembering:
    """A tokenizer that keeps what it encoded: sets to measure on are encoded once."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self._known: dict[str, Any] = {}

    def encode_batch_fast(self, texts: Sequence[str], *, add_special_tokens: bool) -> list[Any]:
        """Encode texts, new ones alone; stands in for `tokenizers.Tokenizer`."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        made = self.inner.encode_batch_fast(new, add_special_tokens=add_special_tokens)
        self._known.update(zip(new, (_Ids(item.ids) for item in made), strict=True))
        return [self._known[text] for text in texts]

    def token_to_id(self, name: str) -> int | None:
        """Return the id of a token; stands in for `tokenizers.Tokenizer`."""
        found: int | None = self.inner.token_to_id(name)
        return found


class _Ids:
    def __init__(self, ids: list[int]) -> None:
        self.ids = ids


def parameters_of(model: Any) -> int:
    """Count the numbers of a model that are trained."""
    count = sum(parameter.numel() for parameter in model.as_module().parameters())
    if not count:
        raise ConfigError("the model has no parameters")
    return int(count)
