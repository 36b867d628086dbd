"""Words of a list: how many of them a document holds, and dropping what holds too many.

C4 drops a page with any word of a list (Raffel et al. 2019, section 2.2). No list comes with the
package; the file says under which licence it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from dataworth.corpus.documents import Column, Documents
from dataworth.errors import ConfigError
from dataworth.features.grams import ngrams_of, words_of
from dataworth.features.rows import read_text
from dataworth.methods.base import DROP, Batch, Pool, State, Targets, drop_column
from dataworth.options import option
from dataworth.registry import register


@register
@dataclass(frozen=True)
class WordList:
    """Drop documents that hold words of a list, and count those words.

    An entry of several words counts where they stand in a row. Case, accents and signs do not
    matter; a character of a script without spaces is a word.
    """

    name: ClassVar[str] = "word_list"
    version: ClassVar[int] = 1
    needs_target: ClassVar[bool] = False
    reads_pool: ClassVar[bool] = False
    reasons: ClassVar[tuple[str, ...]] = ("words of the list",)
    file: str = option(
        help="One word or phrase a line; a line '# licence: …' tells its licence, and other lines "
        "with # are passed over.",
        content=True,
    )
    most: int | None = option(
        0, help="Occurrences that are allowed; null: none is dropped, they are counted.", minimum=0
    )
    share: bool = option(False, help="Count occurrences per word of the document.")

    def check(self) -> None:
        """Raise ConfigError unless the list is there, with a licence and with words."""
        if not Path(self.file).is_file():
            raise ConfigError(f"{self.name}: {self.file}: there is no such list of words")
        lines = read_text(Path(self.file)).splitlines()
        if not any(line.lower().replace(" ", "").startswith("#licence:") for line in lines):
            raise ConfigError(
                f"{self.name}: {self.file}: says no licence; add a line '# licence: NAME'"
            )
        if not self._entries():
            raise ConfigError(f"{self.name}: {self.file}: holds no word; write one a line")

    def _entries(self) -> list[str]:
        lines = read_text(Path(self.file)).splitlines()
        return [line.strip() for line in lines if line.strip() and not line.startswith("#")]

    def columns(self, targets: Sequence[str]) -> tuple[Column, ...]:
        """Return `drop` and the number of words."""
        unit = "listed words per word" if self.share else "listed words"
        return (
            drop_column(self.name),
            Column(f"words:{self.name}", pa.float64(), unit, self.name),
        )

    def fit(self, pool: Pool, targets: Targets) -> dict[str, Any]:
        """Read the list."""
        words = words_of(Documents.from_texts(self._entries()), punctuation=False)
        lengths = np.unique(words.counts[words.counts > 0])
        hashes = []
        for size in lengths.tolist():
            grams = ngrams_of(words, size)
            hashes.append(grams.hashes[np.repeat(words.counts, grams.counts) == size])
        sizes = np.repeat(lengths, [len(part) for part in hashes])
        return {"hashes": np.concatenate([np.empty(0, np.uint64), *hashes]), "sizes": sizes}

    def annotate(self, batch: Batch, state: State) -> dict[str, Any]:
        """Return `drop` and the number of words."""
        words = words_of(batch.documents, punctuation=False)
        counts = np.zeros(len(words))
        for size in np.unique(state["sizes"]).tolist():
            grams = ngrams_of(words, size)
            listed = np.isin(grams.hashes, state["hashes"][state["sizes"] == size])
            owner = np.repeat(np.arange(len(words)), grams.counts)
            counts += np.bincount(owner[listed], minlength=len(words))
        bad = counts > self.most if self.most is not None else np.zeros(len(words), np.bool_)
        if self.share:
            counts /= np.maximum(words.counts, 1)
        return {DROP: bad.astype(np.uint8), f"words:{self.name}": counts}
