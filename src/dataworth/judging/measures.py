"""Measures of a judgement: records made from the facts about the documents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.features.grams import words_of
from dataworth.flow.choosing import Choice
from dataworth.flow.metrics import SelectionText, composition
from dataworth.judging.look import Groups, Looked
from dataworth.judging.subject import Subject
from dataworth.measures import contamination as contaminations
from dataworth.measures import diversity as varieties
from dataworth.measures import duplicates as copies
from dataworth.measures.contamination import Index
from dataworth.measures.overlap import expected_jaccard, jaccard, rank_correlation
from dataworth.mechanism.base import split_name
from dataworth.results import judgement as model
from dataworth.results.histogram import histogram
from dataworth.results.selection import Composition, Lengths

DIVERSITY_BYTES = 4 * 2**20
_EXAMPLES = 5
_EXCERPT = 500


@dataclass
class Pool:
    """The pool as it is measured against. `uid` uint64 and `text_bytes` int64: of all documents.

    `sample`: a random sample of it, by growing hash. `tokens`: of all of it.
    """

    name: str
    sample: Documents
    uid: NDArray[np.uint64]
    text_bytes: NDArray[np.int64]
    tokens: int
    groups: Groups = field(default_factory=dict)


def text_of(looked: Looked) -> SelectionText:
    """Return the part of the selection that the text measures look at."""
    n, of = len(looked.sample), len(looked)
    how = f"all {of:,} documents" if n == of else f"{n:,} random documents of {of:,}"
    return SelectionText(looked.sample, f"{how} of the selection")


def judged(subject: Subject, looked: Looked) -> model.Judged:
    """Return the selection's name, kind and size, and how it was chosen if that is known."""
    chosen = subject.selection
    record: model.Judged = {
        "name": subject.name,
        "kind": "files" if chosen is None else "selection",
        "path": subject.path,
        "documents": len(looked),
        "distinct": len(np.unique(looked.uid)),
        "tokens": int(looked.tokens.sum()),
        "tokens_estimated": True,
        "bytes": int(looked.text_bytes.sum()),
        "bad": dict(looked.bad),
    }
    if chosen is not None:
        record["tokens"] = int((chosen.choice.tokens * chosen.choice.counts.astype(np.int64)).sum())
        record["tokens_estimated"] = not chosen.choice.exact
        record["chosen_by"] = chosen.choice.mechanism_text
        record["budget"] = chosen.choice.settings.budget
        record["bad"] = {}  # those of the pool, if it was read, are not the selection's
    return record


def of_pool(pool: Pool, looked: Looked) -> model.OfPool:
    """Return the pool's size, and how much of the selection is in it."""
    mine = np.unique(looked.uid)
    found = int(np.count_nonzero(np.isin(mine, pool.uid)))
    return {
        "name": pool.name,
        "documents": len(pool.uid),
        "tokens": pool.tokens,
        "bytes": int(pool.text_bytes.sum()),
        "found": found,
        "found_share": found / len(mine) if len(mine) else None,
    }


def compositions(fields: tuple[str, ...], looked: Groups, pool: Groups | None) -> list[Composition]:
    """Return the composition by each field. Without a pool, its amounts are 0."""
    out = []
    for name in fields:
        mine, theirs = looked.get(name, {}), (pool or {}).get(name, {})
        values = sorted({*mine, *theirs}, key=lambda value: (value is None, value or ""))
        # The largest of the selection first where there is no pool to go by.
        values.sort(key=lambda value: -mine.get(value, (0, 0))[1])
        sums = [
            (
                [side.get(value, (0, 0))[0] for value in values],
                [side.get(value, (0, 0))[1] for value in values],
            )
            for side in (theirs, mine)
        ]
        out.append(composition(name, values, pool=sums[0], selection=sums[1]))
    return out


def lengths(looked: Looked, pool: Pool | None) -> Lengths | None:
    """Return histogram and median of the documents' bytes, in selection and pool."""
    mine = looked.text_bytes
    if not len(mine):
        return None
    whole = None if pool is None else pool.text_bytes
    record: Lengths = {
        "unit": "bytes",
        "histogram": histogram(pool=whole, selection=mine, log=True),
        "median": {"selection": float(np.median(mine))},
    }
    if whole is not None and len(whole):
        record["median"]["pool"] = float(np.median(whole))
    return record


def duplicates(subject: Subject, looked: Looked, pool: Pool | None) -> model.Duplicates:
    """Count the texts that are there more than once, to the byte and nearly."""
    exact = copies.exact(looked.uid)
    group = copies.near(looked.sketches)
    near, of = int(np.count_nonzero(group != np.arange(len(group)))), len(group)
    few = "" if of >= exact.distinct else f"; on {of:,} of {exact.distinct:,} different texts"
    record: model.Duplicates = {
        "exact": exact.repeated,
        "exact_share": exact.repeated / exact.documents if exact.documents else 0.0,
        "largest": exact.largest,
        "intended": subject.selection is not None
        and subject.selection.choice.cut.documents != subject.selection.choice.cut.distinct,
        "near": near,
        "near_of": of,
        "near_share": near / of if of else None,
        "measured": copies.MEASURED + few,
    }
    if pool is not None:
        whole = copies.exact(pool.uid)
        record["pool_exact_share"] = whole.repeated / max(whole.documents, 1)
    return record


