"""Time and memory of an attribution, told before it starts.

Measured on one full batch of the documents' own tokens, and calculated from the shapes of the
model for what grows beyond it: the curvature, and the queries' vectors. Times are of this machine
as busy as it is now.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dataworth.corpus.documents import Documents
from dataworth.features.gradients.language import Items, Reader
from dataworth.features.gradients.preconditioners.kronecker import LONGEST
from dataworth.features.gradients.queries import TOGETHER
from dataworth.features.gradients.solving import Curvature, vectors_together
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


def forecast(
    reader: Reader,
    sample: Documents,
    queries: Documents,
    how: Curvature,
    *,
    documents: float,
    workers: int,
) -> Forecast:
    """`sample`: documents in random order. `documents`: of the whole. Runs a batch or two."""
    few = sample.take(np.arange(min(64, len(sample))))
    items = reader.items(few)
    asked = reader.items(queries)
    text = max(int(few.text_bytes.sum()), 1)
    rate = float(items.tokens.sum()) / text
    tokens = documents * float(sample.text_bytes.mean()) * rate
    before = peak()
    each = _measured(reader, items if items.items else asked, min(len(queries), _together(reader)))
    after = peak()
    sampled = float(how.chosen(sample).text_bytes.sum()) * rate if how.fitted else 0.0
    seconds = each * (tokens / workers + how.passes * sampled + float(asked.tokens.sum()))
    vectors = 4.0 * reader.engine.size * len(queries)
    scoring = vectors + (workers - 1) * (after - before)
    scoring += SLICE * workers * tokens / max(documents, 1) * _TOKEN_BYTES
    fitting = _fitting(reader, how, len(queries)) + sampled * _TOKEN_BYTES
    memory = after + _READING + max(scoring, fitting)
    return Forecast(seconds, memory, documents, tokens)


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
    best, count = float("inf"), 1
    for _ in range(2):
        start, count = time.perf_counter(), 0
        for _, batch in reader.examples(full):
            reader.engine.factors(batch).scores(zeros)
            count += int(batch.mask.sum()) if batch.mask is not None else len(batch)
        best = min(best, time.perf_counter() - start)
    return best / max(count, 1)


def _fitting(reader: Reader, how: Curvature, queries: int) -> float:
    """Bytes that are held at once while the preconditioner is fitted and applied."""
    engine = reader.engine
    size, blocks = engine.size, list(engine.blocks)
    together = min(queries, max(1, TOGETHER // size))
    applied = 4.0 * size * together * 4 + 12.0 * size
    if not how.fitted:
        return applied
    turned = 4.0 * reader.batch_windows * reader.largest * 3
    if how.solver == "diagonal":
        return 20.0 * size + turned + applied
    if how.solver == "dense":
        return 8.0 * size * size * 4 + 64 * 8.0 * size
    sides = [n for b in blocks for n in (b.rows, b.columns) if n <= LONGEST]
    # Sums in float64, vectors in float32 beside them, and what finding the largest ones takes.
    square = 12.0 * sum(n * n for n in sides) + 40.0 * max(n * n for n in sides)
    values = 8.0 * size * (2 if how.solver != "kfac" else 1) + 4.0 * size
    held = square + values + max(turned if how.solver != "kfac" else 0.0, applied)
    if how.solver == "ekfac_cg":
        logits = 4.0 * reader.batch_tokens * reader.vocabulary
        held += 6 * logits * min(queries, vectors_together(reader))
    return held
