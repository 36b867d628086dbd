"""`dataworth loop`: select, train, and score again with what was trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dataworth.cli import options as o
from dataworth.cli import parsing as p
from dataworth.cli.console import begin
from dataworth.cli.declaring import option
from dataworth.cli.show import console, show_json, show_places

if TYPE_CHECKING:
    from dataworth import Selection

TRAINING = "Rounds and training"

Rounds = Annotated[
    int | None,
    option(
        "--rounds",
        metavar="N",
        panel=TRAINING,
        default="the last that --round names",
        help="How many rounds. The same command with more adds them.",
    ),
]
RoundStep = Annotated[
    list[str] | None,
    option(
        "--round",
        metavar="N=STEP",
        panel=TRAINING,
        help="A step from round N on, until another round is named; after those of --step, which "
        "are in all rounds. {checkpoint} in its options is the model of the round before.",
    ),
]
Train = Annotated[
    str | None,
    option(
        "--train",
        metavar="TRAINER",
        panel=TRAINING,
        default="small",
        help="What trains a round: 'small(size=tiny, epochs=1)', or your own function as "
        "module:function, called with (selection, previous, round, folder).",
    ),
]
Start = Annotated[
    Path | None,
    option(
        "--start",
        metavar="FOLDER",
        panel=TRAINING,
        help="A model that round 1 goes on with; then {checkpoint} may stand in round 1 too.",
    ),
]


def loop(
    pool: o.Pool,
    target: o.Target = None,
    step: o.Steps = None,
    rounds: Rounds = None,
    round: RoundStep = None,
    train: Train = None,
    start: Start = None,
    seed: o.Seed = None,
    holdout: o.Holdout = None,
    sample_bytes: o.SampleBytes = None,
    tokenizer: o.Tokenizer = None,
    budget: o.Budget = None,
    mechanism: o.Mechanism = None,
    utility: o.Utility = None,
    scale: o.ScaleOf = None,
    proportion: o.Proportion = None,
    quota: o.QuotaOf = None,
    mixture: o.MixtureOf = None,
    max_repeat: o.MaxRepeat = None,
    exclude: o.Exclude = None,
    duplicates: o.DuplicatesOf = None,
    text_field: o.TextField = None,
    target_text_field: o.TargetTextField = None,
    join: o.Join = None,
    id_field: o.IdField = None,
    group_by: o.GroupBy = None,
    template: o.Template = None,
    target_template: o.TargetTemplate = None,
    split_words: o.SplitWords = None,
    txt: o.TxtMode = None,
    max_line_bytes: o.MaxLineBytes = None,
    max_bad: o.MaxBad = None,
    storage_option: o.StorageOption = None,
    out: o.Out = None,
    overwrite: o.Overwrite = False,
    workers: o.Workers = None,
    engine: o.EngineOf = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Select, train, and score again with what was trained, round by round.

    Each round chooses its budget among what no round before it trained on. All
    rounds share one table; the same command again goes on where it stopped.

    [bold]Examples[/]

    \b
    dataworth loop pool/ -t math=m.jsonl --budget 1M --round 1=dsir \\
        --round '2=influence(model={checkpoint})' --rounds 4
    dataworth loop pool/ -t math=m.jsonl --rounds 3 --train mine:train
    """
    progress = begin(quiet)
    import dataworth

    steps, count = _steps(step or [], round or [], rounds)
    options: dict[str, Any] = {
        "steps": steps,
        "train": train,
        "start": start,
        "seed": seed,
        "holdout": holdout,
        "sample_bytes": sample_bytes,
        "tokenizer": tokenizer,
        "budget": budget,
        "mechanism": mechanism,
        "utility": utility,
        "scale": scale,
        "proportions": p.proportions(proportion or []),
        "quotas": quota,
        "mixture": mixture,
        "max_repeat": max_repeat,
        "exclude": exclude,
        "duplicates": duplicates,
        "text_field": text_field,
        "target_text_field": target_text_field,
        "join": join,
        "id_field": id_field,
        "group_by": group_by,
        "template": template,
        "target_template": target_template,
        "split_words": split_words,
        "txt": txt,
        "max_line_bytes": max_line_bytes,
        "max_bad": max_bad,
        "storage_options": p.storage_options(storage_option or []),
        "overwrite": overwrite,
    }
    folder = out or Path(o.OUT)
    made = dataworth.loop(
        p.places(pool),
        p.targets(target or []),
        rounds=count,
        out=folder,
        engine=p.engine(workers, engine),
        progress=progress,
        **p.given(options),
    )
    if json:
        show_json({"rounds": [_facts(one, folder, number) for number, one in enumerate(made, 1)]})
    elif not quiet:
        _show(made, folder)


def _steps(common: list[str], named: list[str], rounds: int | None) -> tuple[Any, int]:
    """(steps as `dataworth.loop` takes them, number of rounds) from the options."""
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


def _show(made: list[Selection], folder: Path) -> None:
    out = console()
    for number, selection in enumerate(made, 1):
        facts = _facts(selection, folder, number)
        out.print(
            f"round {number}  {facts['documents']:,} documents, {facts['tokens']:,} tokens  "
            f"{facts['selection']}",
            soft_wrap=True,
            markup=False,
        )
    show_places({"rounds": folder / "rounds", "table": folder / "table"})
