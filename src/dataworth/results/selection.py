"""The record of a selection: one plain dict, the same that is written to `metrics.json`.

The types are `TypedDict`s, so a value is its own JSON: build it with the constructors below, write
it with any JSON library, read it back and render it again. Nothing in `report/` reads the pool or
the table; it draws what is here, and leaves out what is not.

Conventions:

- A key that is missing, `None` or not a finite number means "not measured"; the report leaves the
  piece out or writes "n/a". Only the keys marked `Required` must be there.
- Documents count distinct documents. Tokens and bytes of a selection count repeats.
- Text that comes from data (excerpts, n-grams, group values, paths) is passed raw. It is escaped
  where it is shown, here and nowhere else.
- Log ratios and KL divergences are in nats.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Required, TypedDict

METRICS_VERSION = 1

Series = Literal["pool", "selection", "target"]
"""The three sets that a chart compares, in the order in which they are drawn."""


class Amount(TypedDict, total=False):
    """Size of a part of the pool, of a selection, or of one value of a group field."""

    documents: Required[int]
    tokens: int | None
    bytes: int | None


class Phase(TypedDict, total=False):
    """One stretch of a run, in the order in which they ran."""

    name: Required[str]
    seconds: Required[float]
    documents: int | None
    megabytes: float | None  # millions of bytes of uncompressed text lines gone through


class Input(TypedDict, total=False):
    """One file that was read. `role` tells the pool from a target."""

    path: Required[str]
    role: str  # "pool" (the default), "target math", "exclude"
    format: str  # "jsonl", "parquet", "txt"
    compression: str | None
    documents: int | None
    bytes: int | None  # on disk


class Run(TypedDict, total=False):
    """Facts about a run: command, settings, machine, inputs, times."""

    title: str  # one line, such as "10% of pool/ towards math"
    version: str  # of dataworth
    seed: int
    command: str
    started: str  # ISO 8601
    settings: dict[str, Any]  # the resolved configuration, nested
    machine: dict[str, Any]  # {"cpus": 2, "memory": "8 GB", "python": "3.11.9", …}
    seconds: float  # wall time
    megabytes_per_second: float
    phases: list[Phase]
    inputs: list[Input]
    output: str  # the run folder


class Budget(TypedDict, total=False):
    """The budget as it was asked for and as it was met, both in `unit`."""

    asked: Required[str]  # as the user wrote it: "10B", "100k-docs", "10%"
    unit: Literal["tokens", "documents", "bytes"]
    amount: float | None  # what `asked` comes to
    met: float | None  # what was chosen
    estimated: bool  # tokens were estimated (bytes / 4), not counted
    note: str | None  # why it fell short, when it did


class Accounting(TypedDict, total=False):
    """Account of every line of the pool: read, blank, bad, dropped, eligible, kept.

    `lines = documents + bad + blank` and `documents = dropped + eligible`; `kept ≤ eligible`.
    """

    documents: Required[int]  # well-formed documents read from the pool
    blank: int  # blank lines
    bad: dict[str, int]  # bad lines by reason
    dropped: dict[str, int]  # documents by drop reason, in the order of the steps
    eligible: Required[int]
    pool: Amount  # the well-formed pool, with tokens and bytes
    kept: Required[Amount]  # distinct documents; tokens and bytes with repeats
    copies: int | None  # documents with repeats, where they differ
    budget: Budget


class Histogram(TypedDict, total=False):
    """Counts of several sets over shared bins, ascending `edges`, one more than bins.

    A bin holds `edges[i] <= x < edges[i + 1]`, the last one its right edge too. What lies outside
    the edges is counted in `outside`, so that a few far values do not flatten the chart.
    """

    edges: Required[list[float]]
    scale: Literal["linear", "log"]
    pool: list[float]
    selection: list[float]
    target: list[float]
    outside: dict[str, float]  # series → count outside the edges


class Utility(TypedDict, total=False):
    """One utility column of the table, `utility:<step>:<target>`."""

    column: Required[str]
    step: str
    target: str | None
    unit: str  # "nats per n-gram", "cosine", …
    histogram: Histogram | None
    threshold: float | None  # utility at the cut; None where noise or quotas blur it
    effective_sample_size: float | None  # (Σw)² / Σw² of the sampling weights
    effective_of: int | None  # number of documents those weights are of
    pearson_length: float | None  # correlation with log length over eligible documents
    spearman_length: float | None
    temperature: float | None
    temperature_from: str | None  # "given", "found from the data", …


class Gain(TypedDict, total=False):
    """Gain of a selection's words over random ones' on the target, in nats per word."""

    value: Required[float | None]
    bound: float | None  # of a selection with counts just like the target's
    random: float | None  # mean over random selections of equal size
    random_spread: float | None  # their standard deviation
    random_draws: int | None
    kl_reduction: float | None  # KL(target ‖ random) - KL(target ‖ selection), nats
    held_out: bool  # measured on a half of the target that chose nothing
    documents: int | None  # target documents it was measured on
    measured: str  # how: features, smoothing


class Target(TypedDict, total=False):
    """One named target and how near the selection came to it."""

    name: Required[str]
    documents: int | None
    bytes: int | None
    proportion: float | None  # share of the budget, where quotas were given
    chosen: Amount | None  # what was chosen for it
    gain: Gain | None


class Part(TypedDict, total=False):
    """One value of a group field, before and after."""

    value: Required[str | None]  # None: the field is missing
    pool: Required[Amount]
    selection: Required[Amount]


class Composition(TypedDict, total=False):
    """The parts of the pool and of the selection by one field."""

    field: Required[str]
    parts: Required[list[Part]]
    rest_values: int  # values left out of `parts` …
    rest: Part  # … and what they hold together


class Lengths(TypedDict, total=False):
    """Lengths of documents, before and after."""

    unit: str  # "words", "tokens", "bytes"
    histogram: Required[Histogram]  # scale "log"
    median: dict[str, float]  # series → median


class Ngrams(TypedDict, total=False):
    """The n-grams that gained and lost most."""

    gained: list[Mapping[str, Any]]  # as `measures.shifts.Shift`, per million n-grams
    lost: list[Mapping[str, Any]]
    measured: str  # on how many documents, smoothing, least count


class Driver(TypedDict, total=False):
    """One contribution to a document's utility: an n-gram (or a feature), and by how much."""

    label: Required[str]
    contribution: Required[float]  # in the unit of the utility
    count: int | None


