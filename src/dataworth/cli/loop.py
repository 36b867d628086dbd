"""`dataworth loop`: select, train, and score again with what was trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import typer

from dataworth.cli.building import Result, command
from dataworth.cli.options import OUT, Engines
from dataworth.cli.show import console, show_places
from dataworth.options.calls import ROUNDS, LoopOptions, option

if TYPE_CHECKING:
    from dataworth import Selection


@dataclass(frozen=True)
class _RoundSteps:
    panel: ClassVar[str] = ROUNDS
    round: list[str] | None = option(None, kind="names", metavar="N=STEP")
    """A step from round N on, until another round is named; after those of --step, which are in all
    rounds. {checkpoint} in its options is the model of the round before."""


@command(LoopOptions, _RoundSteps, Engines, out=OUT)
def loop(given: dict[str, Any], *, round: list[str] | None) -> Result:
    """Select, train, and score again with what was trained, round by round.

    Each round chooses its budget among what no round before it trained on. All
    rounds share one table; the same command again goes on where it stopped.

    [bold]Examples[/]

    \b
    dataworth loop pool/ -t math=m.jsonl --budget 1M --round 1=dsir \\
        --round '2=influence(model={checkpoint})' --rounds 4
    dataworth loop pool/ -t math=m.jsonl --rounds 3 --train mine:train
    """
    import dataworth

    steps, given["rounds"] = _steps(given.get("steps", []), round or [], given.get("rounds"))
    if steps:
        given["steps"] = steps
    made = dataworth.loop(**given)
    folder = Path(given["out"])
    facts = [_facts(one, folder, number) for number, one in enumerate(made, 1)]
    return Result({"rounds": facts}, lambda: _show(facts, folder))


def _steps(common: list[str], named: list[str], rounds: int | None) -> tuple[Any, int]:
    """Return (steps as `dataworth.loop` takes them, number of rounds) from the options."""
    own: dict[int, list[str]] = {}
    for text in named:
        first, equals, step = text.partition("=")
        if not equals or not first.strip().isdecimal() or int(first) < 1 or not step:
            raise typer.BadParameter(
                f"{text!r}: write N=STEP, such as 1=dsir", param_hint="--round"
            )
        own.setdefault(int(first), []).append(step)
    count = rounds if rounds is not None else max(own, default=0)
    if not count:
        raise typer.BadParameter("give the number of rounds", param_hint="--rounds")
    if own and max(own) > count:
        raise typer.BadParameter(f"there are {count} rounds, no {max(own)}", param_hint="--round")
    if not own:
        return common, count
    lists: list[list[str]] = []
    for number in range(1, count + 1):
        last = max((n for n in own if n <= number), default=None)
        lists.append([*common, *(own[last] if last is not None else [])])
        if not lists[-1]:
            raise typer.BadParameter(
                f"round {number} has no step: name one (--round {number}=STEP), or one for all "
                "rounds (--step)",
                param_hint="--round",
            )
    return lists, count


def _facts(selection: Selection, folder: Path, number: int) -> dict[str, Any]:
    made = selection.choice.cut
    return {
        "round": number,
        "documents": made.distinct,
        "tokens": int(selection.choice.tokens @ selection.choice.counts.astype("int64")),
        "selection": str(folder / "selections" / selection.folder.name),
        "record": str(folder / "rounds" / str(number) / "round.json"),
    }


def _show(rounds: list[dict[str, Any]], folder: Path) -> None:
    for facts in rounds:
        console().print(
            f"round {facts['round']}  {facts['documents']:,} documents, {facts['tokens']:,} tokens"
            f"  {facts['selection']}",
            soft_wrap=True,
            markup=False,
        )
    show_places({"rounds": folder / "rounds", "table": folder / "table"})
