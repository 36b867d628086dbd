"""Time and memory of an attribution, told before it starts.

Measured on one full batch of the documents' own tokens, on one query and, where the solver takes
products with the curvature, on one of them; calculated from the shapes of the model for what grows
beyond them: the curvature, and the queries' vectors. Times are of this machine, as busy as it is
now.

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
from math import prod
from pathlib import Path

import numpy as np
import torch

from dataworth.corpus.documents import Documents
from dataworth.engine.device import synchronize
from dataworth.features.gradients.language import Reader
from dataworth.features.gradients.preconditioners import Products
from dataworth.features.gradients.preconditioners.kronecker import parts_of
from dataworth.features.gradients.queries import TOGETHER
from dataworth.features.gradients.reading import Items
from dataworth.features.gradients.solving import Curvature, bounded, product_size
from dataworth.flow.annotating import AT_ONCE

_TOKEN_BYTES = 120  # of a token in lists of ids, offsets and strings, while it is being read
_TIMED = 3  # products that are timed
_READING = 24_000_000  # buffers of the reader, twice


@dataclass(frozen=True)
class Forecast:
    """`seconds` and `memory` (bytes, at the peak, of the process) that an attribution will take."""

    seconds: float
    memory: float
    documents: float
    tokens: float

    def as_dict(self) -> dict[str, float]:
        """Return the estimates as JSON."""
        return {"seconds": round(self.seconds, 3), "memory": round(self.memory)}


def peak() -> int:
    """Return the largest resident memory of this process so far, in bytes."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # not Linux
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def resident() -> int:
    """Return the resident memory of this process now, in bytes; its peak if that is not known."""
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
    lengths: bool = False,
) -> Forecast:
    """Estimate time and memory of an attribution by running a batch or two, and a query.

    `sample`: documents in random order. `documents`: of the whole. `shown`: documents whose
    tokens are scored for each query. `lengths`: gradient norms are taken too. The time that has
    passed before is for the caller to add.
    """
    few = sample.take(np.arange(min(64, len(sample))))
    items = reader.items(few)
    asked = reader.items(queries)
    text = max(int(few.text_bytes.sum()), 1)
    rate = float(items.tokens.sum()) / text
    tokens = documents * float(sample.text_bytes.mean()) * rate
    vectors = min(len(queries), _together(reader))
    full = items if items.items else asked
    _measured(reader, full, vectors, lengths)  # what is made once, and the check of the first batch
    release()
    with Watch() as watch:
        each = _measured(reader, full, vectors, lengths)
    start = time.perf_counter()
    reader.gradient(queries.take(np.array([0])))
    once = time.perf_counter() - start
    sampled = float(how.chosen(sample).text_bytes.sum()) * rate if how.fitted else 0.0
    mean = tokens / max(documents, 1)
    products = how.products(reader.engine.size, len(queries))
    product = _product(reader, full, min(products, len(queries))) if products else Product()
    seconds = each * (tokens / workers + how.fits * sampled + float(asked.tokens.sum()))
    # Dense, batches are recorded once; else for each product, with all vectors that go together.
    groups = -(-len(queries) // _together(reader))
    records = 1 if how.solver == "dense" else how.products(reader.engine.size, groups)
    seconds += (product.seconds * products + product.record * records) * sampled
    # A query's gradient is taken by itself. Documents at the ends are read again, each once, and
    # each has a product for each of its queries, about a third of the rest.
    seconds += len(queries) * once + each * mean * min(documents, len(queries) * shown * 4 / 3)
    scoring = 4.0 * reader.engine.size * len(queries) + workers * watch.growth
    scoring += min(reader.piece(len(queries)), AT_ONCE) * rate * workers * _TOKEN_BYTES
    fitting = _fitting(reader, how, len(queries), product.growth)
    fitting += watch.growth + sampled * _TOKEN_BYTES
    release()
    memory = max(float(peak()), resident() + _READING + max(scoring, fitting))
    return Forecast(seconds, memory, documents, tokens)


class Watch:
    """Memory that the work within adds to the resident memory at its peak: `growth`, in bytes."""

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


def _full(items: Items, positions: int) -> Items:
    """Repeat the longest windows until the batch is as large as any."""
    lengths = np.array([len(item[0] if isinstance(item, tuple) else item) for item in items.items])
    count = max(1, positions // int(lengths.max()))
    rows = np.argsort(-lengths, kind="stable")[:count]
    return items.take(np.resize(rows, count))


def _measured(reader: Reader, items: Items, vectors: int, norms: bool) -> float:
    """Return seconds per token of a full batch: gradients, their products with vectors, norms."""
    full = _full(items, reader.batch_tokens)
    engine = reader.engine
    zeros = torch.zeros(vectors, engine.size, dtype=engine.dtype, device=engine.device)
    synchronize(engine.device)
    start, count = time.perf_counter(), 0
    for _, batch in reader.examples(full):
        factors = reader.engine.factors(batch)
        factors.scores(zeros)
        if norms:
            factors.squared_norms()
        del factors  # or the next batch's would be made beside them
        count += int(batch.mask.sum()) if batch.mask is not None else len(batch)
    synchronize(engine.device)
    return (time.perf_counter() - start) / max(count, 1)


@dataclass(frozen=True)
class Product:
    """Costs of multiplying a vector with the curvature of a batch: `seconds` per token, those of
    recording the batch before it, `record`, and `growth` of memory, bytes.

    A product with many vectors takes some of them at a time, and its memory is that of these.
    """

    seconds: float = 0.0
    growth: float = 0.0
    record: float = 0.0


def _product(reader: Reader, items: Items, vectors: int) -> Product:
    """Measure products on a batch as large as any, with as many vectors as are taken at a time."""
    examples, together = bounded(reader, _full(items, product_size(reader)[0]))
    count = max(1, min(vectors, together))
    ones = torch.ones(count, reader.engine.size, dtype=reader.engine.dtype)
    ones = ones.to(reader.engine.device)
    release()
    products = Products(reader.engine, examples, together=together)
    _, batch = next(iter(examples))
    tokens = int(batch.mask.sum()) if batch.mask is not None else len(batch)
    with Watch() as watch:
        products.part(batch)(ones)  # what is made once
        start = _now(reader)
        part = products.part(batch)
        times = [_now(reader)]
        for _ in range(_TIMED):
            part(ones)
            times.append(_now(reader))
    del part
    # There may be thousands: one that something else held up would be told as thousands.
    seconds = float(np.median(np.diff(times))) / (count * max(tokens, 1))
    return Product(seconds, watch.growth, (times[0] - start) / max(tokens, 1))


def _now(reader: Reader) -> float:
    """Return the time, once the device has done what it was given."""
    synchronize(reader.engine.device)
    return time.perf_counter()


def _fitting(reader: Reader, how: Curvature, queries: int, product: float) -> float:
    """Return the bytes held at once while the preconditioner is fitted and applied; `product`:
    while vectors are multiplied with the curvature.
    """
    engine = reader.engine
    size, blocks = engine.size, list(engine.blocks)
    together = min(queries, max(1, TOGETHER // size))
    applied = 4.0 * size * together * 4 + 12.0 * size
    if not how.fitted:
        return applied
    turned = 4.0 * reader.batch_windows * reader.largest * 2
    if how.solver in ("diagonal", "adam_cg"):
        held = 20.0 * size + max(turned, applied)
        return held + (product + 12.0 * size if how.solver == "adam_cg" else 0.0)
    if how.solver == "dense":
        # The matrix alone while it is summed; then a damped one and its factor beside it.
        matrix = 8.0 * size * size
        return max(3 * matrix, matrix + product) + applied
    ids = engine.tables  # their rows are not rotated
    lengths = [
        n for i, b in enumerate(blocks) for n in (b.columns, *(() if i in ids else (b.rows,)))
    ]
    sides = [parts_of(n, how.factor_width) for n in lengths]
    # Sums in float64, vectors in float32 beside them, and what finding the largest ones takes.
    square = 12.0 * sum(prod(side) for side in sides) + 40.0 * max(n * n for _, n, _ in sides)
    values = 8.0 * size * (2 if how.solver != "kfac" else 1) + 4.0 * size
    held = square + values + max(turned if how.solver != "kfac" else 0.0, applied)
    return held + (product if how.solver in ("ekfac_cg", "lissa") else 0.0)