class Sample(TypedDict, total=False):
    """One document shown to a person."""

    uid: Required[str]  # 16 hexadecimal digits
    text: Required[str]  # an excerpt, raw
    characters: int | None  # length of the whole text
    file: str
    offset: int
    id: str | None
    column: str | None  # the utility column it is ranked by
    utility: float | None
    utilities: dict[str, float | None]  # every utility column, where there are several
    rank: int | None  # 1 is best, among eligible documents
    copies: int  # how often it was chosen
    drop: str | None  # drop reason
    why: list[Driver]
    rest: float | None  # the sum of what is not in `why`
    groups: dict[str, str | None]


class Samples(TypedDict, total=False):
    """Documents at the places where a person wants to look."""

    top: list[Sample]
    just_kept: list[Sample]
    just_missed: list[Sample]
    bottom: list[Sample]
    dropped: list[Sample]  # a random few of those that a step dropped


class Listed(TypedDict, total=False):
    """One row of the table of documents: 50 at either end of the order, up to 400 at random."""

    place: Required[Literal["top", "bottom", "random"]]
    uid: Required[str]  # 16 hexadecimal digits
    file: str
    offset: int
    copies: Required[int]  # how often it was chosen; 0: it was not
    drop: str | None  # drop reason
    rank: int | None  # in the order of choice, 1 is best
    quiet_rank: int | None  # by utility alone, where chance had a part
    utility: float | None
    text: str  # its beginning, raw


class Metrics(TypedDict, total=False):
    """Everything that the report and the summary show."""

    metrics_version: Required[int]
    run: Required[Run]
    accounting: Required[Accounting]
    utilities: list[Utility]
    targets: list[Target]
    composition: list[Composition]
    lengths: Lengths | None
    ngrams: Ngrams | None
    samples: Samples
    documents: list[Listed]
    warnings: list[str]  # reasons for distrust that the run itself knows
    notes: list[str]  # what is good to know


class Explanation(TypedDict, total=False):
    """Reasons why one document was kept or not, as `dataworth explain` shows them."""

    document: Required[Sample]
    kept: Required[bool]
    eligible: int | None  # how many documents the rank is among
    chosen: int | None  # how many were chosen
    thresholds: dict[str, float | None]  # utility column → utility at the cut
    units: dict[str, str]  # utility column → unit
    noise: str | None  # when chance had a part: "Gumbel noise, temperature 0.15"
    quiet_rank: int | None  # the rank by utility alone, where chance had a part
