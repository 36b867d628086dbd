"""A judgement as a true one would be, on the metrics of `report.example`.

`python -m report.judgement_example OUT` (in `tests/`, with DATAWORTH_TEST_DATA set) writes a page
to look at, and prints the summary.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from dataworth.results.judgement import Metrics
from report.example import from_data


def judgement(data: Path, documents: int = 600) -> Metrics:
    """A judgement of a selection for two targets."""
    base: Any = from_data(data, ["math", "code"], documents=documents)
    accounting = base["accounting"]
    kept = accounting["kept"]
    targets = [
        {
            "name": target["name"],
            "documents": target["documents"],
            "bytes": 700_000,
            "gain": target["gain"],
            "validation": {
                "documents": 120,
                "gain": {**target["gain"], "value": 0.21, "documents": 120},
            },
        }
        for target in base["targets"]
    ]
    return {
        "judgement_version": 1,
        "title": "Is out/ any good?",
        "version": "0.2.0",
        "seed": 0,
        "settings": {"holdout": 0.5, "fields": {"text": ["text"]}, "group_by": ["domain"]},
        "inputs": [
            {"path": "pool/books.jsonl.zst", "format": "jsonl", "role": "pool", "documents": 3389},
            {"path": "math.target.jsonl", "format": "jsonl", "role": "target math"},
        ],
        "selection": {
            "name": "out/",
            "kind": "selection",
            "path": "out/",
            "documents": kept["documents"] + 2,
            "distinct": kept["documents"],
            "tokens": kept["tokens"],
            "tokens_estimated": True,
            "bytes": kept["bytes"],
            "bad": {},
            "chosen_by": "gumbel_top_k(temperature=0.14)",
            "budget": "10%",
        },
        "pool": {
            "name": "pool/",
            "documents": accounting["documents"],
            "tokens": accounting["pool"]["tokens"],
            "bytes": accounting["pool"]["bytes"],
            "found": kept["documents"],
            "found_share": 1.0,
        },
        "targets": targets,  # type: ignore[typeddict-item]
        "mean": {"value": 0.31, "bound": 0.8, "targets": 2},
        "utilities": base["utilities"],
        "composition": base["composition"],
        "lengths": base["lengths"],
        "ngrams": base["ngrams"],
        "duplicates": {
            "exact": 2,
            "exact_share": 2 / (kept["documents"] + 2),
            "largest": 2,
            "intended": False,
            "near": 3,
            "near_of": kept["documents"],
            "near_share": 3 / kept["documents"],
            "pool_exact_share": 0.013,
            "measured": "near: MinHash of 5-word n-grams",
        },
        "diversity": {
            "selection": {"distinct_1": 0.11, "distinct_2": 0.47, "distinct_3": 0.79}
            | {"compression_ratio": 2.71},  # type: ignore[typeddict-item]
            "pool": {"distinct_1": 0.13, "distinct_2": 0.53, "distinct_3": 0.86}
            | {"compression_ratio": 2.42},  # type: ignore[typeddict-item]
            "bytes": 240_000,
            "measured": "on 0.24 MB of random documents of each",
        },
        "overlap": [
            {
                "name": "other/",
                "path": "other/",
                "documents": 58,
                "common": 31,
                "jaccard": 31 / 87,
                "share": 31 / 60,
                "expected_jaccard": 0.053,
                "ranks": [
                    {"what": "order", "mine": "gumbel_top_k", "other": "top_k"}
                    | {"spearman": 0.63, "documents": 600},  # type: ignore[list-item]
                    {"what": "math", "mine": "utility:ratio:math", "other": "utility:b:math"}
                    | {"spearman": 0.91, "documents": 600},  # type: ignore[list-item]
                ],
            },
            {"name": "none/", "documents": 50, "common": 0, "jaccard": 0.0},
        ],
        "contamination": [
            {
                "name": "math",
                "words": 13,
                "documents": 118,
                "short": 2,
                "hit": 7,
                "hit_share": 7 / 118,
                "held": 3,
                "held_share": 3 / 118,
                "exact": 1,
                "selected": 5,
                "selected_share": 5 / 62,
                "pool_share": 0.011,
                "examples": [
                    {"text": "Let x be a number such that the sum of its digits … " * 8}
                    | {"share": 1.0, "uid": "00ff" * 4},  # type: ignore[list-item]
                    {"text": "Prove that every group of prime order is cyclic."}
                    | {"share": 0.52, "uid": "0f0f" * 4},  # type: ignore[list-item]
                ],
                "measured": "13 words in lower case, signs aside",
            },
            {"name": "code", "words": 13, "documents": 90, "hit": 0, "hit_share": 0.0},
        ],
        "warnings": ["The selection holds 3 of 118 documents of the validation set math."],
        "notes": ["No thresholds were drawn."],
    }


if __name__ == "__main__":
    from rich.console import Console

    from dataworth.report import judgement_page, judgement_summary

    example = judgement(Path(os.environ["DATAWORTH_TEST_DATA"]), 4_000)
    print(judgement_page.write(example, sys.argv[1]))
    judgement_summary.show(example, Console())
