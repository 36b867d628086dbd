"""The online mixtures' weights on the pool of 20 domains, without a target.

    DATAWORTH_TEST_DATA=… python benchmarks/mixtures.py [FOLDER] [TOKENS]

The folder keeps the text and what was trained: the same command goes on where it stopped. Prints a
table of weights, and the seconds of processor time that each mixture took; writes mixtures.json
into the folder.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import dataworth
from dataworth.mixture.base import Groups
from dataworth.mixture.registry import parse
from dataworth.mixture.swarm import read_groups

MIXTURES: dict[str, dict[str, Any]] = {
    "doremi": {},
    "doge": {},
    "odm": {},
    "ado": {},
    "tikmix": {"batches": 8},
}
BUDGET = 10_000_000


def main(folder: Path, tokens: str) -> None:
    """Prepare the text, learn each mixture, and print their weights."""
    pool = Path(os.environ["DATAWORTH_TEST_DATA"]) / "pool"
    options: dict[str, Any] = {"tokens": tokens, "vocabulary": 2048, "held_out": "10kB"}
    swarm = dataworth.swarm(pool, group_by="domain", mixtures=0, out=folder, engine=1, **options)
    known = read_groups(swarm.folder)
    sizes = {one["name"]: float(one["tokens"]) for one in swarm.facts["domains"]}
    groups = Groups("domain", sizes, BUDGET, max_repeat=4)
    columns: dict[str, Any] = {"natural": dict(zip(known.names, known.natural, strict=True))}
    seconds = {}
    for name, more in MIXTURES.items():
        start = time.process_time()
        columns[name] = parse({name: {"swarm": str(folder), **more}}).fit(groups, [], None)
        seconds[name] = round(time.process_time() - start, 1)
    rows = [["domain", *columns]]
    rows += [[name, *(f"{column[name]:.3f}" for column in columns.values())] for name in sizes]
    rows += [["seconds", "", *(str(seconds[name]) for name in MIXTURES)]]
    for row in rows:
        print(f"{row[0]:14s}" + "".join(f"{cell:>9s}" for cell in row[1:]))
    weights = {name: {k: float(x) for k, x in column.items()} for name, column in columns.items()}
    facts = {"tokens": tokens, "budget": BUDGET, "weights": weights, "seconds": seconds}
    (folder / "mixtures.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "mixtures"), (sys.argv[2:] or ["60k"])[0])
