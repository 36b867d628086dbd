"""Quality without training: DSIR and its variants, top-k, Pareto, random, on all targets.

    python benchmarks/quality.py                    all pools, 3 seeds, to results/quality.md
    python benchmarks/quality.py --pool plain --seeds 1 --target math code

Needs DATAWORTH_TEST_DATA. Every choice goes through the public functions (`score`, `choose`); how
it is judged is described in judging.py. The seed is the run's: of the pool's sample, of the halves
of the targets and of the noise. Each pool is scored once a seed, with all targets and variants
together; the rest is choosing. The `reference` ignores the first two, so it is scored once.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import dataworth
import pools
from common import cores, table, write_results
from dataworth.flow.scores import Scores
from judging import RIGHT, Outcome, Yardstick, label_of, target_files

AUTO = "gumbel_top_k(temperature=auto)"
PAPER = "gumbel_top_k(temperature=1.0)"
REFERENCE = "dsir:reference(targets=separate)"
SUM = "dsir(per=document, smoothing=0)"
DISCRIMINATIVE = "dsir_discriminative"


@dataclass(frozen=True)
class Method:
    """A row of the tables: a step, a mechanism, and in which run the step is scored.

    `run`: "half" learns from one half of the target, "whole" from all of it, "pieces" cuts the
    documents into pieces of 300 words. `everywhere`: on all pools, not the plain one alone.
    """

    name: str
    step: str = "dsir"
    mechanism: str = AUTO
    run: str = "half"
    everywhere: bool = False


METHODS = (
    Method("**default**: dsir", everywhere=True),
    Method("default, learning from the whole target", run="whole", everywhere=True),
    Method("default on pieces of 300 words", run="pieces"),
    Method("mean weight, top-k", mechanism="top_k", everywhere=True),
    Method(
        "mean weight, temperature 0.15",
        mechanism="gumbel_top_k(temperature=0.15)",
        everywhere=True,
    ),
    Method("mean weight, Pareto", mechanism="pareto", everywhere=True),
    Method("smoothing 0", "dsir(smoothing=0)"),
    Method("smoothing 1", "dsir(smoothing=1)"),
    Method("raw model on all of the pool", "dsir(raw=all)"),
    Method("1-grams", "dsir(ngrams=1)"),
    Method("1- to 3-grams", "dsir(ngrams=3)"),
    Method("sum (paper), temperature 1", SUM, PAPER, everywhere=True),
    Method("sum, top-k", SUM, "top_k", everywhere=True),
    Method("sum, automatic temperature", SUM, AUTO, everywhere=True),
    Method("sum, 1-grams, temperature 1", "dsir(ngrams=1, per=document, smoothing=0)", PAPER),
    Method("dsir:reference", REFERENCE, PAPER, run="whole", everywhere=True),
    Method("discriminative, temperature 1", DISCRIMINATIVE, PAPER, everywhere=True),
    Method("discriminative, automatic temperature", DISCRIMINATIVE, AUTO, everywhere=True),
    Method("discriminative, top-k", DISCRIMINATIVE, "top_k"),
    Method("discriminative, Pareto", DISCRIMINATIVE, "pareto"),
    Method("random", mechanism="random", everywhere=True),
)
ORACLE = "only the right domains, at random"
POOLS = {
    "plain": "The pool as it is: pieces of 250 to 400 words",
    "joined": "Joined into documents of 50 to 50,000 words",
    "planted": "With planted bad lines and near duplicates",
}
Found = dict[str, dict[str, list[Outcome]]]
"""Method and target to the outcomes of the seeds."""


def methods_on(pool: str) -> list[Method]:
    """The methods that are compared on a pool."""
    extra = {"pieces"} if pool == "joined" else set()
    return [
        method
        for method in METHODS
        if (method.everywhere or pool == "plain" or method.run in extra)
        and not (method.run == "pieces" and pool != "joined")
    ]


def score_run(pool: str, methods: Sequence[Method], seed: int) -> tuple[Scores, dict[str, str]]:
    """One run with all steps of some methods: the scores, and each step's label."""
    steps = list(dict.fromkeys(method.step for method in methods))
    run = methods[0].run
    scores = dataworth.score(
        str(pools.build(pool)),
        target_files(),
        steps=steps,
        id_field="id",
        group_by=("domain", "source"),
        seed=seed,
        holdout=0.0 if run == "whole" else 0.5,
        engine=cores(),
        split_words=300 if run == "pieces" else None,
    )
    return scores, {step: label_of(scores, place) for place, step in enumerate(steps)}


def batches(methods: Sequence[Method]) -> list[list[Method]]:
    """Methods that share a run. The reference drops short documents, so it has one of its own."""
    groups: dict[tuple[str, bool], list[Method]] = defaultdict(list)
    for method in methods:
        groups[method.run, method.step == REFERENCE].append(method)
    return list(groups.values())


def compare(pool: str, seeds: Sequence[int], targets: Sequence[str]) -> Found:
    """All methods on one pool."""
    found: Found = defaultdict(lambda: defaultdict(list))
    rulers: dict[str, Yardstick] = {}
    with ThreadPoolExecutor(cores()) as threads:
        for batch in batches(methods_on(pool)):
            scored: tuple[Scores, dict[str, str]] | None = None
            kind = "pieces" if batch[0].run == "pieces" else "documents"
            for seed in seeds:
                if scored is None or batch[0].step != REFERENCE:
                    scored = score_run(pool, batch, seed)
                scores, labels = scored
                if kind not in rulers:
                    # The same random selections for pieces as for documents, to be comparable.
                    base = rulers["documents"].distance if rulers else None
                    rulers[kind] = Yardstick(scores, base)

                def one(
                    job: tuple[Method, str],
                    scores: Scores = scores,
                    labels: Mapping[str, str] = labels,
                    ruler: Yardstick = rulers[kind],
                    seed: int = seed,
                ) -> Outcome:
                    method, target = job
                    selection = scores.choose(
                        ruler.budget[target],
                        utility=f"{labels[method.step]}:{target}",
                        mechanism=method.mechanism,
                        seed=seed,
                    )
                    return ruler.judge(target, selection)

                jobs = [(method, target) for method in batch for target in targets]
                for (method, target), outcome in zip(jobs, threads.map(one, jobs), strict=True):
                    found[method.name][target].append(outcome)
    ruler = rulers["documents"]
    for seed in seeds:
        for target in targets:
            outcome = ruler.judge_rows(target, ruler.oracle(target, seed))
            found[ORACLE][target].append(outcome)
    return found


