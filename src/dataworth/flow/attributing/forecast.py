"""Time and memory of an attribution, told before it starts.

Measured on one full batch of the documents' own tokens and on one query, and calculated from the
shapes of the model for what grows beyond them: the curvature, and the queries' vectors. Times are
of this machine as busy as it is now.

Documents are scored in threads of their own, whose memory does not come out of what was freed here:
that is given back to the system, and each thread takes as much again as a batch took.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dataworth.corpus.documents import Documents
from dataworth.features.gradients.language import Items, Reader
from dataworth.features.gradients.preconditioners.kronecker import LONGEST
from dataworth.features.gradients.queries import TOGETHER
from dataworth.features.gradients.solving import Curvature, product_size
from dataworth.features.store import SLICE

_TOKEN_BYTES = 120  # of a token in lists of ids, offsets and strings, while it is being read
_READING = 24_000_000  # buffers of the reader, twice


@dataclass(frozen=True)
class Forecast:
    """`seconds` and `memory` (bytes, at the peak, of the process) that an attribution will take."""

    seconds: float
    memory: float
    documents: float
    tokens: float

    def as_dict(self) -> dict[str, float]:
        """JSON."""
        return {"seconds": round(self.seconds, 3), "memory": round(self.memory)}


def peak() -> int:
    """The largest resident memory of this process so far, in bytes."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # not Linux
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def resident() -> int:
    """The resident memory of this process now, in bytes; its peak where that cannot be told."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return peak()


def release() -> None:
    """Give memory that is free back to the system, where the C library can."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)


def forecast(
    reader: Reader,
    sample: Documents,
    queries: Documents,
    how: Curvature,
    *,
    documents: float,
    workers: int,
    shown: int = 0,
) -> Forecast:
    """`sample`: documents in random order. `documents`: of the whole. `shown`: documents whose
    tokens are scored for each query. Runs a batch or two, and a query.
    """
    few = sample.take(np.arange(min(64, len(sample))))
    items = reader.items(few)
    asked = reader.items(queries)
    text = max(int(few.text_bytes.sum()), 1)
    rate = float(items.tokens.sum()) / text
    tokens = documents * float(sample.text_bytes.mean()) * rate
    vectors = min(len(queries), _together(reader))
    full = items if items.items else asked
    _measured(reader, full, vectors)  # what is made once, and the check of the first batch
    release()
    with Watch() as watch:
        each = _measured(reader, full, vectors)
    start = time.perf_counter()
    reader.gradient(queries.take(np.array([0])))
    once = time.perf_counter() - start
    sampled = float(how.chosen(sample).text_bytes.sum()) * rate if how.fitted else 0.0
    mean = tokens / max(documents, 1)
    seconds = each * (tokens / workers + how.passes * sampled + float(asked.tokens.sum()))
    # A query's gradient is taken by itself, and its documents are read again, either end by itself.
    seconds += len(queries) * (once + each * shown * mean + 2 * once * (shown > 0))
    scoring = 4.0 * reader.engine.size * len(queries) + workers * watch.growth
    scoring += SLICE * workers * mean * _TOKEN_BYTES
    fitting = _fitting(reader, how, len(queries)) + watch.growth + sampled * _TOKEN_BYTES
    release()
    memory = max(float(peak()), resident() + _READING + max(scoring, fitting))
    return Forecast(seconds, memory, documents, tokens)


class Watch:
    """How much more memory is resident at the peak of what is done within: `growth`, in bytes."""

    def __init__(self) -> None:
        self.growth = 0.0

    def __enter__(self) -> Watch:
        self._start = self._most = resident()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def _look(self) -> None:
        while not self._over.wait(0.001):
            self._most = max(self._most, resident())

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.growth = float(self._most - self._start)


def _together(reader: Reader) -> int:
    return max(1, TOGETHER // reader.engine.size)


def _measured(reader: Reader, items: Items, vectors: int) -> float:
    """Seconds a token of a full batch: gradients, and their products with so many vectors."""
    lengths = np.array([len(item[0] if isinstance(item, tuple) else item) for item in items.items])
    # The longest windows again and again, until the batch is as large as any.
    rows = np.argsort(-lengths, kind="stable")[: max(1, reader.batch_tokens // int(lengths.max()))]
    batch_rows = np.resize(rows, max(1, reader.batch_tokens // int(lengths.max())))
    full = items.take(batch_rows)
    zeros = torch.zeros(vectors, reader.engine.size, dtype=reader.engine.dtype)
    start, count = time.perf_counter(), 0
    for _, batch in reader.examples(full):
        reader.engine.factors(batch).scores(zeros)
        count += int(batch.mask.sum()) if batch.mask is not None else len(batch)
    return (time.perf_counter() - start) / max(count, 1)


def _fitting(reader: Reader, how: Curvature, queries: int) -> float:
    """Bytes that are held at once while the preconditioner is fitted and applied."""
    engine = reader.engine
    size, blocks = engine.size, list(engine.blocks)
    together = min(queries, max(1, TOGETHER // size))
    applied = 4.0 * size * together * 4 + 12.0 * size
    if not how.fitted:
        return applied
    turned = 4.0 * reader.batch_windows * reader.largest * 2
    # Logits that a product with the curvature holds; no batch is smaller than its longest window.
    positions, vectors = product_size(reader)
    logits = 4.0 * max(positions, reader.context) * reader.vocabulary
    product = 6 * logits * min(queries, vectors)
    if how.solver in ("diagonal", "adam_cg"):
        held = 20.0 * size + max(turned, applied)
        return held + (product + 12.0 * size if how.solver == "adam_cg" else 0.0)
    if how.solver == "dense":
        return 8.0 * size * size * 4 + 64 * 8.0 * size
    sides = [n for b in blocks for n in (b.rows, b.columns) if n <= LONGEST]
    # Sums in float64, vectors in float32 beside them, and what finding the largest ones takes.
    square = 12.0 * sum(n * n for n in sides) + 40.0 * max(n * n for n in sides)
    values = 8.0 * size * (2 if how.solver != "kfac" else 1) + 4.0 * size
    held = square + values + max(turned if how.solver != "kfac" else 0.0, applied)
    return held + (product if how.solver in ("ekfac_cg", "lissa") else 0.0)
