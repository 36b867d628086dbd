"""`dataworth compare`: small models trained on each selection, and measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from dataworth.cli import parsing as p
from dataworth.cli.building import Result, command
from dataworth.cli.options import Workers
from dataworth.cli.show import console, show_places
from dataworth.options.calls import RUNNING, CompareOptions, option


@dataclass(frozen=True)
class _DryRun:
    panel: ClassVar[str] = RUNNING
    dry_run: bool = option(False)
    """Show how many trainings the plan comes to, their tokens and about the minutes that they take;
    read and write nothing."""


@command(CompareOptions, Workers, _DryRun, out="comparison")
def compare(given: dict[str, Any], *, dry_run: bool) -> Result:
    """Compare ways to select by training the same small models on each.

    Selects with each list of steps for each target, trains a model on each
    selection with each seed, and tells the losses on held-out text with
    intervals, against random documents. Needs the extra [bold]lm[/].

    \b
    pool: pool/
    targets: {math: {examples: math.jsonl, validation: math-val.jsonl}}
    budget: 1M
    selections:
      default: {steps: [dsir]}
      theirs: {from: theirs/}
    seeds: 5

    [bold]Examples[/]

    \b
    dataworth compare plan.yaml --out compared/
    dataworth compare plan.yaml --minutes 30
    dataworth compare compared/plan.json --out again/
    """
    if dry_run:
        return _outline(given)
    import dataworth

    comparison = dataworth.compare(**given)

    def show() -> None:
        from dataworth.report import comparison_summary

        comparison_summary.show(comparison.facts, console())
        names = {"report": "report.html", "numbers": "comparison.json", "plan": "plan.json"}
        show_places({name: comparison.folder / file for name, file in names.items()})

    return Result(comparison.facts, show)


def _outline(given: dict[str, Any]) -> Result:
    from dataworth.comparing.comparison import outline

    workers = p.engine(given.get("engine"), None).size
    facts = outline(
        given["plan"],
        given.get("minutes"),
        timed=True,
        workers=workers,
        device=given.get("device", "auto"),
    )
    resolved = facts["plan"]
    lines = (
        f"{len(resolved['selections'])} selections, {len(resolved['targets'])} targets, "
        f"{len(resolved['seeds'])} seeds",
        f"one pass over the pool, {facts['choices']:,} choices",
        f"{facts['trainings']:,} trainings at most, {facts['tokens'] / 1e6:,.1f} M tokens: "
        + ", ".join(size["name"] for size in resolved["sizes"])
        + " with "
        + ", ".join(f"{tokens:,}" for tokens in resolved["tokens"])
        + " tokens",
        "time unknown: a model in a folder is not loaded for this"
        if facts["minutes"] is None
        else f"about {facts['minutes']:,.1f} minutes of training with {workers} "
        f"worker{'s' * (workers > 1)}, timed on a few steps; scoring and measuring come to that",
    )

    def show() -> None:
        for line in lines:
            console().print(line, markup=False, soft_wrap=True)

    return Result(facts, show)