def spread(values: Sequence[float]) -> float:
    """Standard deviation, 0 for one value."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def over_targets(
    found: Mapping[str, Sequence[Outcome]], name: str, *, mean: Callable[..., float]
) -> float:
    """A number's mean over targets and seeds; NaN where it is not defined for one of them."""
    values = [getattr(outcome, name) for outcomes in found.values() for outcome in outcomes]
    return float("nan") if any(math.isnan(value) for value in values) else mean(values)


def geometric(values: Sequence[float]) -> float:
    """Geometric mean."""
    return math.exp(statistics.fmean(math.log(max(value, 1e-12)) for value in values))


def kl_table(found: Found, targets: Sequence[str]) -> str:
    """KL reduction and the share of the right domains, for each target."""
    rows = []
    for name, of_method in order_of(found):
        line: list[object] = [name]
        for target in targets:
            kl = [outcome.kl for outcome in of_method[target]]
            share = statistics.fmean(outcome.share for outcome in of_method[target])
            line.append(f"{statistics.fmean(kl):.3f} ± {spread(kl):.3f} ({share:.0%})")
        means = [
            statistics.fmean(of_method[target][i].kl for target in targets)
            for i in range(len(of_method[targets[0]]))
        ]
        line.append(f"{statistics.fmean(means):.3f} ± {spread(means):.3f}")
        line.append(f"{over_targets(of_method, 'share', mean=statistics.fmean):.0%}")
        line.append(f"{wins(found, name, targets)} of {len(targets)}")
        rows.append(line)
    return table(["method", *targets, "mean", "mean share", "better than the default"], rows)


def wins(found: Found, name: str, targets: Sequence[str]) -> int:
    """Targets on which a method's mean KL reduction exceeds the default's."""

    def value(method: str, target: str) -> float:
        return statistics.fmean(outcome.kl for outcome in found[method][target])

    first = METHODS[0].name
    return sum(value(name, target) > value(first, target) + 1e-9 for target in targets)


def shape_table(found: Found, *, planted: bool) -> str:
    """What else is known of the selections: means over targets and seeds."""
    rows = []
    for name, of_method in order_of(found):

        def text(name: str, form: str, mean: Callable[..., float], of: Any = of_method) -> str:
            value = over_targets(of, name, mean=mean)
            return "" if math.isnan(value) else form.format(value)

        line: list[object] = [
            name,
            text("recall", "{:.0%}", statistics.fmean),
            text("effective", "{:.2g}", statistics.median),
            text("length_rank", "{:+.2f}", statistics.fmean),
            text("length_ratio", "{:.2f}", geometric),
            text("documents", "{:,.0f}", statistics.fmean),
            text("sources", "{:,.0f}", statistics.fmean),
        ]
        rows.append([*line, text("copies", "{:.1%}", statistics.fmean)] if planted else line)
    header = ["method", "recall", "effective size / chosen", "length rank correlation"]
    header += ["median length / pool's", "documents", "sources"]
    return table([*header, "near duplicates"] if planted else header, rows)


def order_of(found: Found) -> list[tuple[str, dict[str, list[Outcome]]]]:
    """The methods in the order of `METHODS`, the oracle last."""
    names = [method.name for method in METHODS if method.name in found]
    return [(name, found[name]) for name in [*names, ORACLE]]


EXPLAINED = """\
Each cell of the first table is the KL reduction on the target's validation file in nats, mean ±
standard deviation over the seeds, and in brackets the share of the right domains (by tokens).
`mean weight` is the default's utility, the log importance weight per n-gram, `sum` the paper's
without smoothing. All learn from a random half of the target, but for those that say `whole` and
`dsir:reference`, which has the published buckets and drops documents below 100 words. In the second
table: recall of the right domains (0.5 is the most where the budget is half of what they hold), the
effective sample size of the weights over the number of documents chosen (median), Spearman's
correlation of utility and length within the right domains, and the median length of the selection
over the pool's."""


def main() -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pool", nargs="+", choices=list(POOLS), default=list(POOLS))
    parser.add_argument("--target", nargs="+", choices=list(RIGHT), default=list(RIGHT))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--no-results", action="store_true", help="print only")
    arguments = parser.parse_args()
    parts = [EXPLAINED]
    for pool in arguments.pool:
        start = time.perf_counter()
        found = compare(pool, range(arguments.seeds), arguments.target)
        print(f"{pool}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
        parts += [f"## {POOLS[pool]}", kl_table(found, arguments.target)]
        parts.append(shape_table(found, planted=pool == "planted"))
    body = "\n\n".join(parts)
    print(body)
    if not arguments.no_results:
        settings = {
            "command": "python benchmarks/quality.py " + " ".join(sys.argv[1:]),
            "seeds": arguments.seeds,
            "budget": "min(1,000,000 tokens, half of what the right domains hold)",
        }
        write_results("quality", "Quality without training", settings=settings, body=body)


if __name__ == "__main__":
    main()
