"""The choices of a comparison: which documents each candidate has for each target and seed.

A choice is kept as its documents, `choices/documents/<content>.npz`, under a name that hangs on
them alone: choices that hold the same documents are trained on once.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataworth.comparing.finished import path_for, read_finished
from dataworth.comparing.plan import BOUND, CandidatePlan, ComparePlan
from dataworth.comparing.pool import Chooser, choosers
from dataworth.engine.files import (
    atomic,
    check_array,
    damaged,
    read_arrays,
    read_object,
    write_json,
)
from dataworth.errors import ConfigError, InputError
from dataworth.flow.choosing import Choice, choose_rows
from dataworth.flow.exclusion import Excluded
from dataworth.flow.inspect import fields_there
from dataworth.flow.metrics import temperature_of
from dataworth.flow.scoring import Scored, count_tokens
from dataworth.flow.settings import ChoiceSettings, fingerprint
from dataworth.measures.weights import effective_sample_size, length_correlation
from dataworth.mechanism.base import needs_utility
from dataworth.mechanism.budget import Budget, parse_budget

log = logging.getLogger("dataworth")

_VALUES = 60  # of a group field that are kept
_WRITING = threading.Lock()  # two threads may choose the same documents


@dataclass
class Chosen:
    """One choice. `target` None: the same for all targets. `content`: the name of its documents.

    `documents` with copies, `tokens` estimated as for budgets. `composition`: tokens by field and
    value; `metrics`: numbers known without reading the text.
    """

    selection: str
    target: str | None
    seed: int
    content: str
    documents: int
    tokens: int
    mechanism: str | None = None
    columns: list[str] = field(default_factory=list)
    path: str | None = None
    missing: int = 0
    short: str | None = None
    composition: dict[str, dict[str, int]] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Job:
    candidate: CandidatePlan
    target: str | None
    seed: int
    budget: str | None = None
    chooser: Chooser | None = None
    table: Scored | None = None

    @property
    def name(self) -> str:
        options = {k: v for k, v in self.candidate.as_dict().items() if k != BOUND}
        return fingerprint([self.candidate.name, options, self.target, self.seed])


class Chosens:
    """Makes all choices of a plan, those that are missing, and reads them back."""

    def __init__(
        self,
        plan: ComparePlan,
        tables: dict[str, Scored],
        excluded: NDArray[np.uint64],
        folder: Path,
    ) -> None:
        self.plan = plan
        self.tables = tables
        self.excluded = excluded
        self.folder = folder

    def make(self, workers: int) -> list[Chosen]:
        """Return all choices, in the order of candidates, targets and seeds."""
        jobs = [job for candidate in self.plan.candidates for job in self._jobs(candidate)]
        (self.folder / "documents").mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(max(1, workers)) as threads:
            return list(threads.map(self._one, jobs))

    def _jobs(self, candidate: CandidatePlan) -> list[_Job]:
        plan = self.plan
        targets: list[str | None] = list(plan.targets)
        if candidate.source is not None:
            if "{target}" not in candidate.source:
                targets = [None]
            return [_Job(candidate, t, seed) for t in targets for seed in plan.seeds]
        table = self.tables[candidate.name]
        return [
            _Job(
                candidate,
                chooser.target,
                seed,
                largest(plan) if chooser.target is None else plan.budget[chooser.target],
                chooser,
                table,
            )
            for chooser in choosers(candidate, table, list(plan.targets))
            for seed in plan.seeds
        ]

    def _one(self, job: _Job) -> Chosen:
        path = self.folder / f"{job.name}.json"
        if not path.is_file():
            made = self._finish(job) if job.table is None else self._choose(job)
            write_json(path, asdict(made))
        with damaged(path):
            return Chosen(**read_object(path))

    def _choose(self, job: _Job) -> Chosen:
        """Choose from the table."""
        assert job.table is not None and job.chooser is not None and job.budget is not None
        scored, candidate = job.table, job.candidate
        settings = ChoiceSettings(
            budget=job.budget,
            utility=job.chooser.utility,
            scale=candidate.scale,  # type: ignore[arg-type]
            mechanism=job.chooser.mechanism,
            quotas=candidate.quotas,
            max_repeat=candidate.max_repeat,
            duplicates=candidate.duplicates,  # type: ignore[arg-type]
            seed=job.seed,
        )
        choice = choose_rows(
            scored.table,
            settings,
            default_mechanism=job.chooser.mechanism,
            default_utilities=() if job.chooser.utility else job.chooser.columns,
            sample=scored.survey.sample,
            targets=scored.targets,
            excluded=Excluded(uids=self.excluded),
            exact_tokens=self._exact(job.table),
            fields_there=partial(fields_there, scored.corpus),
        )
        rows = np.flatnonzero(choice.counts)
        if not len(rows):
            raise ConfigError(
                f"selections: {candidate.name}: chose nothing for {job.target or 'all targets'}; "
                "see its filters, quotas and the budget"
            )
        counts = choice.counts[rows].astype(np.int64)
        content = save_documents(self.folder / "documents", choice.candidates.uid[rows], counts)
        return Chosen(
            selection=candidate.name,
            target=job.target,
            seed=job.seed,
            content=content,
            documents=int(counts.sum()),
            tokens=int((choice.tokens[rows] * counts).sum()),
            mechanism=choice.mechanism_text,
            columns=list(job.chooser.columns),
            short=choice.cut.reason if choice.cut.short else None,
            composition=_composition(job.table, rows, choice.tokens[rows] * counts),
            metrics=_weights(choice, rows),
        )

    def _exact(self, table: Scored) -> Any:
        tokenizer = self.plan.tokenizer
        if tokenizer is None:
            return None
        from dataworth.flow.texts import texts_of

        def exact(rows: NDArray[np.int64]) -> NDArray[np.int64]:
            parts = [rows[at : at + 2048] for at in range(0, len(rows), 2048)]
            return np.concatenate(
                [count_tokens(texts_of(table, part), tokenizer) for part in parts]
            )

        return exact

    def _finish(self, job: _Job) -> Chosen:
        """Read a finished selection; what is held out, or over the budget's size, is not taken."""
        path = path_for(job.candidate, job.target or "", job.seed)
        found = read_finished(path, self.plan)
        uid, counts = np.unique(found.uid, return_counts=True)
        kept = ~np.isin(uid, self.excluded)
        uid, counts = uid[kept], counts[kept].astype(np.int64)
        table = any_table(self.tables).table
        known, rows = rows_of(table.column("uid"), uid)
        if found.corpus is None and not known.all():
            raise InputError(
                f"{path}: {int((~known).sum())} of its documents are not in the pool; write the "
                "selection as files (--write), and name their folder"
            )
        if 2 * int(known.sum()) < len(known):
            log.warning(
                "%s: %d of its %d documents are not in the pool; was it chosen from another one?",
                path, (~known).sum(), len(known),
            )  # fmt: skip
        tokens = table.rows(rows, ["tokens"])["tokens"].to_numpy() * counts[known]
        outside = 0
        if not known.all() and found.corpus is not None:
            outside = _outside(
                found.blocks(), set(uid[~known].tolist()), counts[~known], uid[~known]
            )
        return Chosen(
            selection=job.candidate.name,
            target=job.target,
            seed=job.seed,
            content=save_documents(self.folder / "documents", uid, counts),
            documents=int(counts.sum()),
            tokens=int(tokens.sum()) + outside,
            path=path,
            missing=int((~known).sum()),
            composition=_composition(any_table(self.tables), rows, tokens),
        )


