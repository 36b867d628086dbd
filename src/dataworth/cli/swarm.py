"""`dataworth swarm`: small models trained on many mixtures of a pool's groups."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from dataworth.cli import options as o
from dataworth.cli import parsing as p
from dataworth.cli.console import begin
from dataworth.cli.declaring import option
from dataworth.cli.proxy import TRAINING, Size, Tokenizer, Vocabulary
from dataworth.cli.show import console, show_json, show_places

if TYPE_CHECKING:
    from dataworth import Swarm

OUT = "swarm"

GroupBy = Annotated[
    str,
    option(
        *("--group-by", "-g"),
        metavar="FIELD",
        panel=TRAINING,
        help="The field whose values are the groups, such as domain.",
    ),
]
Mixtures = Annotated[
    int | None,
    option(
        "--mixtures",
        metavar="N",
        panel=TRAINING,
        default="128",
        help="How many models, each trained on a mixture of its own; 0 prepares the text alone, "
        "for mixtures that train themselves.",
    ),
]
Tokens = Annotated[
    str | None,
    option(
        "--tokens",
        metavar="N",
        panel=TRAINING,
        default="500k",
        help="How many tokens each model is trained on.",
    ),
]
Budget = Annotated[
    str | None,
    option(
        *("--budget", "-b"),
        metavar="TOKENS",
        panel=TRAINING,
        default="all of the pool",
        help="Of the run that the mixture is for: models repeat each group as often as it would.",
    ),
]
Epochs = Annotated[
    float | None,
    option(
        "--epochs",
        metavar="N",
        panel=TRAINING,
        default="15",
        help="Most passes of that run over a group.",
    ),
]
HeldOut = Annotated[
    str | None,
    option(
        "--held-out",
        metavar="SIZE",
        panel=TRAINING,
        default="100kB",
        help="Text of each group and target that losses are measured on.",
    ),
]
Out = Annotated[
    Path | None,
    option(
        *("--out", "-o"),
        metavar="FOLDER",
        panel=o.RUNNING,
        default=OUT,
        help="The folder of the swarm. The same command again goes on where it stopped; with more "
        "--mixtures it adds models, with another --target it measures those that are there.",
    ),
]


def swarm(
    pool: o.Pool,
    group_by: GroupBy,
    target: o.Target = None,
    mixtures: Mixtures = None,
    tokens: Tokens = None,
    size: Size = None,
    budget: Budget = None,
    epochs: Epochs = None,
    held_out: HeldOut = None,
    vocabulary: Vocabulary = None,
    tokenizer: Tokenizer = None,
    holdout: o.Holdout = None,
    seed: o.Seed = None,
    text_field: o.TextField = None,
    join: o.Join = None,
    template: o.Template = None,
    txt: o.TxtMode = None,
    max_line_bytes: o.MaxLineBytes = None,
    target_text_field: o.TargetTextField = None,
    target_template: o.TargetTemplate = None,
    max_bad: o.MaxBadLines = None,
    storage_option: o.StorageOption = None,
    out: Out = None,
    overwrite: o.Overwrite = False,
    dry_run: o.DryRun = False,
    device: o.Device = None,
    workers: o.Workers = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Train small models on many mixtures of a pool's groups, for mixtures that are learned.

    Needs the extra [bold]lm[/].

    [bold]Examples[/]

    \b
    dataworth swarm pool/ --group-by domain --out swarm/
    dataworth swarm pool/ --group-by domain --target math=math.jsonl --out swarm/
    dataworth select pool/ --target math=math.jsonl --group-by domain --mixture 'log_linear(swarm=swarm/)'
    """  # noqa: E501
    progress = begin(quiet)
    import dataworth

    options = {
        "mixtures": mixtures,
        "tokens": tokens,
        "size": size,
        "budget": budget,
        "epochs": epochs,
        "held_out": held_out,
        "vocabulary": vocabulary,
        "tokenizer": tokenizer,
        "holdout": holdout,
        "seed": seed,
        "text_field": text_field,
        "join": join,
        "template": template,
        "txt": txt,
        "max_line_bytes": max_line_bytes,
        "target_text_field": target_text_field,
        "target_template": target_template,
        "max_bad": max_bad,
        "overwrite": overwrite,
        "dry_run": dry_run,
        "device": device,
    }
    place = out or Path(OUT)
    engine = p.engine(workers, "processes")
    made = dataworth.swarm(
        p.places(pool),
        p.targets(target or []),
        group_by=group_by,
        out=place,
        storage_options=p.storage_options(storage_option or []),
        engine=1 if engine.size == 1 else engine,
        progress=progress,
        **p.given(options),
    )
    if json:
        table = {} if dry_run or not made.models else {"table": made.table.to_pydict()}
        show_json({**made.facts, **table})
    elif not quiet:
        _show(made, place, dry_run)


def _show(made: Swarm, place: Path, dry_run: bool) -> None:
    """The groups, and what is next."""
    out = console()
    facts = made.facts
    share = min(facts["swarm"]["tokens"] / facts["budget"], 1)
    out.print(f"{len(facts['domains'])} groups, a mixture for {facts['budget']:,} tokens")
    for one in facts["domains"]:
        told = f"{one['name']}: {one['tokens']:,} tokens, of which a model reads {one['used']:,}"
        out.print(told, soft_wrap=True, markup=False)
    if share == 1:
        out.print(
            "a training is as long as the run: it may repeat a group more often", markup=False
        )
    if dry_run:
        out.print(f"{facts['left']} models to train, about {facts['seconds']:,.0f} s")
        return
    if not made.models:
        show_places({"text": place})
        return
    losses: dict[str, Any] = {
        name.partition(":")[2]: values for name, values in made.mixtures.losses.items()
    }
    for name, values in losses.items():
        told = f"loss on {name}: {values.min():.3f} to {values.max():.3f} nats per token"
        out.print(told, soft_wrap=True, markup=False)
    show_places({"table": place / "table.csv", "mixture": f"'log_linear(swarm={place})'"})
