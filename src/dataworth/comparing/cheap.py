"""Cheap numbers of a choice, from its text and without training, and how alike choices are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from dataworth.comparing.bank import TextBank, TokenBank
from dataworth.comparing.choices import Chosen, load_documents
from dataworth.comparing.plan import ComparePlan
from dataworth.corpus.documents import Documents
from dataworth.engine.files import damaged, read_object, write_json
from dataworth.flow.scoring import Scored
from dataworth.measures.contamination import Index, answer, index
from dataworth.measures.diversity import compression_ratio, distinct
from dataworth.measures.duplicates import exact
from dataworth.measures.gain import gain
from dataworth.measures.kl import kl_reduction
from dataworth.measures.overlap import jaccard, rank_correlation
from dataworth.results.comparison import Cheap, CompositionOf, Overlap, Share

# Variety hangs on the amount of text, so all choices are measured on as much.
VARIETY_BYTES = 1_000_000
_SHOWN = 30  # values of a field


class CheapNumbers:
    """Measures each different selection once, for the targets that it is wanted for."""

    def __init__(
        self,
        texts: TextBank,
        tokens: TokenBank,
        sample: Documents,
        validation: Mapping[str, Documents],
        folder: Path,
    ) -> None:
        self.texts, self.tokens, self.sample = texts, tokens, sample
        self.validation = validation
        self.folder = folder
        self._indices: dict[str, Index] = {}

    def make(self, wanted: Mapping[str, Sequence[str]], workers: int) -> dict[str, Any]:
        """Compute the numbers of each content: {"common": {...}, "targets": {target: {...}}}."""
        place = self.folder / "text"
        place.mkdir(parents=True, exist_ok=True)
        numbers: dict[str, Any] = {}
        missing = []
        for content, targets in wanted.items():
            path = place / f"{content}.json"
            known = read_object(path) if path.is_file() else {"targets": {}}
            numbers[content] = known
            with damaged(path):
                if any(target not in known["targets"] for target in targets):
                    missing.append(content)
        if missing:
            for name, documents in self.validation.items():
                made = index(documents)
                made.leave_out_common(self.sample)
                self._indices[name] = made

        def measure(content: str) -> None:
            numbers[content] = self._measure(content, wanted[content])
            write_json(place / f"{content}.json", numbers[content])

        with ThreadPoolExecutor(max(1, workers)) as threads:
            list(threads.map(measure, missing))
        return numbers

    def _measure(self, content: str, targets: Sequence[str]) -> dict[str, Any]:
        uid, counts = load_documents(self.folder / "documents", content)
        copies = np.repeat(uid, counts)
        documents = self.texts.documents(copies)
        # By growing uid, which is a hash: the first ones are random documents.
        sizes = np.cumsum(documents.text_bytes)
        some = documents.take(
            np.arange(min(int(np.searchsorted(sizes, VARIETY_BYTES)) + 1, len(documents)))
        )
        repeated = exact(uid, counts)
        common = {
            "distinct_2": distinct(some, 2),
            "compression": compression_ratio(some),
            "duplicates": repeated.repeated / max(repeated.documents, 1),
            "document_bytes": float(documents.text_bytes.mean()),
            "unique_tokens": float(self.tokens.count(uid, np.ones(len(uid), np.int64))),
        }
        of: dict[str, dict[str, float]] = {}
        for target in targets:
            towards = self.validation[target]
            reduction = kl_reduction(towards, self.sample, documents)
            looked = self._indices[target]
            hit = answer(looked, looked.look(self.texts.documents(uid)))
            of[target] = {
                "gain": gain(towards, self.sample, documents).value,
                "kl_reduction": reduction.value,
                "contamination": hit.hit / hit.documents if hit.documents else math.nan,
            }
        clean = {name: _clean(values) for name, values in of.items()}
        return {"common": _clean(common), "targets": clean}


def _clean(values: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items() if math.isfinite(value)}


def wanted_of(plan: ComparePlan, chosens: Sequence[Chosen]) -> dict[str, list[str]]:
    """Return the targets that each content is measured for."""
    targets: dict[str, set[str]] = {}
    for item in chosens:
        of = targets.setdefault(item.content, set())
        of.update(plan.targets if item.target is None else [item.target])
    return {content: sorted(of) for content, of in targets.items()}


def cheap_of(
    plan: ComparePlan, chosens: Sequence[Chosen], numbers: Mapping[str, Any]
) -> list[Cheap]:
    """Return all cheap numbers of all choices on their targets."""
    rows: list[Cheap] = []
    for item in chosens:
        for target in plan.targets if item.target is None else [item.target]:
            known = numbers[item.content]
            values = {**known["common"], **known["targets"][target], **item.metrics}
            right = right_share(plan, item, target)
            if right is not None:
                values["right_share"] = right
            rows += [
                {
                    "selection": item.selection,
                    "target": target,
                    "seed": item.seed,
                    "metric": metric,
                    "value": value,
                }
                for metric, value in values.items()
            ]
    return rows


def coverage(plan: ComparePlan, chosens: Sequence[Chosen], table: Scored) -> list[Cheap]:
    """Return the share of the pool's groups with a chosen document: of all, of the smaller half.

    By the first group field; nothing without one. SELECT counts classes and their long tail so
    (Feuer et al. 2024, arXiv 2410.05057); the half is dataworth's own.
    """
    rows: list[Cheap] = []
    for name in table.corpus.fields.groups[:1]:
        codes, values = table.table.codes(name)
        sums = np.bincount(codes, table.table.column("tokens"), minlength=len(values))
        order = [str(values[i]) for i in np.argsort(sums, kind="stable")]
        parts = {"groups_covered": order, "tail_covered": order[: len(order) // 2]}
        for item in chosens:
            own = {value for value, amount in item.composition.get(name, {}).items() if amount > 0}
            for metric, groups in parts.items():
                if groups:
                    share = sum(group in own for group in groups) / len(groups)
                    rows += [
                        Cheap(
                            selection=item.selection,
                            target=target,
                            seed=item.seed,
                            metric=metric,
                            value=share,
                        )
                        for target in (plan.targets if item.target is None else [item.target])
                    ]
    return rows


def right_share(plan: ComparePlan, item: Chosen, target: str) -> float | None:
    """Return the share of a choice's tokens with a right value for the target; None if not said."""
    for name, of in plan.right.items():
        if target in of:
            parts = item.composition.get(name, {})
            total = item.tokens
            return sum(parts.get(value, 0) for value in of[target]) / total if total else None
    return None


