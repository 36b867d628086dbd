"""What is known of a pool that no method sees, and a selection in numbers: for quality, defaults.

For each target of the real data: which domains of the pool are the right ones, a budget (a million
tokens, or half of what the right domains hold if that is less), and a validation file that nothing
was fitted or tuned on. A choice is judged by

- KL reduction: KL(validation ‖ random) - KL(validation ‖ selection) in nats over hashed 1- and
  2-grams, as the report of a run has it (`dataworth.measures.kl`), but on the whole selection, and
  against the mean of many random selections of equal size from the whole pool;
- share and recall of the right domains, by tokens;
- effective sample size of the weights over the documents chosen: far below 1, the noise does not
  matter and sampling is top-k;
- length: the rank correlation of utility and length within the right domains, where no difference
  between domains can cause one, and the median length of the selection over that of the pool;
- how many sources (books, articles, projects) the selection is from, and how many copies it holds.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common import data_folder
from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.corpus.uid import hash_uid
from dataworth.features.ngrams import HashedNgrams
from dataworth.flow.metrics import temperature_of
from dataworth.flow.scores import Scores
from dataworth.flow.selection import Selection
from dataworth.measures.kl import FEATURE, divergence, smoothed
from dataworth.measures.weights import effective_sample_size, length_correlation

RIGHT = {
    "wiki_books": ("wikipedia", "books"),
    "code": ("code",),
    "math": ("math",),
    "biomed": ("biomed",),
    "dialogue": ("dialogue",),
    "legal": ("legal",),
}
MOST_TOKENS = 1_000_000
COPY = "copy-"  # ids of planted near duplicates begin so (dirt.py)
_STREAM = 0x6F7261636C65
# The random selections that a KL reduction is against: their sizes in bytes, and how many of each.
_BYTES = np.geomspace(500_000, 12_000_000, 8)
_DRAWS = 40
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Outcome:
    """A choice in numbers; NaN where a number is not defined. See the top of the file."""

    kl: float
    share: float
    recall: float
    effective: float
    length_rank: float
    length_ratio: float
    sources: float
    copies: float
    documents: float
    temperature: float


NAMES = tuple(field.name for field in fields(Outcome))


def target_file(name: str, part: str = "target") -> Path:
    """The file of a target ("target") or of its validation ("val")."""
    (found,) = (data_folder() / "targets").glob(f"{name}.{part}.jsonl*")
    return found


def target_files() -> dict[str, str]:
    """Every target's name and path."""
    return {name: str(target_file(name)) for name in RIGHT}


def read(path: Path) -> Documents:
    """A small file in memory."""
    return Corpus.open(path).read_all()[0]


class Distance:
    """KL divergence of each target's validation documents from chosen and from random ones."""

    def __init__(self, pool: Documents, feature: HashedNgrams = FEATURE) -> None:
        self._feature = feature
        self._target = {
            name: smoothed(feature.count(read(target_file(name, "val"))).counts) for name in RIGHT
        }
        sizes = np.empty((_DRAWS, len(_BYTES)))
        far = np.empty((_DRAWS, len(_BYTES), len(RIGHT)))
        for draw in range(_DRAWS):
            order = np.argsort(hash_uid(draw, pool.uid, _STREAM))
            stops = np.searchsorted(np.cumsum(pool.text_bytes[order]), _BYTES) + 1
            counts = np.zeros(feature.buckets, np.int64)
            for i, (start, stop) in enumerate(zip([0, *stops[:-1]], stops, strict=True)):
                counts += feature.count(pool.take(order[start:stop])).counts
                sizes[draw, i] = counts.sum()
                far[draw, i] = [divergence(p, smoothed(counts)) for p in self._target.values()]
        self._sizes = np.log(sizes).mean(0)
        self._random = dict(zip(RIGHT, far.mean(0).T, strict=True))

    def reduction(self, target: str, documents: Documents) -> float:
        """KL(validation ‖ random) - KL(validation ‖ documents), in nats."""
        found = self._feature.count(documents)
        size = np.log(float(found.grams.sum()))
        random = float(np.interp(size, self._sizes, self._random[target]))
        return random - divergence(self._target[target], smoothed(found.counts))


