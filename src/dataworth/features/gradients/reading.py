"""Documents as tokens, cut into the windows that a causal language model sees at once."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from dataworth.corpus.documents import Documents
from dataworth.engine.device import AUTO, check_device
from dataworth.errors import ConfigError
from dataworth.lm.chats import ChatTemplate, Read

log = logging.getLogger("dataworth")

CHATS = ("model", "text")
LONGEST = 2048
"""Tokens that a model sees at once, unless it is said how many: contexts of long ones need memory
for all pairs of positions, and for the logits of all."""


@dataclass(frozen=True)
class Reading:
    """Options for reading. `layers`: patterns of the modules that count (`*.mlp.*`); none: all
    with trained parameters. `context`: tokens that the model sees at once, 0: as many as it was
    made for, 2,048 at most. `windows`: of a document that count, from its beginning; 0: all.
    `batch_tokens`: positions that run at once, 0: as suits the model; it changes results by
    rounding alone.
    `chats`: "model": chats are read by the chat template beside the model's tokenizer, if there is
    one; "text": as the text that the documents' own template made of them. `device`: where the
    model runs, auto (CUDA if there, else the CPU), cpu, cuda or cuda:1; `dtype`: of its parameters.
    Sums are float32, or float64 where it is.
    """

    layers: tuple[str, ...] = ()
    context: int = 0
    windows: int = 0
    batch_tokens: int = 0
    chats: str = "model"
    device: str = AUTO
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.chats not in CHATS:
            raise ConfigError(f"chats is {' or '.join(CHATS)}, not {self.chats!r}")
        check_device(self.device, self.dtype, sums="float64")
        if self.context < 0 or self.context == 1 or self.windows < 0 or self.batch_tokens < 0:
            raise ConfigError(
                "context is 0 (the model's own) or at least 2 tokens, windows and batch_tokens are "
                f"0 or more, not {self.context}, {self.windows}, {self.batch_tokens}"
            )


@dataclass(frozen=True, eq=False)
class Items:
    """Documents cut into windows: what a task lays batches of.

    `items`: ids, or (ids, which of them count). `owner`, `number` int64 [items]: the document of
    each, and which of its windows it is. `uid` uint64 [items]. `tokens` int64 [documents]: that are
    predicted.
    """

    items: list[Any]
    owner: NDArray[np.int64]
    number: NDArray[np.int64]
    uid: NDArray[np.uint64]
    tokens: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> Items:
        """Return some of the windows."""
        items = [self.items[row] for row in rows]
        return replace(
            self, items=items, owner=self.owner[rows], number=self.number[rows], uid=self.uid[rows]
        )


def by_windows(items: Items, documents: int) -> tuple[Items, Items]:
    """Split windows into those of documents that have one, and of those that have several."""
    alone = np.bincount(items.owner, minlength=documents)[items.owner] == 1
    return items.take(np.flatnonzero(alone)), items.take(np.flatnonzero(~alone))


class Readings:
    """Documents as tokens, by a tokenizer: chats by the model's template, if one is given.

    `edges`: the ids before and after a document; None: none.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        edges: tuple[int | None, int | None],
        template: ChatTemplate | None = None,
    ) -> None:
        self.tokenizer, self.template = tokenizer, template
        self.first, self.last = ([] if edge is None else [edge] for edge in edges)
        self._told = False

    def read(self, documents: Documents) -> list[Read]:
        """Return each document as tokens."""
        out: list[Read | None] = [None] * len(documents)
        turns = turns_of(documents) if self.template is not None else {}
        if self.template is not None and turns:
            for row, found in zip(turns, self.template.read(list(turns.values())), strict=True):
                if isinstance(found, Read):
                    out[row] = found
                else:
                    self._tell(found)
        rows = [row for row, found in enumerate(out) if found is None]
        encoded = self.tokenizer.encode_batch(
            [documents.text(row) for row in rows], add_special_tokens=False
        )
        counted = spoken(documents, dict(zip(rows, encoded, strict=True)))
        for row, one in zip(rows, encoded, strict=True):
            counts = counted.get(row)
            if counts is not None:
                counts = [*(False for _ in self.first), *counts, *(True for _ in self.last)]
            ids = [*self.first, *one.ids, *self.last]
            out[row] = Read(documents.text(row), ids, one.offsets, len(self.first), counts)
        return [one for one in out if one is not None]

    def _tell(self, why: str) -> None:
        if not self._told:
            log.warning("the model's chat template refuses chats, which are read as text: %s", why)
        self._told = True


def turns_of(documents: Documents) -> dict[int, list[tuple[str, str]]]:
    """Return the turns of chats (role, content), by row."""
    spans = documents.spans
    out: dict[int, list[tuple[str, str]]] = {}
    if spans is None:
        return out
    data, starts = documents.data, documents.starts
    for span in np.argsort(spans.document, kind="stable").tolist():
        row = int(spans.document[span])
        first, last = int(spans.start[span]), int(spans.end[span])
        content = data[starts[row] + first : starts[row] + last].tobytes().decode()
        out.setdefault(row, []).append((spans.role[span], content))
    return out


def spoken(documents: Documents, encoded: Mapping[int, Encoding]) -> dict[int, list[bool]]:
    """Return by row, for chats only, which tokens the assistant says."""
    spans = documents.spans
    if spans is None:
        return {}
    out: dict[int, list[bool]] = {}
    for row in np.intersect1d(spans.document, np.array(list(encoded), np.int64)).tolist():
        data = documents.text(row).encode()
        mask = np.zeros(len(data.decode()), np.bool_)
        for span in np.flatnonzero(spans.document == row).tolist():
            if spans.role[span] == "assistant":
                # Offsets of tokens are in characters, those of spans in bytes.
                first = len(data[: int(spans.start[span])].decode())
                last = len(data[: int(spans.end[span])].decode())
                mask[first:last] = True
        out[row] = [bool(mask[a:b].any()) for a, b in encoded[row].offsets]
    return out
