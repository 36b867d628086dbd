"""Into what pieces the scoring of documents is cut: by the work that a document makes.

What is done when a run is killed is kept slice by slice, and units are what workers take, so both
should be a matter of seconds however large the model is. They are told from the number of
operations alone, not from a clock: the same run is cut in the same way on any machine and as busy
as it may be. Pieces change scores by rounding alone.
"""

from __future__ import annotations

from dataclasses import replace

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.units import TARGET_BYTES, split
from dataworth.features.gradients.language import Reader
from dataworth.features.store import SLICE

SPEED = 2e10
"""Operations a second of one core, of a small model; large ones come to several times as many."""
SLICE_SECONDS, UNIT_SECONDS = 30.0, 2.0
_TOKEN_BYTES = 4  # of text
_LEAST_UNIT, _MOST_UNITS = 1 << 15, 512
_LEAST_SLICE = 4


def operations(reader: Reader, queries: int) -> float:
    """Of one token: a forward and backward pass, its part of a gradient, and of the gradient's
    products with the queries, one for each window.
    """
    whole = sum(parameter.numel() for parameter in reader.model.parameters())
    return 6.0 * whole + 2.0 * reader.engine.size * (1 + queries / reader.context)


def slice_of(reader: Reader, queries: int, tokens: float) -> int:
    """Documents of so many tokens in the mean that are about half a minute of work."""
    each = operations(reader, queries) * max(tokens, 1.0)
    return int(min(max(SLICE_SECONDS * SPEED / each, _LEAST_SLICE), SLICE))


def cut(corpus: Corpus, reader: Reader, queries: int) -> Corpus:
    """The corpus in units of some seconds of work, so that small ones have work for all workers."""
    size = UNIT_SECONDS * SPEED / operations(reader, queries) * _TOKEN_BYTES
    size = min(max(size, _LEAST_UNIT, corpus.size / _MOST_UNITS), TARGET_BYTES)
    found = split(
        corpus.files,
        int(size),
        txt=corpus.fields.txt,
        storage_options=dict(corpus.storage_options) if corpus.storage_options else None,
    )
    return replace(corpus, units=tuple(found))
