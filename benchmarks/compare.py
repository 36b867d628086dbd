"""The bench: methods compared by small models trained on what they select.

    python benchmarks/compare.py                      all stages, one after another
    python benchmarks/compare.py plain                one stage, or several
    python benchmarks/compare.py report               the tables of what is there
    python benchmarks/compare.py plain --so-far       the tables of an unfinished stage

| stage   | pool                         | selections                           | trained |
|---------|------------------------------|--------------------------------------|---------|
| plain   | as it is                     | all of plans/compare.yaml            | LITTLE  |
| joined  | pieces joined into documents | JOINED                               | LITTLE  |
| clean   | no 13 words of a validation  | two best of `plain`, default, ends   | LITTLE  |
| large   | as it is                     | five best of `plain`, default, ends  | LARGE   |
| scaling | as it is                     | two best of `plain`, default, ends   | SCALING |

The ends are random documents and the oracle. `large` and `scaling` look at three targets,
`large` with three seeds.
Needs DATAWORTH_TEST_DATA. All goes through `dataworth.compare`; a stage that was stopped goes on
where it was when it is started again, and no training is done twice, not in another stage either.
Folders: $DATAWORTH_BENCH_DIR/compare/STAGE. Writes results/compare.md after each stage.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import yaml

import dataworth
import pools
from common import cores, scratch, table, write_results
from dataworth import Comparison, Engine, Progress
from dataworth.comparing.comparison import load_comparison
from dataworth.corpus.documents import Documents
from dataworth.corpus.uid import hash_uid
from judging import RIGHT

PLAN = Path(__file__).parent / "plans" / "compare.yaml"
POOL = {"plain": "plain", "joined": "joined", "clean": "plain", "large": "plain"}
POOL |= {"scaling": "plain"}
STAGES = tuple(POOL)
SEEDS = 5
BEST = 5
BASE, TOP, DEFAULT = "random", "oracle", "default"
LITTLE = {"sizes": ["tiny"], "tokens": ["200k"]}
LARGE = {"sizes": ["small"], "tokens": ["400k"], "seeds": 3}
SCALING = {"tokens": ["50k", "100k", "200k"]}
FEW = ("wiki_books", "code", "math")
JOINED = ("longest documents", "100 words or more", "top-k", "sum, temperature 1", "reference")
_STREAM = 0x6F7261636C65
TITLES = {
    "plain": "The pool as it is: pieces of 250 to 400 words",
    "joined": "Joined into documents of 50 to 50,000 words",
    "clean": "Without documents that share 13 words in a row with a validation set",
    "large": "The five best at the larger size",
    "scaling": "Scaling over tokens",
}


def folder_of(stage: str) -> Path:
    """Where a stage is kept."""
    return scratch("compare") / stage


def plan_of(stage: str) -> dict[str, Any]:
    """The plan of a stage."""
    os.environ.setdefault("DATAWORTH_BENCH_DIR", str(scratch()))
    plan: dict[str, Any] = yaml.safe_load(PLAN.read_text("utf-8"))
    pool = POOL[stage]
    plan["pool"] = str(pools.build(pool))
    plan["title"] = f"The bench: {TITLES[stage]}"
    finished(pool, plan["budget"])
    for options in plan["selections"].values():
        if "from" in options:
            options["from"] = options["from"].replace("/plain/", f"/{pool}/")
    plan |= LITTLE
    if stage == "joined":
        keep(plan, [DEFAULT, *JOINED])
        plan |= {"validation_bytes": "64KiB", "pool_bytes": "32KiB"}
    elif stage == "clean":
        keep(plan, [DEFAULT, *best(2)])
        plan["decontaminate"] = True
    elif stage in ("large", "scaling"):
        keep(plan, [DEFAULT, *best(BEST if stage == "large" else 2)])
        plan |= LARGE if stage == "large" else SCALING
        for part in ("targets", "budget"):
            plan[part] = {name: plan[part][name] for name in FEW}
        plan["right"]["domain"] = {name: plan["right"]["domain"][name] for name in FEW}
    return plan


def keep(plan: dict[str, Any], names: Sequence[str]) -> None:
    """These selections, the baseline and the oracle alone."""
    wanted = {BASE, TOP, *names}
    plan["selections"] = {n: o for n, o in plan["selections"].items() if n in wanted}


def best(count: int) -> list[str]:
    """The best selections of `plain` by their mean loss over targets, without the oracle."""
    board = board_of(load_comparison(folder_of("plain")), None)
    names = [row["selection"] for row in board["rows"]]
    return [name for name in names if name not in (BASE, TOP)][:count]


def finished(pool: str, budgets: Mapping[str, str], within: str = "compare") -> None:
    """Write the selections that no step makes: the oracle's and the longest documents."""
    folder = scratch(f"{within}/finished/{pool}")
    if (folder / "longest.jsonl").exists():
        return
    rows = [row for file in pools.files(pools.build(pool)) for row in pools.read_rows(file)]
    uid = Documents.from_texts([row["text"] for row in rows]).uid
    tokens = np.array([len(row["text"].encode()) / 4 for row in rows])
    domain = np.array([row["domain"] for row in rows])
    # Exact copies are chosen once by every method.
    first = np.zeros(len(rows), np.bool_)
    first[np.unique(uid, return_index=True)[1]] = True

    def write(name: str, order: np.ndarray[Any, Any], budget: float) -> None:
        enough = int(np.searchsorted(np.cumsum(tokens[order]), budget)) + 1
        lines = (orjson.dumps(rows[int(row)]) + b"\n" for row in order[:enough])
        partial = folder / f"{name}.partial"
        partial.write_bytes(b"".join(lines))
        partial.rename(folder / f"{name}.jsonl")

    for target in budgets:
        right = np.flatnonzero(np.isin(domain, RIGHT[target]) & first)
        for seed in range(SEEDS):
            order = right[np.argsort(hash_uid(seed, uid[right], _STREAM))]
            write(f"oracle-{target}-{seed}", order, amount(budgets[target]))
    everything = np.flatnonzero(first)
    order = everything[np.lexsort((uid[everything], -tokens[everything]))]
    write("longest", order, max(amount(budget) for budget in budgets.values()))


