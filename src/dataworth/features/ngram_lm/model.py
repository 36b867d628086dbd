"""A backoff n-gram language model: its tables, scores of documents, and the ARPA format."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.engine.files import atomic
from dataworth.errors import DataworthError
from dataworth.features.ngram_lm import kernels
from dataworth.features.ngram_lm.kernels import BEGIN, END, SPECIALS, UNKNOWN
from dataworth.features.ngrams import HashedNgrams

NAMES = ("<unk>", "<s>", "</s>")
_NOTHING = np.empty(0)


@dataclass(frozen=True)
class LineScores:
    """Scores of documents line by line, int64 and float64 [n].

    `log10`: the sum of log10 probabilities of words and of one end a line. `words`: how many these
    are, ends included. `unknown`: words that the model does not know.
    """

    log10: NDArray[np.float64]
    words: NDArray[np.int64]
    unknown: NDArray[np.int64]

    @property
    def nats(self) -> NDArray[np.float64]:
        """Cross-entropy in nats per word, NaN for a document without a word: ln of perplexity."""
        with np.errstate(invalid="ignore"):
            words = np.where(self.words, self.words, np.nan)
            return np.asarray(-np.log(10) * self.log10 / words, np.float64)


def lines_of(documents: Documents) -> tuple[NDArray[np.int64], Documents]:
    """Split documents into lines: the row of each one's document, int64 [lines], and the lines."""
    breaks = int(np.count_nonzero(documents.data == 10))
    owner, starts, ends = np.empty((3, len(documents) + breaks), np.int64)
    total = kernels.find_lines(
        documents.data, documents.starts, documents.ends, owner, starts, ends
    )
    owner = owner[:total]
    whole = replace(documents, columns={}, spans=None).take(owner)
    return owner, replace(whole, starts=starts[:total], ends=ends[:total])


