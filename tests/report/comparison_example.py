"""A comparison as a true run would fill it, from a seeded toy world in place of trained models.

`python -m report.comparison_example OUT` (in `tests/`) writes a page to look at, and prints the
summary.
"""

from __future__ import annotations

import sys
from itertools import combinations, product
from typing import Any

import numpy as np

from dataworth.results.comparison import (
    Comparison,
    Leaderboard,
    Measure,
    Prediction,
    Result,
    Row,
    Scaling,
    Training,
)

TARGETS = ["biomed", "code", "dialogue", "legal", "math", "news"]
DOMAINS = [*TARGETS, "books", "changelogs", "forum", "junk", "logs", "multilingual", "religious"]
DOMAINS += ["reviews", "sci_abstracts", "sci_papers", "speeches", "tech_docs", "web", "wikipedia"]

# name: (nearness to the target 0 to 1, steps, mechanism, needs a target)
SELECTIONS: dict[str, tuple[float, list[str], str | None, bool]] = {
    "random": (0.0, [], "random", False),
    "longest": (0.02, ["length"], "top_k", False),
    "short removed": (0.01, ["length(min_words=50)"], "random", False),
    "default": (0.74, ["first"], None, True),
    "top-k": (0.86, ["first"], "top_k", True),
    "reference": (0.72, ["first:reference"], None, True),
    "sum of weights": (0.63, ["first(length='sum')"], "gumbel_top_k(temperature=1)", True),
    "discriminative": (0.78, ["second"], None, True),
    "1-grams": (0.6, ["first(ngrams=1)"], None, True),
    "3-grams": (0.76, ["first(ngrams=3)"], None, True),
    "half and half": (0.4, ["first"], "gumbel_top_k", True),
    "temperature 1": (0.3, ["first"], "gumbel_top_k(temperature=1)", True),
    "per target turns": (0.55, ["first"], "per_target", True),
    "worst first": (-0.35, ["first"], "top_k", True),
    "oracle": (0.97, [], None, True),
}

MEASURES: list[Measure] = [
    {"name": "loss", "label": "Loss", "unit": "nats per token", "lower_is_better": True},
    {"name": "bits_per_byte", "label": "Bits a byte", "unit": "bits", "lower_is_better": True},
    {"name": "pool_loss", "label": "Loss on the pool", "unit": "nats per token"}
    | {"lower_is_better": True},  # type: ignore[list-item]
    {"name": "accuracy", "label": "Accuracy", "unit": "share", "lower_is_better": False},
]

# two-sided 95 % quantiles of Student's t by degrees of freedom
T95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 29: 2.045}


def comparison(
    selections: int = 15, targets: int = 6, seeds: int = 5, *, seed: int = 0
) -> Comparison:
    """A whole comparison of that many selections (the baseline first), targets and seeds."""
    world = World(list(SELECTIONS)[:selections], TARGETS[:targets], seeds, seed)
    return world.comparison()