def amount(budget: str) -> float:
    """Tokens of a budget."""
    from dataworth.mechanism.budget import parse_budget

    return float(parse_budget(budget).amount)


def run(stage: str, workers: int, *, so_far: bool) -> Comparison:
    """Carry out a stage, or what is left of it."""
    start = time.perf_counter()
    others = [folder_of(other) for other in STAGES if other != stage]
    made = dataworth.compare(
        plan_of(stage),
        out=folder_of(stage),
        reuse=[path for path in others if (path / "plan.json").is_file()],
        so_far=so_far,
        engine=Engine(workers, "processes"),
        progress=Progress("lines", every=60.0),
    )
    print(f"{stage}: {time.perf_counter() - start:,.0f} s", file=sys.stderr)
    return made


def board_of(made: Comparison, target: str | None, measure: str = "loss", place: int = 0) -> Any:
    """A leaderboard; `place`: which of the (size, tokens), in order."""
    boards = [
        board
        for board in made.facts["leaderboards"]
        if board["target"] == target and board["measure"] == measure
    ]
    return boards[place]


def loss_table(made: Comparison, place: int = 0) -> str:
    """Differences in loss from random: on the mean over targets and on each target."""
    targets: list[str | None] = [None, *made.facts["targets"]]
    boards = {target: board_of(made, target, place=place) for target in targets}
    rows = {t: {row["selection"]: row for row in board["rows"]} for t, board in boards.items()}
    pool = {row["selection"]: row for row in board_of(made, None, "pool_loss", place)["rows"]}
    lines: list[list[object]] = []
    for name in rows[None]:
        line: list[object] = [name]
        line += [told(rows[target].get(name)) for target in targets]
        line.append(told(pool.get(name)))
        line.append(gain(rows, name, made.facts["targets"]))
        lines.append(line)
    header = ["selection", "mean over targets", *made.facts["targets"], "on the pool's sample"]
    return table([*header, "of the oracle's gain"], lines)