@dataclass(frozen=True, eq=False)
class NgramModel:
    """A model of words within lines, as the arrays that are saved.

    Words are numbered from 0 with <unk>, <s> and </s> first; n-grams too, those of one word by
    their word, then the longer ones by their length.

    Parameters
    ----------
    tokens : what a word is, as in `HashedNgrams`.
    text : uint8, the words beside the three as UTF-8, each with a space behind it.
    hashes : uint64 [V - 3], of these words.
    sizes : int64 [order], n-grams of each length; the first is V.
    prefix, suffix, word : int32 [N], the n-gram without its last word, without its first one, and
        its last word; -1 for n-grams of one word.
    log_prob, backoff : float32 [N], log10.
    """

    tokens: str
    text: NDArray[np.uint8]
    hashes: NDArray[np.uint64]
    sizes: NDArray[np.int64]
    prefix: NDArray[np.int32]
    suffix: NDArray[np.int32]
    word: NDArray[np.int32]
    log_prob: NDArray[np.float32]
    backoff: NDArray[np.float32]
    order: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "order", len(self.sizes))

    def arrays(self, name: str = "model") -> dict[str, NDArray[Any]]:
        """Return the arrays to save, under names that begin with `name`."""
        return {f"{name}_{key}": getattr(self, key) for key in ARRAYS}

    @classmethod
    def read(cls, array: Callable[..., NDArray[Any]], tokens: str, name: str = "model") -> Self:
        """Return a model of saved arrays; `array(name, type, shape)` gives one, checked."""
        sizes = array(f"{name}_sizes", np.int64, (None,))
        total, known = int(sizes.sum()), int(sizes[0]) - SPECIALS
        lengths = {"text": None, "sizes": len(sizes), "hashes": known}
        values = {
            key: array(f"{name}_{key}", kind, (lengths.get(key, total),))
            for key, kind in ARRAYS.items()
        }
        return cls(tokens, **values)

    @property
    def words(self) -> list[str]:
        """The words by number."""
        return [*NAMES, *self.text.tobytes().decode().split(" ")[:-1]]

    @property
    def feature(self) -> HashedNgrams:
        """The feature that cuts texts into words."""
        return HashedNgrams(1, 2, self.tokens)

    def score(self, documents: Documents) -> LineScores:
        """Score every line of the documents that has a word, from <s> to </s>."""
        return self._score(documents, _NOTHING)[0]

    def explain(self, text: str) -> list[tuple[str, float]]:
        """Return the words of a text in turn with their log10 probabilities, ends of lines too."""
        documents = Documents.from_texts([text])
        _, lines = lines_of(documents)
        spans, _ = self.feature.hashes(lines)
        each = np.zeros(int(spans[-1]) + len(lines))
        self._score(documents, each)
        named = self.feature.words(lines)[0].tobytes().decode().split(" ")[:-1]
        out: list[tuple[str, float]] = []
        for line, (start, end) in enumerate(pairwise(spans.tolist())):
            if start < end:
                logs = each[start + line : end + line + 1].tolist()
                out += zip([*named[start:end], NAMES[END]], logs, strict=True)
        return out

    def _score(
        self, documents: Documents, each: NDArray[np.float64]
    ) -> tuple[LineScores, NDArray[np.float64]]:
        owner, lines = lines_of(documents)
        spans, hashes = self.feature.hashes(lines)
        sums = np.zeros(len(documents))
        words, unknown = np.zeros((2, len(documents)), np.int64)
        kernels.score(hashes, spans, owner, *self._automaton, sums, words, unknown, each)
        return LineScores(sums, words, unknown), each

    @cached_property
    def _automaton(self) -> tuple[NDArray[Any], ...]:
        """The kernel's arguments: two tables, and arrays by word and by state."""
        known = int(self.sizes[0])
        extended = np.zeros(len(self.prefix), np.bool_)
        extended[self.prefix[known:]] = True
        # A state that nothing continues has a backoff of 0, and leads to the same as its suffix.
        state = np.arange(len(self.prefix), dtype=np.int32)
        bounds = np.cumsum(self.sizes)
        for start, end in zip([0, *bounds[:-1]], bounds, strict=True):
            shorter = self.suffix[start:end]
            behind = np.where(shorter < 0, np.int32(-1), state[shorter])
            state[start:end] = np.where(extended[start:end], state[start:end], behind)
        fallback = np.where(self.suffix < 0, np.int32(-1), state[self.suffix])
        table = empty_table(len(self.prefix) - known)
        floats = table.view(np.float32).reshape(len(table), 4)
        kernels.fill_ngrams(
            self.prefix[known:],
            self.word[known:],
            state[known:],
            self.log_prob[known:],
            table,
            floats,
        )
        return (
            word_table(self.hashes),
            table,
            floats,
            self.log_prob[:known],
            np.ascontiguousarray(state[:known]),
            self.backoff,
            fallback,
        )

    def write_arpa(self, path: Path) -> None:
        """Write the model in the ARPA format, which KenLM, SRILM and others read.

        DataworthError if a word of the model is named like one that every model has.
        """
        names = self.words
        clash = set(NAMES) & set(names[SPECIALS:])
        if clash:
            raise DataworthError(
                f"{path}: the text has the word {min(clash)}, which has a meaning of its own in "
                "the ARPA format; take it out, or use other tokens"
            )
        with atomic(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            file.write("\\data\\\n")
            file.writelines(f"ngram {n}={size}\n" for n, size in enumerate(self.sizes, 1))
            for n, lines in enumerate(self._arpa_lines(names), 1):
                file.write(f"\n\\{n}-grams:\n")
                file.writelines(lines)
            file.write("\n\\end\\\n")

    def _arpa_lines(self, words: list[str]) -> Iterator[Iterator[str]]:
        """Yield lines of the n-grams of each length."""
        before, start, first = [""], 0, 0
        for n, size in enumerate(self.sizes.tolist(), 1):
            span = slice(start, start + size)
            prefix = (self.prefix[span] - first).tolist() if n > 1 else [0] * size
            space = " " if n > 1 else ""
            grams = [
                before[p] + space + words[w]
                for p, w in zip(prefix, self.word[span].tolist(), strict=True)
            ]
            rows = zip(
                grams, self.log_prob[span].tolist(), self.backoff[span].tolist(), strict=True
            )
            last = n == self.order
            yield (f"{p:.7g}\t{g}\n" if last else f"{p:.7g}\t{g}\t{b:.7g}\n" for g, p, b in rows)
            before, first, start = grams, start, start + size


ARRAYS: dict[str, Any] = {
    "text": np.uint8,
    "hashes": np.uint64,
    "sizes": np.int64,
    **dict.fromkeys(("prefix", "suffix", "word"), np.int32),
    **dict.fromkeys(("log_prob", "backoff"), np.float32),
}
"""A model's arrays, with their types."""


def empty_table(entries: int) -> NDArray[np.uint64]:
    """Make an empty table with room for so many entries, at most half full."""
    return np.zeros((1 << max(2 * entries, 2).bit_length(), 2), np.uint64)


def word_table(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Build the table of words from their hashes."""
    table = empty_table(len(hashes))
    kernels.collect_words(hashes, table, np.empty(len(hashes), np.int64))
    return table


__all__ = ["BEGIN", "END", "UNKNOWN", "LineScores", "NgramModel", "lines_of", "word_table"]
