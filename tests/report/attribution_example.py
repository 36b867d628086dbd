"""An attribution as the page gets it, with hostile text where text can be."""

from __future__ import annotations

from typing import Any

from dataworth.results.attribution import Attribution, Document, Query

HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&\u202e\u200b" + "e" + "\u0301" * 40
)


def document(rank: int, score: float, text: str = "") -> Document:
    words = (text or f"document {rank} has some words and 12 numbers\n" * 40).split(" ")
    pieces = [(word + " ", score * (i % 7 - 2) / 100) for i, word in enumerate(words)]
    return {
        "rank": rank,
        "uid": f"{rank:016x}",
        "score": score,
        "tokens": len(words),
        "file": f"/data/{HOSTILE[:30]}/part-{rank}.jsonl",
        "offset": 1000 * rank,
        "copies": rank,
        "pieces": pieces,
    }


def query(number: int, documents: int = 5) -> Query:
    return {
        "number": number,
        "text": f"What is {number} + {number}? {HOSTILE if number == 1 else ''}",
        "loss": 3.2,
        "tokens": 9,
        "helpful": [
            document(i + 1, 0.5 / (i + 1), HOSTILE if not i else "") for i in range(documents)
        ],
        "harmful": [document(i + 1, -0.1 / (i + 1)) for i in range(documents)],
        "mean": 0.01,
        "deviation": 0.02,
        "share_positive": 0.6,
        "half": 0.1,
    }


def example(count: int = 3, **changes: Any) -> Attribution:
    facts: Attribution = {
        "attribution_version": 1,
        "version": "0.1.0",
        "model": f"models/{HOSTILE[:20]}",
        "train": "pool/",
        "solver": "ekfac",
        "about": "EK-FAC of 256 examples",
        "unit": "estimated reduction of the query's loss in nats from one more copy",
        "parameters": 252_144,
        "documents": 92_047,
        "tokens": 40_000_000,
        "bad": 0,
        "queries": [query(number + 1) for number in range(count)],
        "common": [(f"{1:016x}", count)],
        "predicted": {"seconds": 60.0, "memory": 9e8},
        "used": {"seconds": 62.0, "memory": 9.1e8},
        "settings": {"top": 5, "curvature": {"solver": "ekfac"}},
        "notes": ["The very text of query 1 is among the training documents."],
    }
    facts.update(changes)  # type: ignore[typeddict-item]
    return facts