def told(row: Any) -> str:
    """A difference with its interval, bold if it does not hold zero; the baseline's loss."""
    if row is None:
        return ""
    if row.get("difference") is None:
        return f"{row['mean']:.3f}"
    if row.get("low") is None:
        return f"{row['difference']:+.3f}"
    text = f"{row['difference']:+.3f} ({row['low']:+.3f}, {row['high']:+.3f})"
    return f"**{text}**" if row["verdict"] == "better" else text


def gain(rows: Mapping[str | None, Mapping[str, Any]], name: str, targets: Sequence[str]) -> str:
    """The share of the oracle's gain over random that a selection has, on the mean."""
    own = rows[None][name].get("difference")
    best_one = rows[None].get(TOP, {}).get("difference")
    return f"{own / best_one:.0%}" if own is not None and best_one else ""


def counts_table(made: Comparison) -> str:
    """On how many targets each selection is better and worse than random."""
    rows = []
    for row in board_of(made, None)["rows"]:
        name = row["selection"]
        if name == BASE:
            continue
        verdicts = [
            item["verdict"]
            for target in made.facts["targets"]
            for item in board_of(made, target)["rows"]
            if item["selection"] == name
        ]
        kinds = ("better", "no difference shown", "worse")
        rows.append([name, *(verdicts.count(kind) for kind in kinds)])
    return table(["selection", "better on", "no difference shown on", "worse on"], rows)


def predictions_table(made: Comparison) -> str:
    """How cheap numbers go with losses."""
    rows = []
    for item in made.facts["predictions"]:
        accuracy = item["decision_accuracy"]
        rows.append(
            [
                item["metric"],
                item["measure"],
                number(item["r"]),
                f"{number(item['low'])} to {number(item['high'])}",
                number(item["spearman"]),
                "" if accuracy is None else f"{accuracy:.0%}",
                item["n"],
            ]
        )
    header = ["metric", "measure", "r within targets", "95 % interval", "Spearman"]
    return table([*header, "pairs ordered alike", "points"], rows)


def number(value: float | None) -> str:
    """Two decimals with a sign."""
    return "" if value is None else f"{value:+.2f}"


def scaling_table(made: Comparison) -> str:
    """Fitted laws and compute multipliers against random."""
    rows = []
    for item in made.facts["scaling"]:
        law, multiplier = item["law"], item["multiplier"]
        fitted = ""
        if law is not None:
            fitted = f"{law['floor']:.2f} + {law['scale']:.3g} x^-{law['exponent']:.2f}"
            fitted += f" (±{law['error']:.3f})"
        gained = ""
        if multiplier is not None and multiplier["value"] is not None:
            gained = f"{multiplier['value']:.2f}"
            if multiplier["low"] is not None and multiplier["high"] is not None:
                gained += f" ({multiplier['low']:.2f}, {multiplier['high']:.2f})"
            gained += " outside" if multiplier["outside"] else ""
        by_x: dict[float, list[float]] = {}
        for x, loss, _ in item["points"]:
            by_x.setdefault(x, []).append(loss)
        losses = ", ".join(f"{np.mean(values):.3f}" for _, values in sorted(by_x.items()))
        rows.append(
            [item["selection"], item["target"] or "mean", item["axis"], losses, fitted, gained]
        )
    return table(["selection", "target", "axis", "losses", "law", "multiplier"], rows)


def shape_table(made: Comparison) -> str:
    """Cheap numbers: means over targets and seeds."""
    sums: dict[tuple[str, str], list[float]] = {}
    for item in made.facts["cheap"]:
        sums.setdefault((item["selection"], item["metric"]), []).append(item["value"])
    names = [metric["name"] for metric in made.facts["metrics"]]
    rows = [
        [one["name"], *(_mean(sums.get((one["name"], name))) for name in names)]
        for one in made.facts["selections"]
    ]
    labels = [f"{metric['label']} ({metric['unit']})" for metric in made.facts["metrics"]]
    return table(["selection", *labels], rows)