def composition(plan: ComparePlan, chosens: Sequence[Chosen], table: Scored) -> list[CompositionOf]:
    """Return the shares of each group field's values in the pool and each selection, over seeds."""
    rows: list[CompositionOf] = []
    tokens = table.table.column("tokens")
    for name in table.corpus.fields.groups:
        codes, values = table.table.codes(name)
        sums = np.bincount(codes, tokens, minlength=len(values))
        pool = {str(value): float(total) for value, total in zip(values, sums, strict=True)}
        shown = sorted(pool, key=lambda value: -pool[value])[:_SHOWN]
        rows.append(_parts(None, None, name, pool, shown))
        groups: dict[tuple[str, str | None], list[Chosen]] = {}
        for item in chosens:
            groups.setdefault((item.selection, item.target), []).append(item)
        for (selection, target), items in groups.items():
            mean: dict[str, float] = {}
            for item in items:
                for value, amount in item.composition.get(name, {}).items():
                    mean[value] = mean.get(value, 0.0) + amount / max(item.tokens, 1) / len(items)
            if mean:
                rows.append(_parts(selection, target, name, mean, shown))
    return rows


def _parts(
    selection: str | None,
    target: str | None,
    name: str,
    amounts: Mapping[str, float],
    shown: Sequence[str],
) -> CompositionOf:
    total = sum(amounts.values()) if selection is None else 1.0
    parts: list[Share] = [
        {"value": value, "share": amounts[value] / max(total, 1e-12)}
        for value in shown
        if amounts.get(value)
    ]
    rest = 1.0 - sum(part["share"] for part in parts)
    if rest > 1e-6:
        parts.append({"value": None, "share": rest})
    return {"selection": selection, "target": target, "field": name, "parts": parts}


def overlap(
    plan: ComparePlan, chosens: Sequence[Chosen], tables: Mapping[str, Scored], folder: Path
) -> list[Overlap]:
    """Return Jaccard indices and rank correlations between the choices of the first seed."""
    seed = plan.seeds[0]
    rows: list[Overlap] = []
    for target in plan.targets:
        mine = [item for item in chosens if item.seed == seed and item.target in (target, None)]
        uids = [load_documents(folder / "documents", item.content)[0] for item in mine]
        size = len(mine)
        alike: list[list[float | None]] = [[1.0] * size for _ in range(size)]
        ranks: list[list[float | None]] = [[None] * size for _ in range(size)]
        columns = [_utility(item, tables) for item in mine]
        for i in range(size):
            ranks[i][i] = 1.0 if columns[i] is not None else None
            for j in range(i):
                alike[i][j] = alike[j][i] = jaccard(uids[i], uids[j])
                a, b = columns[i], columns[j]
                if a is not None and b is not None:
                    value = rank_correlation(*a, *b)[0]
                    ranks[i][j] = ranks[j][i] = value if math.isfinite(value) else None
        names = [item.selection for item in mine]
        rows.append({"target": target, "names": names, "jaccard": alike, "rank": ranks})
    return rows


def _utility(item: Chosen, tables: Mapping[str, Scored]) -> Any:
    """Return (uid, utility) over all documents, where the choice is by one column; else None."""
    if len(item.columns) != 1 or item.selection not in tables:
        return None
    columns = tables[item.selection].table.columns(["uid", item.columns[0]])
    return columns["uid"], columns[item.columns[0]]