def any_table(tables: dict[str, Scored]) -> Scored:
    """Return one of the tables: their rows are the same documents in the same order."""
    return next(iter(tables.values()))


def largest(plan: ComparePlan) -> str:
    """Return the largest of the targets' budgets, for what is chosen once for all targets.

    Raises ConfigError for budgets in different units, which have no largest.
    """
    budgets = [parse_budget(text) for text in plan.budget.values()]
    if len({budget.unit for budget in budgets}) > 1:
        raise ConfigError("budget: the targets' budgets must be in one unit")
    best: Budget = max(budgets, key=lambda budget: budget.amount)
    return str(best)


def rows_of(
    column: NDArray[np.uint64], uid: NDArray[np.uint64]
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return (which of the uids are in a column, the first row of each one that is)."""
    order = np.argsort(column, kind="stable")
    place = np.searchsorted(column, uid, sorter=order)
    place[place == len(column)] = 0
    rows = order[place] if len(column) else np.zeros(len(uid), np.int64)
    known = column[rows] == uid if len(column) else np.zeros(len(uid), np.bool_)
    return known, rows[known]


def save_documents(folder: Path, uid: NDArray[np.uint64], counts: NDArray[np.int64]) -> str:
    """Write documents and their copies; the name is a hash of both."""
    order = np.argsort(uid)
    uid, counts = uid[order], counts[order]
    digest = _name_of(uid, counts)
    path = folder / f"{digest}.npz"
    with _WRITING:
        if not path.is_file():
            with atomic(path) as temporary, temporary.open("wb") as file:
                np.savez(file, uid=uid, counts=counts)
    return digest


def load_documents(folder: Path, content: str) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Load (uid, copies) of a choice's documents, by growing uid."""
    path = folder / f"{content}.npz"
    remedy = f"delete the folder {folder.parent.name} and run the same command again"
    arrays = read_arrays(path, remedy)
    with damaged(path, remedy):
        uid = check_array(arrays["uid"], np.uint64, (None,))
        counts = check_array(arrays["counts"], np.int64, (len(uid),))
        if _name_of(uid, counts) != content:
            raise ValueError("it holds other documents than its name says")
    return uid, counts


def _name_of(uid: NDArray[np.uint64], counts: NDArray[np.int64]) -> str:
    return hashlib.blake2b(uid.tobytes() + counts.tobytes(), digest_size=8).hexdigest()


def _composition(
    table: Scored, rows: NDArray[np.int64], tokens: NDArray[np.int64]
) -> dict[str, dict[str, int]]:
    """Sum the chosen rows' tokens by the values of the group fields; the smallest are left out."""
    tokens_by_field: dict[str, dict[str, int]] = {}
    for name in table.corpus.fields.groups:
        codes, values = table.table.codes(name)
        sums = np.bincount(codes[rows], tokens, minlength=len(values))
        order = [int(i) for i in np.argsort(-sums, kind="stable")[:_VALUES] if sums[i]]
        tokens_by_field[name] = {str(values[i]): int(sums[i]) for i in order}
    return tokens_by_field


def _weights(choice: Choice, rows: NDArray[np.int64]) -> dict[str, float]:
    """Return the utility's effective sample size as a share, and its correlation with length."""
    if len(choice.view.utilities) != 1 or not needs_utility(choice.mechanism):
        return {}
    (column,) = choice.view.utilities
    values, eligible = choice.view.column(column), choice.candidates.eligible
    temperature = temperature_of(choice, column)
    shares = {}
    if temperature:
        shares["effective_share"] = effective_sample_size(values[eligible], temperature) / len(rows)
    sizes, uid = choice.candidates.column("text_bytes"), choice.candidates.uid
    shares["length_correlation"] = length_correlation(
        np.where(eligible, values, np.nan), sizes, uid
    )[1]
    return {name: float(value) for name, value in shares.items() if np.isfinite(value)}


def _outside(
    blocks: Any, wanted: set[int], counts: NDArray[np.int64], uid: NDArray[np.uint64]
) -> int:
    """Estimate the tokens of documents that are not in the pool: a quarter of their bytes."""
    copies = dict(zip(uid.tolist(), counts.tolist(), strict=True))
    total = 0
    for documents in blocks:
        for key, size in zip(documents.uid.tolist(), documents.text_bytes.tolist(), strict=True):
            if key in wanted:
                wanted.discard(key)
                total += copies[key] * size // 4
    return total


def contents_of(chosens: Sequence[Chosen]) -> list[str]:
    """Return the different sets of documents, in order."""
    return list(dict.fromkeys(item.content for item in chosens))