class World:
    """Losses by a law that nearness to the target improves, with noise that the seeds share."""

    def __init__(self, names: list[str], targets: list[str], seeds: int, seed: int) -> None:
        self.names, self.targets = names, targets
        self.seeds = list(range(seeds))
        self.random = np.random.default_rng(seed)
        self.floors = {target: 2.1 + 0.25 * i for i, target in enumerate(targets)}
        self.gains = {target: 0.12 + 0.11 * i for i, target in enumerate(targets)}
        self.luck = {(t, s): self.random.normal(0, 0.05) for t in targets for s in self.seeds}
        self.settings = [("tiny", 250_000, 200_000), ("small", 1_600_000, 400_000)]
        self.scaled = [name for name in ("random", "default", "top-k", "oracle") if name in names]
        self.best = sorted(names, key=lambda n: -SELECTIONS[n][0])[:5]

    def loss(self, name: str, target: str, seed: int, parameters: int, tokens: int) -> float:
        near = SELECTIONS[name][0] - (0.2 if name == "top-k" and target == "news" else 0)
        at_compute = 26.0 * (parameters * tokens / 1e9) ** -0.5
        own = self.random.normal(0, 0.012)
        gain = self.gains[target] * near
        return self.floors[target] + at_compute * 0.5 - gain + self.luck[target, seed] + own

    def runs(self) -> list[tuple[str, str | None, int, str, int, int]]:
        found: dict[tuple[str, str | None, int, str, int, int], None] = {}
        grid = [(n, self.settings[0]) for n in self.names]
        grid += [(n, self.settings[1]) for n in {"random": 0, **dict.fromkeys(self.best)}]
        scaling = [("tiny", 250_000, tokens) for tokens in (50_000, 100_000, 400_000)]
        grid += [(n, setting) for n in self.scaled for setting in scaling]
        for (name, (size, parameters, tokens)), target, seed in product(
            grid, self.targets, self.seeds
        ):
            of = target if SELECTIONS[name][3] else None
            found[name, of, seed, size, parameters, tokens] = None
        return list(found)

    def comparison(self) -> Comparison:
        trainings, results = self._train()
        metrics, cheap = self._cheap()
        return {
            "comparison_version": 1,
            "title": f"{len(self.names)} selections of pool/ for {len(self.targets)} targets",
            "version": "0.2.0",
            "plan": {
                "pool": "pool/",
                "budget": "1M",
                "targets": {name: f"targets/{name}.target.jsonl" for name in self.targets},
                "seeds": self.seeds,
                "sizes": ["tiny", "small"],
                "training": {"batch_sequences": 16, "learning_rate": 0.004, "threads": 1},
            },
            "machine": {"cpus": 2, "memory": "8 GB", "python": "3.11.9", "torch": "2.13.0"},
            "seconds": 14_700.0,
            "targets": self.targets,
            "selections": [
                {
                    "name": name,
                    "kind": "baseline" if name == "random" else "steps",
                    "steps": SELECTIONS[name][1],
                    "mechanism": SELECTIONS[name][2],
                    "needs_target": SELECTIONS[name][3],
                    "core_seconds": 12.5 * len(SELECTIONS[name][1]),
                    "bound": name == "oracle",
                }
                for name in self.names
            ],
            "measures": MEASURES,
            "metrics": metrics,
            "trainings": trainings,
            "results": results,
            "cheap": cheap,
            "leaderboards": self._leaderboards(results),
            "scaling": self._scaling(results),
            "predictions": self._predictions(results, cheap),
            "composition": self._composition(),
            "overlap": self._overlap(),
            "findings": [
                "oracle is best on the mean over targets: 0.39 nats per token below random.",
                "Of 14 selections 11 are better than random, 1 is worse; for 2 no difference is "
                "shown.",
                "The best that does not know the right domain, top-k, reaches 87 % of the oracle's "
                "gain.",
                "KL reduction goes with the loss: r = -0.93 within targets.",
            ],
            "warnings": ["The targets' validation sets hold 120 documents or fewer."],
            "gave_up": ["size medium, to fit 240 minutes", "seeds 5 to 9 of size small"],
        }

    def _train(self) -> tuple[list[Training], list[Result]]:
        trainings: list[Training] = []
        results: list[Result] = []
        for name, target, seed, size, parameters, tokens in self.runs():
            end = 0.0
            for on in self.targets if target is None else [target]:
                loss = self.loss(name, on, seed, parameters, tokens)
                end = loss
                right = 1 / (1 + np.exp(loss - 2.6))
                values = {
                    "loss": loss,
                    "bits_per_byte": loss / 2.3,
                    "pool_loss": 4.0 + 0.3 * abs(SELECTIONS[name][0]) + self.random.normal(0, 0.02),
                    "accuracy": round(float(right) * 120) / 120,
                }
                results += [
                    {"selection": name, "target": on, "seed": seed, "size": size}
                    | {"tokens": tokens, "measure": measure, "value": float(value)}  # type: ignore[misc]
                    for measure, value in values.items()
                ]
            steps = np.linspace(0.01, 1, 80)
            noise = self.random.normal(0, 0.03, 80)
            curve = [
                (round(tokens * float(s)), float(end + 0.4 * (s**-0.5 - 1) + n))
                for s, n in zip(steps, noise, strict=True)
            ]
            trainings.append(
                {
                    "id": f"{len(trainings):08x}",
                    "selection": name,
                    "target": target,
                    "seed": seed,
                    "size": size,
                    "parameters": parameters,
                    "tokens": tokens,
                    "unique_tokens": 240_000,
                    "epochs": tokens / 240_000,
                    "flop": 6.0 * parameters * tokens,
                    "seconds": tokens / 12_000,
                    "curve": curve,
                }
            )
        return trainings, results

    def _leaderboards(self, results: list[Result]) -> list[Leaderboard]:
        values = {
            (r["selection"], r["target"], r["seed"], r["size"], r["tokens"], r["measure"]): r[
                "value"
            ]
            for r in results
        }
        boards = []
        settings = dict.fromkeys((r["size"], r["tokens"]) for r in results)
        mean = [None] if len(self.targets) > 1 else []
        for (size, tokens), measure, target in product(settings, MEASURES, [*mean, *self.targets]):
            over = self.targets if target is None else [target]
            known = [
                name
                for name in self.names
                if (name, over[0], 0, size, tokens, measure["name"]) in values
            ]
            rows: list[Row] = []
            for name in known:
                table = np.array(
                    [
                        [values[name, t, s, size, tokens, measure["name"]] for t in over]
                        for s in self.seeds
                    ]
                ).mean(axis=1)
                base = np.array(
                    [
                        [values["random", t, s, size, tokens, measure["name"]] for t in over]
                        for s in self.seeds
                    ]
                ).mean(axis=1)
                rows.append(row(name, table, base, lower=measure["lower_is_better"]))
            sign = 1 if measure["lower_is_better"] else -1
            rows.sort(key=lambda r: sign * r["mean"])
            boards.append(
                Leaderboard(
                    target=target,
                    size=size,
                    tokens=tokens,
                    measure=measure["name"],
                    baseline="random",
                    rows=rows,
                )
            )
        return boards

    def _scaling(self, results: list[Result]) -> list[Scaling]:
        found: list[Scaling] = []
        mean = [None] if len(self.targets) > 1 else []
        for name, target in product(self.scaled, [*mean, *self.targets]):
            over = self.targets if target is None else [target]
            sums: dict[tuple[int, int], list[float]] = {}
            for r in results:
                mine = r["selection"] == name and r["target"] in over and r["measure"] == "loss"
                if mine and r["size"] == "tiny":
                    sums.setdefault((r["tokens"], r["seed"]), []).append(r["value"])
            points = [(float(x), float(np.mean(v)), s) for (x, s), v in sorted(sums.items())]
            near = SELECTIONS[name][0]
            floor = float(np.mean([self.floors[t] - self.gains[t] * near for t in over]))
            one: Scaling = {
                "selection": name,
                "target": target,
                "axis": "tokens",
                "points": points,
                "law": {
                    "floor": floor,
                    "scale": 13 * 0.00025**-0.5,
                    "exponent": 0.5,
                    "floor_error": 0.04,
                    "scale_error": 31.0,
                    "exponent_error": 0.03,
                    "error": 0.021,
                },
                "multiplier": None,
            }
            if name != "random":
                value = 1 + 2.2 * near
                one["multiplier"] = {
                    "value": value,
                    "low": value * 0.8,
                    "high": value * 1.25,
                    "at": 400_000.0,
                    "outside": name == "oracle" and target == "news",
                }
            found.append(one)
        return found

    def _cheap(self) -> tuple[list[Any], list[Any]]:
        metrics = [
            {"name": "kl_reduction", "label": "KL reduction", "unit": "nats"},
            {"name": "right_share", "label": "Share of the right field", "unit": "share"},
            {"name": "distinct_2", "label": "Distinct 2-grams", "unit": "share"},
            {"name": "compression", "label": "Compression ratio", "unit": "ratio"},
            {"name": "effective_share", "label": "Effective sample size", "unit": "share"},
            {"name": "length", "label": "Mean length", "unit": "words"},
        ]
        cheap = []
        for name, target, seed in product(self.names, self.targets, self.seeds):
            near = SELECTIONS[name][0]
            noise = self.random.normal(0, 1, 6)
            values = [
                0.6 * near + 0.04 * noise[0],
                max(0.0, min(1.0, near + 0.05 * noise[1])),
                0.5 - 0.1 * near + 0.03 * noise[2],
                2.6 + 0.2 * noise[3],
                abs(0.1 * noise[4]),
                320 + 20 * noise[5],
            ]
            cheap += [
                {"selection": name, "target": target, "seed": seed}
                | {"metric": m["name"], "value": float(v)}
                for m, v in zip(metrics, values, strict=True)
            ]
        return metrics, cheap

    def _predictions(self, results: list[Result], cheap: list[Any]) -> list[Prediction]:
        def means(
            rows: list[Any], key: str, name: str, **same: Any
        ) -> dict[tuple[str, str], float]:
            found: dict[tuple[str, str], list[float]] = {}
            for r in rows:
                if r[key] == name and all(r[k] == v for k, v in same.items()):
                    found.setdefault((r["selection"], r["target"]), []).append(r["value"])
            return {pair: float(np.mean(v)) for pair, v in found.items()}

        predictions: list[Prediction] = []
        metrics = dict.fromkeys(c["metric"] for c in cheap)
        for metric, measure in product(metrics, ("loss", "bits_per_byte", "accuracy")):
            x = means(cheap, "metric", metric)
            y = means(results, "measure", measure, size="tiny", tokens=200_000)
            pairs = sorted(x.keys() & y.keys())
            a, b = np.array([x[p] for p in pairs]), np.array([y[p] for p in pairs])
            for target in self.targets:
                which = [i for i, p in enumerate(pairs) if p[1] == target]
                a[which] -= a[which].mean()
                b[which] -= b[which].mean()
            if not a.std() * b.std():
                continue
            r = float(np.clip(np.corrcoef(a, b)[0, 1], -0.999, 0.999))
            z, half = np.arctanh(r), 1.96 / np.sqrt(max(1, len(pairs) - 3))
            predictions.append(
                {
                    "metric": metric,
                    "measure": measure,
                    "r": r,
                    "low": float(np.tanh(z - half)),
                    "high": float(np.tanh(z + half)),
                    "spearman": r * 0.96,
                    "decision_accuracy": 0.5 + abs(r) / 2.4,
                    "n": len(pairs),
                    "points": [
                        {"selection": p[0], "target": p[1], "x": x[p], "y": y[p]} for p in pairs
                    ],
                }
            )
        return predictions

    def _composition(self) -> list[Any]:
        def parts(near: float, right: str | None) -> list[Any]:
            weights = self.random.dirichlet(np.full(len(DOMAINS), 3.0)) * (1 - max(0.0, near))
            shares = dict(zip(DOMAINS, weights.tolist(), strict=True))
            if right:
                shares[right] += max(0.0, near)
            return [{"value": d, "share": s} for d, s in shares.items()]

        rows: list[Any] = [
            {"selection": None, "target": None, "field": "domain", "parts": parts(0, None)}
        ]
        for name in self.names:
            near, _, _, needs = SELECTIONS[name]
            rows += [
                {"selection": name, "target": target, "field": "domain"}
                | {"parts": parts(near, target)}
                for target in (self.targets if needs else [None])
            ]
        return rows

    def _overlap(self) -> list[Any]:
        found = []
        for target in self.targets:
            n = len(self.names)
            jaccard = np.eye(n)
            rank: list[list[float | None]] = [
                [None if not SELECTIONS[a][1] or not SELECTIONS[b][1] else 1.0 for b in self.names]
                for a in self.names
            ]
            for i, j in combinations(range(n), 2):
                a, b = (max(0.0, SELECTIONS[self.names[k]][0]) for k in (i, j))
                jaccard[i, j] = jaccard[j, i] = 0.03 + 0.8 * a * b
                if rank[i][j] is not None:
                    signed = SELECTIONS[self.names[i]][0] * SELECTIONS[self.names[j]][0]
                    rank[i][j] = rank[j][i] = float(np.clip(1.5 * signed, -1, 1))
            found.append(
                {"target": target, "names": self.names, "jaccard": jaccard.tolist(), "rank": rank}
            )
        return found


def row(name: str, values: Any, base: Any, *, lower: bool) -> Row:
    """A leaderboard's row: the paired t interval of values less base."""
    mean = float(values.mean())
    if name == "random":
        return {"selection": name, "mean": mean, "difference": None, "low": None, "high": None}
    points = values - base
    n = len(points)
    centre = float(points.mean())
    half = T95[n - 1] * float(points.std(ddof=1)) / n**0.5 if n > 1 else None
    verdict: Any = None
    if half is not None:
        clear = abs(centre) > half
        verdict = "no difference shown"
        if clear:
            verdict = "better" if (centre < 0) == lower else "worse"
    return {
        "selection": name,
        "mean": mean,
        "difference": centre,
        "low": None if half is None else centre - half,
        "high": None if half is None else centre + half,
        "p": None,
        "points": [float(p) for p in points],
        "verdict": verdict,
    }


if __name__ == "__main__":
    from rich.console import Console

    from dataworth.report import comparison_page, comparison_summary

    given = [int(argument) for argument in sys.argv[2:5]]
    example = comparison(*given)
    print(comparison_page.write(example, sys.argv[1]))
    comparison_summary.show(example, Console())
