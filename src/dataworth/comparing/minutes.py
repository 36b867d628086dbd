"""Fitting a plan into a number of minutes: what is timed, and what is given up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dataworth.comparing.choices import Chosen
from dataworth.comparing.plan import ComparePlan

FEWEST_SEEDS = 3
FEWEST_TOKENS = 20_000
# Trainings are timed alone; beside others, and with the report at the end, they take longer.
_SPARE = 1.15


@dataclass(frozen=True)
class Cost:
    """Costs of one size: seconds per token, seconds of starting, seconds of measuring by target.

    "" among the targets is the sample of the pool.
    """

    a_token: float
    start: float
    measuring: Mapping[str, float]


def seconds_for(
    plan: ComparePlan, chosens: Sequence[Chosen], costs: Mapping[str, Cost], workers: int
) -> float:
    """Estimate the seconds that a plan's trainings take, on that many workers."""
    wanted: dict[tuple[str, int], set[str]] = {}
    seeds = set(plan.seeds)
    for item in chosens:
        if item.seed in seeds:
            of = wanted.setdefault((item.content, item.seed), set())
            of.update(plan.targets if item.target is None else [item.target])
    total = 0.0
    for size in plan.sizes:
        cost = costs[size.name]
        total += cost.start * workers
        for tokens in plan.tokens:
            for of in wanted.values():
                measuring = sum(cost.measuring.get(target, 0.0) for target in (*of, ""))
                total += tokens * cost.a_token + measuring
    return total * _SPARE / max(1, workers)


def fit(
    plan: ComparePlan,
    chosens: Sequence[Chosen],
    costs: Mapping[str, Cost],
    workers: int,
    seconds: float,
) -> tuple[ComparePlan, list[str]]:
    """Return (a plan that takes at most about `seconds`, what it gave up, in words).

    First what costs most and matters least: the largest sizes, then seeds down to three, then the
    largest numbers of tokens, then tokens of what is left. Never a selection, a target or the
    baseline: those are what was asked.
    """
    gave_up: list[str] = []

    def took() -> float:
        return seconds_for(plan, chosens, costs, workers)

    order = {size.name: costs[size.name].a_token for size in plan.sizes}
    while took() > seconds and len(plan.sizes) > 1:
        dearest = max(plan.sizes, key=lambda size: order[size.name])
        gave_up.append(f"size {dearest.name}")
        plan = replace(plan, sizes=tuple(size for size in plan.sizes if size != dearest))
    dropped = []
    while took() > seconds and len(plan.seeds) > FEWEST_SEEDS:
        dropped.append(plan.seeds[-1])
        plan = replace(plan, seeds=plan.seeds[:-1])
    if dropped:
        listed = ", ".join(str(seed) for seed in reversed(dropped))
        gave_up.append(f"seed{'s' * (len(dropped) > 1)} {listed}")
    while took() > seconds and len(plan.tokens) > 1:
        gave_up.append(f"{plan.tokens[-1]:,} tokens")
        plan = replace(plan, tokens=plan.tokens[:-1])
    (before, *more) = plan.tokens
    if took() > seconds and not more and before > FEWEST_TOKENS:
        fewest = replace(plan, tokens=(FEWEST_TOKENS,))
        fixed = seconds_for(fewest, chosens, costs, workers)
        share = (seconds - fixed) / max(took() - fixed, 1e-9)
        tokens = FEWEST_TOKENS + max(0.0, share) * (before - FEWEST_TOKENS)
        plan = replace(plan, tokens=(max(FEWEST_TOKENS, int(tokens) // 1000 * 1000),))
        gave_up.append(f"{before:,} tokens a training: {plan.tokens[0]:,} instead")
    if took() > seconds:
        gave_up.append(
            f"the time itself: even so the trainings take about {took() / 60:.0f} minutes; compare "
            "fewer selections or targets"
        )
    return plan, gave_up
