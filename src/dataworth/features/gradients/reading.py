"""How documents are cut into the windows that a causal language model sees at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding

from dataworth.corpus.documents import Documents
from dataworth.errors import ConfigError


@dataclass(frozen=True)
class Reading:
    """How documents are read. `layers`: patterns of the modules that count (`*.mlp.*`); none: all
    with trained parameters. `context`: tokens that the model sees at once, 0: as many as it was
    made for. `windows`: of a document that count, from its beginning; 0: all. `batch_tokens`:
    positions that run at once, 0: as suits the model; it changes results by rounding alone.
    """

    layers: tuple[str, ...] = ()
    context: int = 0
    windows: int = 0
    batch_tokens: int = 0

    def __post_init__(self) -> None:
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
        """Some windows."""
        items = [self.items[row] for row in rows]
        return replace(
            self, items=items, owner=self.owner[rows], number=self.number[rows], uid=self.uid[rows]
        )


def by_windows(items: Items, documents: int) -> tuple[Items, Items]:
    """The windows of documents that have one, and of those that have several."""
    alone = np.bincount(items.owner, minlength=documents)[items.owner] == 1
    return items.take(np.flatnonzero(alone)), items.take(np.flatnonzero(~alone))


def spoken(documents: Documents, encoded: Sequence[Encoding]) -> dict[int, list[bool]]:
    """For chats: which tokens the assistant says, by row. Others are not in it."""
    spans = documents.spans
    if spans is None:
        return {}
    out: dict[int, list[bool]] = {}
    for row in np.unique(spans.document).tolist():
        data = documents.text(row).encode()
        said = np.zeros(len(data.decode()), np.bool_)
        for place in np.flatnonzero(spans.document == row).tolist():
            if spans.role[place] == "assistant":
                # Offsets of tokens are in characters, those of spans in bytes.
                first = len(data[: int(spans.start[place])].decode())
                last = len(data[: int(spans.end[place])].decode())
                said[first:last] = True
        out[row] = [bool(said[a:b].any()) for a, b in encoded[row].offsets]
    return out
