"""Metrics as a true run would fill them, measured on real documents by a small scorer of its own.

Shares no code with the library but the report's types and bins. `python -m report.example OUT`
(in `tests/`, with DATAWORTH_TEST_DATA set) writes a report to look at.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import sys
import zlib
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataworth.results.histogram import histogram
from dataworth.results.selection import Metrics, Part, Sample
from testdata import POOL_SUFFIXES, find_target, read_rows, sample_pool

TOKEN = re.compile(r"\w+|[^\w\s]+")
FEWEST_WORDS = 60
BUCKETS = 10_000


def bucket(gram: str) -> int:
    return zlib.crc32(gram.encode()) % BUCKETS


def grams(text: str) -> Counter[str]:
    words = TOKEN.findall(text.lower())
    found = Counter(words)
    found.update(f"{a} {b}" for a, b in pairwise(words))
    return found


def shares(found: Counter[str]) -> NDArray[np.float64]:
    """Smoothed share of each bucket."""
    counts = np.bincount(
        [bucket(gram) for gram in found], weights=list(found.values()), minlength=BUCKETS
    )
    return (counts + 1) / (counts.sum() + BUCKETS)


class Scorer:
    """Mean log ratio an n-gram between a target and a pool."""

    def __init__(self, pool: Counter[str], target: Counter[str]) -> None:
        self.ratio = np.log(shares(target)) - np.log(shares(pool))

    def drivers(self, found: Counter[str]) -> dict[str, float]:
        total = max(1, found.total())
        return {gram: float(self.ratio[bucket(gram)]) * n / total for gram, n in found.items()}

    def utility(self, found: Counter[str]) -> float:
        return sum(self.drivers(found).values())


def divergence(target: Counter[str], other: Counter[str]) -> float:
    """KL(target || other) over buckets."""
    p, q = shares(target), shares(other)
    return float((p * np.log(p / q)).sum())


def joined(counters: Sequence[Counter[str]], which: Sequence[int]) -> Counter[str]:
    result: Counter[str] = Counter()
    for index in which:
        result.update(counters[index])
    return result


def real_metrics(
    rows: list[dict[str, Any]], targets: dict[str, list[str]], share: float = 0.1
) -> Metrics:
    """Metrics of keeping `share` of the rows for the targets, the best of any target first."""
    texts = [row["text"] for row in rows]
    counted = [grams(text) for text in texts]
    words = np.array([len(TOKEN.findall(text)) for text in texts])
    tokens = np.array([len(text.encode()) // 4 for text in texts])
    eligible = np.flatnonzero(words >= FEWEST_WORDS)
    pool = joined(counted, range(len(rows)))
    scorers, utilities, halves = {}, {}, {}
    for name, examples in targets.items():
        chosen_by, held_out = examples[::2], examples[1::2]
        halves[name] = [grams(text) for text in held_out]
        fitted = joined([grams(text) for text in chosen_by], range(len(chosen_by)))
        scorers[name] = Scorer(pool, fitted)
        utilities[name] = np.array([scorers[name].utility(found) for found in counted])
    best = np.max([utilities[name] for name in targets], axis=0) if targets else -words
    order = eligible[np.argsort(-best[eligible], kind="stable")]
    kept = order[: round(share * len(rows))]
    metrics: Metrics = {
        "metrics_version": 1,
        "run": run_info(rows, targets),
        "accounting": {
            "documents": len(rows),
            "blank": 14,
            "bad": {"invalid_json": 9, "empty_text": 3, "lone_surrogate": 1},
            "dropped": {f"length: fewer than {FEWEST_WORDS} words": len(rows) - len(eligible)},
            "eligible": len(eligible),
            "pool": {
                "documents": len(rows),
                "tokens": int(tokens.sum()),
                "bytes": sum(len(text.encode()) for text in texts),
            },
            "kept": {
                "documents": len(kept),
                "tokens": int(tokens[kept].sum()),
                "bytes": sum(len(texts[i].encode()) for i in kept),
            },
            "budget": {
                "asked": f"{share:.0%}",
                "unit": "documents",
                "amount": share * len(rows),
                "met": len(kept),
                "estimated": True,
            },
        },
        "utilities": [],
        "targets": [],
        "composition": [composition("domain", rows, tokens, kept)],
        "lengths": {
            "unit": "words",
            "histogram": histogram(pool=words, selection=words[kept], log=True, bins=48),
            "median": {
                "pool": float(np.median(words)),
                "selection": float(np.median(words[kept])) if len(kept) else math.nan,
            },
        },
        "ngrams": shifts(pool, joined(counted, kept.tolist())),
        "notes": ["The raw model was fitted on every document of the pool."],
        "warnings": [],
    }
    noise = np.random.default_rng(0)
    for name in targets:
        values = utilities[name]
        target_values = np.array([scorers[name].utility(found) for found in halves[name]])
        weights = np.exp((values[eligible] - values[eligible].max()) / 0.15)
        metrics["utilities"].append(
            {
                "column": f"utility:ratio:{name}",
                "step": "ratio",
                "target": name,
                "unit": "nats per n-gram",
                "histogram": histogram(
                    pool=values[eligible], selection=values[kept], target=target_values
                ),
                "threshold": float(best[kept[-1]]) if len(kept) else None,
                "effective_sample_size": float(weights.sum() ** 2 / (weights**2).sum()),
                "effective_of": len(eligible),
                "pearson_length": float(np.corrcoef(values, np.log(words + 1))[0, 1]),
                "spearman_length": float(np.corrcoef(ranks(values), ranks(words))[0, 1]),
                "temperature": 0.15,
                "temperature_from": "found from the data",
            }
        )
        held_out = joined(halves[name], range(len(halves[name])))
        start = divergence(held_out, pool)
        draws = [
            start - divergence(held_out, joined(counted, noise.choice(eligible, len(kept), False)))
            for _ in range(5)
        ]
        metrics["targets"].append(
            {
                "name": name,
                "documents": len(targets[name]),
                "chosen": {"documents": len(kept)},
                "gain": {
                    "value": start - divergence(held_out, joined(counted, kept.tolist())),
                    "bound": start,
                    "random": float(np.mean(draws)),
                    "random_spread": float(np.std(draws)),
                    "random_draws": 5,
                    "held_out": True,
                    "documents": len(halves[name]),
                    "measured": "unigrams and bigrams in 10,000 buckets, one added to each",
                },
            }
        )
    first = next(iter(targets), None)
    driven_by = scorers[first] if first else Scorer(pool, pool)
    dropped = np.flatnonzero(words < FEWEST_WORDS)[:4]

    def samples(which: Sequence[int], rank: int | None) -> list[Sample]:
        return [
            sample(
                rows[i],
                counted[i],
                driven_by,
                best[i],
                None if rank is None else rank + n,
                f"utility:ratio:{first}",
            )
            for n, i in enumerate(which)
        ]

    cut = len(kept)
    metrics["samples"] = {
        "top": samples(order[:6], 1),
        "just_kept": samples(order[max(0, cut - 3) : cut], max(1, cut - 2)),
        "just_missed": samples(order[cut : cut + 3], cut + 1),
        "bottom": samples(order[-4:], len(order) - 3),
        "dropped": [
            {**one, "drop": f"length: fewer than {FEWEST_WORDS} words", "utility": None}
            for one in samples(dropped, None)
        ],
    }
    return metrics


def run_info(rows: list[dict[str, Any]], targets: dict[str, list[str]]) -> Any:
    names = " and ".join(targets)
    given = " ".join(f"--target {name}={name}.target.jsonl" for name in targets)
    return {
        "title": f"10% of pool/ towards {names}" if targets else "10% of pool/",
        "version": "0.1.0",
        "seed": 0,
        "command": f"dataworth select pool/ {given} --budget 10% --group-by domain --out out/",
        "started": "2025-03-01 10:15:02",
        "settings": {
            "budget": "10%",
            "exclude": [],
            "steps": [{"name": "ratio", "ngrams": 2, "buckets": 10_000, "length": "mean"}],
            "mechanism": {"name": "gumbel", "temperature": None},
            "fields": {"text": ["text"], "id": "id", "groups": ["domain"], "split_words": None},
        },
        "machine": {"cores": 2, "memory": "8 GB", "system": "Linux x86-64", "python": "3.11.9"},
        "seconds": 2.31,
        "megabytes_per_second": 71.2,
        "phases": [
            {"name": "fit", "seconds": 0.61, "documents": len(rows), "megabytes": 24.0},
            {"name": "score", "seconds": 1.12, "documents": len(rows), "megabytes": 165.0},
            {"name": "choose", "seconds": 0.05},
            {"name": "write", "seconds": 0.31, "documents": len(rows) // 10, "megabytes": 16.0},
            {"name": "report", "seconds": 0.22},
        ],
        "inputs": [
            {"path": "pool/books.jsonl.zst", "format": "jsonl", "compression": "zst"}
            | {"documents": 3389, "bytes": 2_390_765},
            {"path": "pool/sci_abstracts.parquet", "format": "parquet", "documents": 3341}
            | {"bytes": 931_172},
            *(
                {"path": f"{name}.target.jsonl", "format": "jsonl", "role": f"target {name}"}
                | {"documents": len(examples), "bytes": 712_833}
                for name, examples in targets.items()
            ),
        ],
    }


def composition(
    field: str, rows: list[dict[str, Any]], tokens: NDArray[Any], kept: NDArray[Any]
) -> Any:
    chosen = set(kept.tolist())
    parts: dict[str | None, Part] = {}
    for index, row in enumerate(rows):
        part = parts.setdefault(
            row.get(field),
            {
                "value": row.get(field),
                "pool": {"documents": 0, "tokens": 0},
                "selection": {"documents": 0, "tokens": 0},
            },
        )
        for side in [part["pool"], *([part["selection"]] if index in chosen else [])]:
            side["documents"] += 1
            side["tokens"] = (side["tokens"] or 0) + int(tokens[index])
    return {"field": field, "parts": list(parts.values())}


def shifts(pool: Counter[str], selection: Counter[str]) -> Any:
    pool_size, size = pool.total(), max(1, selection.total())
    known = [
        (math.log((selection[gram] + 1) / size) - math.log((n + 1) / pool_size), gram)
        for gram, n in pool.items()
        if n >= 50
    ]

    def rows(pairs: list[tuple[float, str]]) -> list[Any]:
        return [
            {
                "ngram": gram,
                "pool": 1e6 * pool[gram] / pool_size,
                "selection": 1e6 * selection[gram] / size,
                "log_ratio": ratio,
            }
            for ratio, gram in pairs
        ]

    known.sort()
    return {
        "gained": rows(known[::-1][:15]),
        "lost": rows(known[:15]),
        "measured": "Of n-grams that the pool holds 50 times or more; one added to each count.",
    }


def sample(
    row: dict[str, Any],
    found: Counter[str],
    scorer: Scorer,
    utility: float,
    rank: int | None,
    column: str,
) -> Sample:
    drivers = sorted(scorer.drivers(found).items(), key=lambda pair: -abs(pair[1]))
    return {
        "uid": hashlib.sha256(row["id"].encode()).hexdigest()[:16],
        "text": row["text"][:4_000],
        "characters": len(row["text"]),
        "file": f"pool/{row.get('domain', 'file')}.jsonl.zst",
        "offset": 1_234_567,
        "id": row["id"],
        "column": column,
        "utility": float(utility),
        "rank": rank,
        "why": [
            {"label": gram, "contribution": value, "count": found[gram]}
            for gram, value in drivers[:14]
        ],
        "rest": sum(value for _, value in drivers[14:]),
        "groups": {"domain": row.get("domain")},
    }


def ranks(values: NDArray[Any]) -> NDArray[Any]:
    return np.argsort(np.argsort(values, kind="stable"), kind="stable")


def from_data(data: Path, names: Sequence[str], documents: int) -> Metrics:
    """Metrics of a sample of the real pool towards real targets."""
    files = sorted(p for p in (data / "pool").iterdir() if p.name.endswith(POOL_SUFFIXES))
    rows = [json.loads(line) for line in sample_pool(files, documents)]
    targets = {
        name: [row["text"] for row in read_rows(find_target(data, name))][:400] for name in names
    }
    return real_metrics(rows, targets)


if __name__ == "__main__":
    from dataworth.report.page import write

    data = Path(os.environ["DATAWORTH_TEST_DATA"])
    metrics = from_data(data, sys.argv[2:] or ["math"], documents=4_000)
    print(write(metrics, sys.argv[1]))
