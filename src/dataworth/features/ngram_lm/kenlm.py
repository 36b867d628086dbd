"""Scores by a model file of KenLM, `.arpa` or binary, through the package `kenlm`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from dataworth.corpus.documents import Documents
from dataworth.errors import InputError
from dataworth.features.ngram_lm.model import LineScores, lines_of
from dataworth.features.ngrams import HashedNgrams


@dataclass(frozen=True)
class KenlmModel:
    """A model file that KenLM reads: it gets the words of each line with spaces between them."""

    path: str
    tokens: str = "wordpunct"

    @cached_property
    def _model(self) -> Any:
        import kenlm

        config = kenlm.Config()
        config.show_progress = False
        config.arpa_complain = kenlm.ARPALoadComplain.NONE
        try:
            return kenlm.Model(self.path, config)
        except Exception as error:  # the library raises OSError and RuntimeError, over many lines
            reason = str(error).replace("\n", " ").rpartition("because")[2].strip() or "unknown"
            raise InputError(
                f"{self.path}: KenLM cannot read it ({reason}); is it a whole .arpa or binary file?"
            ) from error

    def score(self, documents: Documents) -> LineScores:
        """Score every line of the documents that has a word; `unknown` is not counted."""
        owner, lines = lines_of(documents)
        feature = HashedNgrams(1, 2, self.tokens)
        counts = feature.lengths(lines)
        text, ends = feature.words(lines)
        written, last = text.tobytes(), np.cumsum(counts)
        log10, words = np.zeros(len(documents)), np.zeros(len(documents), np.int64)
        model = self._model
        for row, count, stop in zip(owner.tolist(), counts.tolist(), last.tolist(), strict=True):
            if count:
                start = int(ends[stop - count - 1]) + 1 if stop > count else 0
                log10[row] += model.score(written[start : int(ends[stop - 1])])
                words[row] += count + 1
        return LineScores(log10, words, np.zeros_like(words))


def check_file(path: str) -> None:
    """Raise InputError unless there is such a file, and KenLM reads it."""
    if not Path(path).is_file():
        raise InputError(f"{path}: there is no such model file of KenLM")
    KenlmModel(path)._model  # noqa: B018