class Yardstick:
    """A pool in memory, with its domains and each target's budget and validation documents.

    `scores` may be of any run on the pool that kept the fields `domain` and `source`, and `id`.
    `distance`: of another form of the pool, to be compared with.
    """

    def __init__(self, scores: Scores, distance: Distance | None = None) -> None:
        self.documents = scores.scored.corpus.read_all()[0]
        table = scores.table
        if not np.array_equal(self.documents.uid, table.column("uid")):
            raise SystemExit("the pool's rows are not in the order of the table")
        codes, domains = table.codes("domain")
        domain = np.array([str(name) for name in domains])[codes]
        self._source = table.codes("source")[0]
        ids, names = table.codes("id")
        self._copy = np.array([str(name).startswith(COPY) for name in names])[ids]
        self._tokens = table.column("tokens")
        # Exact copies are dropped by every choice, so they do not count as held by the pool.
        first = np.zeros(len(table), np.bool_)
        first[np.unique(self.documents.uid, return_index=True)[1]] = True
        self._first = first
        self.right = {name: np.isin(domain, RIGHT[name]) for name in RIGHT}
        self.held = {name: int(self._tokens[self.right[name] & first].sum()) for name in RIGHT}
        self.budget = {name: min(MOST_TOKENS, self.held[name] // 2) for name in RIGHT}
        self.distance = distance or Distance(self.documents.take(first))

    def oracle(self, target: str, seed: int) -> Rows:
        """Random documents of the right domains alone, for the budget."""
        rows = np.flatnonzero(self.right[target] & self._first)
        rows = rows[np.argsort(hash_uid(seed, self.documents.uid[rows], _STREAM))]
        enough = np.searchsorted(np.cumsum(self._tokens[rows]), self.budget[target]) + 1
        return np.sort(rows[:enough])

    def judge_rows(self, target: str, rows: Rows) -> Outcome:
        """Rows of the table, without a utility."""
        chosen = self._tokens[rows].astype(np.float64)
        right = self.right[target][rows]
        sizes = self.documents.text_bytes
        return Outcome(
            kl=self.distance.reduction(target, self.documents.take(rows)),
            share=float(chosen[right].sum() / chosen.sum()),
            recall=float(chosen[right].sum() / self.held[target]),
            effective=float("nan"),
            length_rank=float("nan"),
            length_ratio=float(np.median(sizes[rows]) / np.median(sizes)),
            sources=float(len(np.unique(self._source[rows]))),
            copies=float(self._copy[rows].mean()),
            documents=float(len(rows)),
            temperature=float("nan"),
        )

    def judge(self, target: str, selection: Selection) -> Outcome:
        """A selection for one target."""
        found = self.judge_rows(target, selection.rows)
        choice = selection.choice
        if not choice.view.utilities or choice.mechanism_text == "random":
            return found
        (column,) = choice.view.utilities
        utility = choice.view.column(column)
        temperature = temperature_of(choice, column)
        effective = float("nan")
        if temperature is not None:
            eligible = utility[choice.candidates.eligible]
            effective = effective_sample_size(eligible, temperature) / len(selection)
        inside = np.where(self.right[target] & choice.candidates.eligible, utility, np.nan)
        rank = length_correlation(inside, self.documents.text_bytes, self.documents.uid)[1]
        return Outcome(
            **{
                **{name: getattr(found, name) for name in NAMES},
                "effective": effective,
                "length_rank": rank,
                "temperature": float("nan") if temperature is None else temperature,
            }
        )


def label_of(scores: Scores, position: int) -> str:
    """What the columns of the step at a place in `steps` are called by."""
    return scores.settings.labels[position]