def _mean(values: Sequence[float] | None) -> str:
    return f"{np.mean(values):.3g}" if values else ""


def parts(stage: str, made: Comparison) -> Iterator[str]:
    """The tables of a stage."""
    facts = made.facts
    yield f"## {TITLES[stage]}"
    sizes = {(item["size"], item["parameters"], item["tokens"]) for item in facts["trainings"]}
    seconds = sum(one["seconds"] for one in {t["id"]: t for t in facts["trainings"]}.values())
    shown = "; ".join(f"{n} ({p:,} parameters), {t:,} tokens" for n, p, t in sorted(sizes))
    yield (
        f"{shown}. {len({item['id'] for item in facts['trainings']})} trainings, "
        f"{seconds / 60:,.0f} minutes of a core."
    )
    places = sorted({(item["size"], item["tokens"]) for item in facts["leaderboards"]})
    ordered = list(dict.fromkeys((b["size"], b["tokens"]) for b in facts["leaderboards"]))
    for place, (size, tokens) in enumerate(ordered):
        if len(places) > 1:
            yield f"### {size}, {tokens:,} tokens"
        yield loss_table(made, place)
    yield counts_table(made)
    if facts["scaling"]:
        yield "### Laws and compute multipliers"
        yield scaling_table(made)
    if stage in ("plain", "joined"):
        yield "### Does the cheap number predict the loss?"
        yield predictions_table(made)
        yield "### The selections in cheap numbers"
        yield shape_table(made)
    if facts["warnings"]:
        yield "\n".join(f"- {text}" for text in facts["warnings"])


EXPLAINED = """\
Each cell is the difference in loss (nats per token) on the target's validation text from the model
trained on random documents with the same seed, with its 95 % paired t interval over the seeds; bold
where it lies below zero. Below zero is better. The row of `random` has its loss itself. On the mean
over targets a seed is one point. Initial weights and the order of the sequences are the same for
all selections of a seed. `of the oracle's gain`: the difference over the oracle's; the oracle takes
random documents of the right domains alone. `on the pool's sample`: loss on held-out random
documents of the pool, the price of turning to a target. Predictions: means over seeds, both sides
centred on their target's mean; the interval resamples whole selections."""


def report() -> None:
    """Write the tables of all stages that are there."""
    text = [EXPLAINED]
    for stage in STAGES:
        if (folder_of(stage) / "comparison.json").is_file():
            made = load_comparison(folder_of(stage))
            text += parts(stage, made) if made.facts["leaderboards"] else []
    settings = {
        "command": "python benchmarks/compare.py " + " ".join(sys.argv[1:]),
        "seeds": SEEDS,
        "plan": "benchmarks/plans/compare.yaml",
    }
    body = "\n\n".join(text)
    print(body)
    write_results("compare", "Methods compared by training", settings=settings, body=body)


def main() -> None:
    """Carry out stages and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stages", nargs="*", default=list(STAGES), metavar="STAGE")
    parser.add_argument("--workers", type=int, default=cores())
    parser.add_argument("--so-far", action="store_true", help="train nothing, show what is there")
    parser.add_argument("--only-prepare", action="store_true", help="pools and finished selections")
    arguments = parser.parse_args()
    if unknown := [stage for stage in arguments.stages if stage not in (*STAGES, "report")]:
        parser.error(f"no stage {unknown[0]}: there are {', '.join(STAGES)} and report")
    for stage in arguments.stages:
        if stage == "report":
            report()
        elif arguments.only_prepare:
            if stage in ("plain", "joined"):
                plan_of(stage)
        else:
            run(stage, arguments.workers, so_far=arguments.so_far)
            report()


if __name__ == "__main__":
    main()
