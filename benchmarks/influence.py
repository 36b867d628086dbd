"""Influence as utility: methods that ask a model, beside DSIR and random, compared by training.

    python benchmarks/influence.py                  what is left to do, then the tables
    python benchmarks/influence.py --only-prepare   the pool, the models, the oracle's selections
    python benchmarks/influence.py --so-far         the tables of what is there
    python benchmarks/influence.py --without NAME   leaves out some selections, which are slow

Needs DATAWORTH_TEST_DATA. The plan is plans/influence.yaml. The methods ask tiny models trained on
1,000,000 tokens of random documents of the pool (`dataworth proxy`), three seeds, three checkpoints
of each; the selections are judged by other tiny models, trained on 200,000 tokens of what was
selected. Costs are seconds of a core, counted while the comparison scores. Folder:
$DATAWORTH_BENCH_DIR/influence. What was stopped goes on where it was. Writes results/influence.md.
"""

from __future__ import annotations

import argparse
import os
import shlex
import statistics
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

import dataworth
import pools
from common import scratch, table, write_results
from compare import amount, counts_table, finished, loss_table
from dataworth import Comparison, Engine, Progress
from dataworth.engine.files import read_json
from judging import RIGHT

PLAN = Path(__file__).parent / "plans" / "influence.yaml"
POOL = "sixth"
TOKENS, SEEDS, CHECKPOINTS = "1M", 3, 3
METRICS = ("right_share", "kl_reduction", "length_correlation", "document_bytes")


def folder() -> Path:
    """Where all of it is kept."""
    return scratch("influence")


def prepare() -> None:
    """The pool, the models that are asked, with what they cost, and the oracle's selections."""
    os.environ.setdefault("DATAWORTH_BENCH_DIR", str(scratch()))
    plan = yaml.safe_load(PLAN.read_text("utf-8"))
    pool = pools.build(POOL)
    dataworth.proxy(
        str(pool),
        tokens=TOKENS,
        seeds=SEEDS,
        checkpoints=CHECKPOINTS,
        out=folder() / "proxies",
        engine=1,
        progress=Progress("lines"),
    )
    finished(POOL, plan["budget"], "influence")


def run(workers: int, without: Sequence[str], *, so_far: bool) -> Comparison:
    """Carry out the comparison, or what is left of it, `without` some selections.

    What other comparisons in the folder scored or trained in the same way is taken over.
    """
    plan = yaml.safe_load(PLAN.read_text("utf-8"))
    for name in without:
        del plan["selections"][name]
    out = folder() / (f"without-{len(without)}" if without else "compared")
    return dataworth.compare(
        plan,
        out=out,
        reuse=sorted({path.parent for path in folder().glob("*/plan.json")} - {out}),
        so_far=so_far,
        engine=Engine(workers, "processes"),
        progress=Progress("lines", every=60.0),
    )


def cost_table(made: Comparison) -> str:
    """Seconds of a core to fit and score, also as trainings and for each MB of the pool's text."""
    size = sum(len(row["text"].encode()) for row in pool_rows()) / 1e6
    training = statistics.median(
        one["core_seconds"] for one in made.facts["trainings"] if "core_seconds" in one
    )
    rows: list[list[object]] = []
    for one in made.facts["selections"]:
        seconds = one.get("core_seconds")
        if seconds is not None and one.get("steps"):
            rows.append([one["name"], seconds, seconds / training, seconds / size])
    tokens = made.facts["plan"]["tokens"][0]
    rows.append([f"training on {tokens:,} tokens, compared models", training, 1.0, float("nan")])
    models = read_json(folder() / "proxies" / "proxies.json")["models"]
    asked = [one["core_seconds"] for one in models if one["last"] and "core_seconds" in one]
    if asked:
        one_model = statistics.median(asked)
        rows.append(["training a model to ask", one_model, one_model / training, float("nan")])
    header = ["what", "seconds of a core", "in trainings", "seconds a MB of text"]
    return table(header, rows)


def pool_rows() -> Iterator[dict[str, Any]]:
    """The documents of the pool."""
    return (row for file in pools.files(pools.build(POOL)) for row in pools.read_rows(file))


def cheap_tables(made: Comparison) -> Iterator[str]:
    """What is known of the selections without training, for each target: means over seeds."""
    sums: dict[tuple[str, str, str], list[float]] = {}
    for item in made.facts["cheap"]:
        key = (item["selection"], item["target"], item["metric"])
        sums.setdefault(key, []).append(item["value"])
    held: Counter[str] = Counter()
    for row in pool_rows():
        held[row["domain"]] += round(len(row["text"].encode()) / 4)
    known = {metric["name"]: metric["label"] for metric in made.facts["metrics"]}
    wanted = [name for name in METRICS if name in known]
    for target in made.facts["targets"]:
        yield f"### {target}, without training"
        most = amount(made.facts["plan"]["budget"][target])
        share_held = most / sum(held[domain] for domain in RIGHT[target])
        rows = []
        for one in made.facts["selections"]:
            means = [_mean(sums.get((one["name"], target, name))) for name in wanted]
            share = means[wanted.index("right_share")]
            rows.append([one["name"], *means[:1], share * share_held, *means[1:]])
        header = [known[name] for name in wanted]
        yield table(["selection", header[0], "recall", *header[1:]], rows)


def _mean(values: Sequence[float] | None) -> float:
    return statistics.fmean(values) if values else float("nan")


EXPLAINED = """\
The first table: the difference in loss (nats per token) on the target's validation text from the
model trained on random documents with the same seed, with its 95 % paired t interval over five
seeds; bold where it lies below zero, which is better. The row of `random` has its loss itself.
`of the oracle's gain`: of that of random documents of the right domains alone. Costs are seconds of
a core, to fit and to score the whole pool for both targets; `in trainings`: over one training of
the models that are compared. Gradients are of the first 127 tokens of each document, but for `whole
documents`; all methods that ask a model ask tiny ones that saw a million tokens of the pool.
Recall: tokens of the right domains that are in the selection over those in the pool."""


def report(made: Comparison) -> None:
    """Write the tables."""
    parts = [EXPLAINED, loss_table(made), counts_table(made), "## Costs", cost_table(made)]
    parts += ["## The selections in numbers", *cheap_tables(made)]
    body = "\n\n".join(parts)
    print(body)
    settings = {
        "command": f"python benchmarks/influence.py {shlex.join(sys.argv[1:])}".strip(),
        "plan": "benchmarks/plans/influence.yaml",
        "models asked": f"tiny, {TOKENS} tokens, {SEEDS} seeds, {CHECKPOINTS} checkpoints of each",
    }
    write_results("influence", "Influence as utility", settings=settings, body=body)


def main() -> None:
    """Do what is left and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--without", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--so-far", action="store_true", help="train nothing, show what is there")
    parser.add_argument("--only-prepare", action="store_true")
    arguments = parser.parse_args()
    prepare()
    if not arguments.only_prepare:
        report(run(arguments.workers, arguments.without, so_far=arguments.so_far))


if __name__ == "__main__":
    main()