def diversity(text: SelectionText, pool: Pool | None) -> model.Diversity | None:
    """Measure the variety of the selection, beside as much text of random documents of the pool."""
    mine = text.documents
    if not len(mine):
        return None
    # Alone, it is cut to the same size as it would be beside a pool.
    theirs = mine if pool is None or not len(pool.sample) else pool.sample
    first, second, size = varieties.like_sized(mine, theirs, DIVERSITY_BYTES)
    record: model.Diversity = {
        "selection": _variety(first),
        "pool": None if theirs is mine else _variety(second),
        "bytes": size,
        "measured": f"on {size / 1e6:.2f} MB of random documents of each; n-grams of lower-cased "
        f"words and runs of signs; compressed by DEFLATE, level {varieties.LEVEL}",
    }
    return record


def _variety(documents: Documents) -> model.Variety:
    words = words_of(documents)
    return {
        "distinct_1": varieties.distinct_of(words, 1),
        "distinct_2": varieties.distinct_of(words, 2),
        "distinct_3": varieties.distinct_of(words, 3),
        "compression_ratio": varieties.compression_ratio(documents),
    }


def contamination(
    indexes: Mapping[str, Index], looked: Looked, pool: Pool | None
) -> list[model.Contamination]:
    """Measure how much of each validation set the selection holds."""
    out = []
    for name, index in indexes.items():
        if name not in looked.seen:  # an empty selection
            found = contaminations.answer(index, index.look(Documents.from_texts([])))
        else:
            found = contaminations.answer(index, looked.seen[name])
        made: model.Contamination = {
            "name": name,
            "words": contaminations.WORDS,
            "documents": found.documents,
            "short": found.short,
            "hit": found.hit,
            "hit_share": _share(found.hit, found.documents),
            "held": found.held,
            "held_share": _share(found.held, found.documents),
            "exact": found.equal,
            "selected": found.holding,
            "selected_share": _share(found.holding, found.selected),
            "examples": _examples(index.documents, found.shares),
            "measured": contaminations.MEASURED,
        }
        if pool is not None and len(pool.sample):
            whole = index.look(pool.sample)
            made["pool_share"] = _share(whole.holding, whole.documents)
        out.append(made)
    return out


def _examples(documents: Documents, shares: NDArray[np.float64]) -> list[model.Hit]:
    """Return the validation documents most of which is held."""
    known = np.nan_to_num(shares)
    order = np.lexsort((documents.uid, -known))[:_EXAMPLES]
    return [
        {
            "text": documents.text(int(row))[:_EXCERPT],
            "share": float(known[row]),
            "uid": f"{documents.uid[row]:016x}",
        }
        for row in order
        if known[row] > 0
    ]


def overlap(
    mine: Subject,
    uid: NDArray[np.uint64],
    other: Subject,
    other_uid: NDArray[np.uint64],
    pool: Pool | None,
) -> model.Overlap:
    """Compare the documents of the selection with another's; `uid`, `other_uid`: of theirs."""
    mine_uid, theirs = np.unique(uid), np.unique(other_uid)
    both = len(np.intersect1d(mine_uid, theirs, assume_unique=True))
    record: model.Overlap = {
        "name": other.name,
        "path": other.path,
        "documents": len(theirs),
        "common": both,
        "jaccard": jaccard(mine_uid, theirs),
        "share": _share(both, len(mine_uid)),
        "ranks": [],
    }
    if pool is not None:
        different = len(np.unique(pool.uid))
        record["expected_jaccard"] = expected_jaccard(len(mine_uid), len(theirs), different)
    if mine.selection is not None and other.selection is not None:
        record["ranks"] = _ranks(mine.selection.choice, other.selection.choice)
    return record


def _ranks(mine: Choice, other: Choice) -> list[model.RankCorrelation]:
    """Correlate orders, and utilities for the same target, over documents that may be chosen."""
    sides = [
        (choice.candidates.uid, _places(choice), choice.mechanism_text) for choice in (mine, other)
    ]
    pairs = [("order", sides[0], sides[1])]
    for column in mine.view.utilities:
        for theirs in other.view.utilities:
            target = split_name(column)[1]
            if target == split_name(theirs)[1]:
                first = (mine.candidates.uid, _eligible(mine, column), column)
                second = (other.candidates.uid, _eligible(other, theirs), theirs)
                pairs.append((target, first, second))
    out: list[model.RankCorrelation] = []
    for what, a, b in pairs:
        value, documents = rank_correlation(a[0], a[1], b[0], b[1])
        out.append(
            {"what": what, "mine": a[2], "other": b[2], "spearman": value, "documents": documents}
        )
    return out


def _places(choice: Choice) -> NDArray[np.float64]:
    """Return the place of each row in the order, NaN for those that are not in it."""
    places = np.full(len(choice.candidates), np.nan)
    places[choice.order] = np.arange(len(choice.order))
    return places


def _eligible(choice: Choice, column: str) -> NDArray[np.float64]:
    values: NDArray[np.float64] = np.where(
        choice.candidates.eligible, choice.view.column(column), np.nan
    )
    return values


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
