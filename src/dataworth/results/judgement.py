"""The record of a judgement: one plain dict, the same as in `judgement.json`.

Conventions as in `selection.py`: a key that is missing, `None` or not a finite number is "not
measured". Documents of a selection count its copies, unless "distinct" is said. Shares lie between
0 and 1. Numbers of the pool stand beside those of the selection wherever both were measured the
same way, at the same amount of text.
"""

from __future__ import annotations

from typing import Any, Literal, Required, TypedDict

from dataworth.results.selection import (
    Composition,
    Gain,
    Input,
    Lengths,
    Ngrams,
    Utility,
)

JUDGEMENT_VERSION = 1

Kind = Literal["selection", "files"]
"""A selection that dataworth chose (its run is known), or files from anywhere."""


class Judged(TypedDict, total=False):
    """The selection that is judged."""

    name: Required[str]  # short, for headings
    kind: Required[Kind]
    path: str | None  # the run's folder, or the first of the files
    documents: Required[int]  # copies counted
    distinct: Required[int]  # different texts
    tokens: int | None
    tokens_estimated: bool  # bytes / 4
    bytes: int | None  # of text
    bad: dict[str, int]  # bad lines by reason, where it was read from files
    chosen_by: str | None  # the mechanism, where dataworth chose
    budget: str | None


class OfPool(TypedDict, total=False):
    """The pool judged against. `found`: distinct documents of the selection that it holds."""

    name: Required[str]
    documents: Required[int]
    tokens: int | None
    bytes: int | None
    found: int | None
    found_share: float | None  # of the distinct documents of the selection


class OnValidation(TypedDict, total=False):
    """The same measure on the target's validation set, which nothing was chosen with."""

    documents: Required[int]
    gain: Gain | None


class Target(TypedDict, total=False):
    """One target and how near the selection came to it. `gain`: on its held-out half."""

    name: Required[str]
    documents: Required[int]  # of both halves
    bytes: int | None
    gain: Gain | None  # None: there is nothing to measure
    validation: OnValidation | None


class Mean(TypedDict, total=False):
    """The gain, averaged over the targets, each counting the same."""

    value: Required[float | None]
    bound: float | None
    targets: Required[int]


class Duplicates(TypedDict, total=False):
    """Texts that the selection holds more than once.

    `exact`: documents whose very text came before in the selection. `near`: distinct texts that
    are nearly a text before them; `near_of` distinct texts were looked at.
    """

    exact: Required[int]
    exact_share: Required[float]  # of the documents
    largest: int  # copies of the text that is there most often
    intended: bool  # the copies were asked for (max_repeat)
    near: int | None
    near_of: int | None
    near_share: float | None  # near / near_of
    pool_exact_share: float | None  # in the whole pool
    measured: str


class Variety(TypedDict, total=False):
    """Variety of a text. distinct_n: different n-grams for each n-gram occurrence."""

    distinct_1: float | None
    distinct_2: float | None
    distinct_3: float | None
    compression_ratio: float | None  # bytes / compressed bytes; larger is more repetitive


class Diversity(TypedDict, total=False):
    """The selection's variety and that of random documents of the pool, on as much text."""

    selection: Required[Variety]
    pool: Variety | None
    bytes: int  # of text, on each side
    measured: str


class RankCorrelation(TypedDict, total=False):
    """Spearman's correlation of what two selections go by, over documents that both know."""

    what: Required[str]  # "order", or the target of the utility; "" for a utility without one
    mine: str  # column, or mechanism
    other: str
    spearman: Required[float | None]
    documents: Required[int]


class Overlap(TypedDict, total=False):
    """Documents that the selection shares with another one, by text, copies aside."""

    name: Required[str]
    path: str | None
    documents: Required[int]  # distinct, of the other one
    common: Required[int]
    jaccard: Required[float | None]  # common / in one of both
    share: float | None  # of this selection that the other one has
    expected_jaccard: float | None  # of random selections as large, from the pool
    ranks: list[RankCorrelation]


class Hit(TypedDict, total=False):
    """A validation document, much of which the selection holds."""

    text: Required[str]  # an excerpt, raw
    share: Required[float]  # of its n-grams
    uid: Required[str]


class Contamination(TypedDict, total=False):
    """Share of a validation set that the selection holds, by n-grams of `words` words.

    A validation document is hit if one of its n-grams is in the selection, and held if at least
    half of them are. Documents of fewer than `words` words cannot be looked for: `documents` is
    without them, `short` counts them.
    """

    name: Required[str]
    words: Required[int]
    documents: Required[int]  # of the validation set, long enough
    short: int
    hit: Required[int]
    hit_share: Required[float | None]
    held: int
    held_share: float | None
    exact: int  # validation documents whose very text was selected, short ones too
    selected: int  # documents of the selection that hold an n-gram of the validation set
    selected_share: float | None
    pool_share: float | None  # the same share of the pool's random sample
    examples: list[Hit]  # those most of which is held
    measured: str


class Metrics(TypedDict, total=False):
    """All of a judgement."""

    judgement_version: Required[int]
    title: Required[str]
    version: str
    seed: int
    settings: dict[str, Any]
    inputs: list[Input]  # role: "selection", "pool", "target NAME", "validation NAME", "against"
    selection: Required[Judged]
    pool: OfPool | None
    targets: list[Target]
    mean: Mean | None
    utilities: list[Utility]  # effective sample size and length correlation, where known
    composition: list[Composition]
    lengths: Lengths | None
    ngrams: Ngrams | None
    duplicates: Duplicates
    diversity: Diversity | None
    overlap: list[Overlap]
    contamination: list[Contamination]
    warnings: list[str]  # reasons for distrust
    notes: list[str]  # what is good to know
