"""The trainer against transformers' Llama of the same shape: tokens a second on one core.

    python benchmarks/trainer.py
    python benchmarks/trainer.py --rounds 3 --tokens 8000 --shapes tiny

All train on the same batches of real text with AdamW and clipped gradients, each in a process of
its own: what one sets for its whole process (how memory is kept, for instance) helps no other. The
contenders take turns, `--rounds` times, `--tokens` tokens each time, after a first turn that
compiles and is not counted; shown are the median rate, and the median over the rounds of the ratio
to the eager float32 loop in the same round, so that a machine that slows down slows both. Ours is
the public `train`, batches included. Two batches: the preset's own, and a larger one of 2,048
tokens, at which less of the eager loops' time is spent between operations.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Self

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is loaded

import torch

from common import data_folder, scratch, table, write_results
from dataworth.corpus.corpus import Corpus
from dataworth.lm.model import SIZES, ModelConfig, build
from dataworth.lm.packing import TokenStream, open_stream, sequences, write_stream
from dataworth.lm.tokenizer import load_tokenizer, save_tokenizer, train_tokenizer
from dataworth.lm.training import TrainConfig, train

LARGE_BATCH = 2048
DOCUMENTS = 3_000
BASELINE = "transformers, eager float32"
Turn = Callable[[int], float]
"""Trains for some steps and gives the seconds."""


@dataclass(frozen=True)
class Shape:
    """A model and its batch."""

    name: str
    model: ModelConfig
    batch: int

    @property
    def tokens(self) -> int:
        """Tokens in a step."""
        return self.batch * self.model.context


def shapes(names: Sequence[str]) -> list[Shape]:
    """The presets, and the shape of about 2 M parameters, each with both batches."""
    out = []
    for name in names:
        if name in SIZES:
            model, batch = SIZES[name].model, SIZES[name].batch_sequences
        else:
            model, batch = ModelConfig(160, 4, 5, 432, context=SIZES["small"].model.context), 4
        for size in dict.fromkeys((batch, LARGE_BATCH // model.context)):
            out.append(Shape(name, model, size))
    return out


def text_stream() -> TokenStream:
    """Some documents of the pool as tokens, made once."""
    folder = scratch("trainer")
    if not (folder / "stream").exists():
        corpus = Corpus.open(data_folder() / "pool")
        texts: list[str] = []
        for unit in corpus.units:
            documents = next(iter(corpus.blocks(unit))).documents
            texts += documents.texts()[: DOCUMENTS // len(corpus.units)]
        save_tokenizer(train_tokenizer(texts), folder)
        write_stream(texts, load_tokenizer(folder), folder / "stream")
    return open_stream(folder / "stream")


def ours(shape: Shape, stream: TokenStream, *, compiled: bool, precision: Any) -> Turn:
    """The public trainer; its program is compiled by the first turn."""

    def turn(steps: int) -> float:
        config = TrainConfig(
            tokens=steps * shape.tokens,
            learning_rate=1e-3,
            batch_sequences=shape.batch,
            compile=compiled,
            precision=precision,
        )
        return train(build(shape.model), stream, config).seconds

    return turn


def transformers_loop(shape: Shape, stream: TokenStream, *, compiled: bool, half: bool) -> Turn:
    """A plain loop over LlamaForCausalLM."""
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = shape.model
    config = LlamaConfig(
        vocab_size=sizes.vocabulary,
        hidden_size=sizes.hidden,
        intermediate_size=sizes.intermediate,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        max_position_embeddings=sizes.context,
        tie_word_embeddings=sizes.tied,
    )
    model: Any = LlamaForCausalLM(config).train()
    if (parameters := sum(each.numel() for each in model.parameters())) != sizes.parameters:
        raise ValueError(f"{parameters} parameters are not {sizes.parameters}")
    step_model: Any = torch.compile(model) if compiled else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    rows = sequences(stream, sizes.context, 10_000_000, 0)

    def turn(steps: int) -> float:
        start = time.perf_counter()
        for step in range(steps):
            inputs, targets = rows.batch(step * shape.batch, shape.batch)
            ids, wanted = torch.from_numpy(inputs), torch.from_numpy(targets)
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                logits = step_model(input_ids=ids, use_cache=False).logits
                loss = torch.nn.functional.cross_entropy(
                    logits.float().flatten(0, 1), wanted.flatten()
                )
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        return time.perf_counter() - start

    return turn


LOOPS: dict[str, tuple[Callable[..., Turn], dict[str, Any]]] = {
    BASELINE: (transformers_loop, {"compiled": False, "half": False}),
    "transformers, eager bfloat16": (transformers_loop, {"compiled": False, "half": True}),
    "transformers, compiled bfloat16": (transformers_loop, {"compiled": True, "half": True}),
    "dataworth, eager float32": (ours, {"compiled": False, "precision": "float32"}),
    "dataworth, compiled float32": (ours, {"compiled": True, "precision": "float32"}),
    "dataworth, compiled bfloat16": (ours, {"compiled": True, "precision": "bfloat16"}),
}


class Contender:
    """A loop in a process of its own, which waits between its turns."""

    def __init__(self, name: str, shape: Shape) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=serve, args=(name, shape, other), daemon=True)
        self.process.start()

    def __call__(self, steps: int) -> float:
        """Seconds that so many steps took."""
        self.connection.send(steps)
        return float(self.connection.recv())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.send(0)
        self.process.join()


def serve(name: str, shape: Shape, connection: Connection) -> None:
    """Take turns until the number of steps is 0."""
    torch.set_num_threads(1)
    make, options = LOOPS[name]
    turn = make(shape, text_stream(), **options)
    while steps := connection.recv():
        connection.send(turn(steps))


def measure(shape: Shape, rounds: int, tokens: int) -> list[list[object]]:
    """A row for each contender."""
    with ExitStack() as stack:
        turns = {name: stack.enter_context(Contender(name, shape)) for name in LOOPS}
        return race(shape, turns, rounds, tokens)


def race(shape: Shape, turns: dict[str, Contender], rounds: int, tokens: int) -> list[list[object]]:
    """Let them take turns."""
    first = {name: turn(2) for name, turn in turns.items()}
    steps = max(math.ceil(tokens / shape.tokens), 2)
    rates: dict[str, list[float]] = {name: [] for name in turns}
    for _ in range(rounds):
        for name, turn in turns.items():
            rates[name].append(steps * shape.tokens / turn(steps))
    out: list[list[object]] = []
    for name, found in rates.items():
        ratios = [a / b for a, b in zip(found, rates[BASELINE], strict=True)]
        row = [shape.name, shape.model.parameters, f"{shape.batch} x {shape.model.context}", name]
        middle, ratio = statistics.median(found), statistics.median(ratios)
        out.append([*row, round(middle), ratio, f"{min(ratios):.2f} to {max(ratios):.2f}"])
        print(*out[-1], f"first turn {first[name]:.1f} s", flush=True)
    return out


def main() -> None:
    """Measure all shapes and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=16_384)
    parser.add_argument("--shapes", nargs="+", default=["tiny", "small", "2 M"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    text_stream()  # made before it is timed
    rows = [
        row
        for shape in shapes(options.shapes)
        for row in measure(shape, options.rounds, options.tokens)
    ]
    head = ["shape", "parameters", "batch", "loop", "tokens/s", "ratio", "over the rounds"]
    write_results(
        "trainer",
        "The trainer against transformers' Llama on one core",
        settings={
            "command": "python benchmarks/trainer.py "
            f"--rounds {options.rounds} --tokens {options.tokens}",
            "versions": f"torch {torch.__version__}, transformers {_version()}",
            "threads": torch.get_num_threads(),
            "vocabulary": 4096,
        },
        body=table(head, rows)
        + "\n`ratio` is to the eager float32 loop of transformers in the same round, the median "
        "over the rounds; the last column its range.",
    )


def _version() -> str:
    import transformers

    return str(transformers.__version__)


if __name__ == "__main__":
    main()
