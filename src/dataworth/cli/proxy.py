"""`dataworth proxy`: small models of a pool, for what asks a model about each document."""

from __future__ import annotations

import json as text_json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from dataworth.cli import options as o
from dataworth.cli import parsing as p
from dataworth.cli.console import begin
from dataworth.cli.declaring import option
from dataworth.cli.show import console, show_json, show_places

if TYPE_CHECKING:
    from dataworth import Proxies

OUT = "proxies"
TRAINING = "Training"

Size = Annotated[
    str | None,
    option(
        "--size",
        metavar="NAME",
        panel=TRAINING,
        default="tiny",
        help="tiny, small or medium: about 0.25, 1.3 and 5.8 million parameters.",
    ),
]
Tokens = Annotated[
    str | None,
    option(
        "--tokens",
        metavar="N",
        panel=TRAINING,
        default="1M",
        help="How many tokens of random documents each model is trained on.",
    ),
]
Seeds = Annotated[
    int | None,
    option(
        "--seeds",
        metavar="N",
        panel=TRAINING,
        default="1",
        help="How many models; each has its own first weights and its own part of the documents.",
    ),
]
Checkpoints = Annotated[
    int | None,
    option(
        "--checkpoints",
        metavar="N",
        panel=TRAINING,
        default="1",
        help="How many points of each training are kept, evenly spaced, the last the end.",
    ),
]
Vocabulary = Annotated[
    int | None,
    option(
        "--vocabulary",
        metavar="N",
        panel=TRAINING,
        default="4096",
        help="Tokens of the tokenizer that is trained on the pool.",
    ),
]
Tokenizer = Annotated[
    Path | None,
    option("--tokenizer", metavar="FILE", panel=TRAINING, help="A tokenizer.json to take instead."),
]
Out = Annotated[
    Path | None,
    option(
        *("--out", "-o"),
        metavar="FOLDER",
        panel=o.RUNNING,
        default=OUT,
        help="The folder of the models. The same command again goes on where it stopped, and one "
        "with more --seeds adds them.",
    ),
]


def proxy(
    pool: o.Pool,
    size: Size = None,
    tokens: Tokens = None,
    seeds: Seeds = None,
    checkpoints: Checkpoints = None,
    vocabulary: Vocabulary = None,
    tokenizer: Tokenizer = None,
    seed: o.Seed = None,
    text_field: o.TextField = None,
    join: o.Join = None,
    template: o.Template = None,
    txt: o.TxtMode = None,
    max_line_bytes: o.MaxLineBytes = None,
    max_bad: o.MaxBadLines = None,
    storage_option: o.StorageOption = None,
    out: Out = None,
    overwrite: o.Overwrite = False,
    device: o.Device = None,
    workers: o.Workers = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Train small models on random documents of a pool, for methods that ask a model.

    Needs the extra [bold]lm[/].

    [bold]Examples[/]

    \b
    dataworth proxy pool/ --out proxies/
    dataworth proxy pool/ --out proxies/ --seeds 3 --checkpoints 3
    dataworth select pool/ --target math.jsonl --step 'influence(model=proxies/seed-0)'
    """
    progress = begin(quiet)
    import dataworth

    options = {
        "size": size,
        "tokens": tokens,
        "seeds": seeds,
        "checkpoints": checkpoints,
        "vocabulary": vocabulary,
        "tokenizer": tokenizer,
        "seed": seed,
        "text_field": text_field,
        "join": join,
        "template": template,
        "txt": txt,
        "max_line_bytes": max_line_bytes,
        "max_bad": max_bad,
        "overwrite": overwrite,
        "device": device,
    }
    # As it was typed, so that what is shown can be copied into further commands.
    place = out or Path(OUT)
    found = dataworth.proxy(
        p.places(pool),
        out=place,
        storage_options=p.storage_options(storage_option or []),
        engine=p.engine(workers, None),
        progress=progress,
        **p.given(options),
    )
    if json:
        show_json(found.facts)
    elif not quiet:
        _show(found, place)


def _show(found: Proxies, place: Path) -> None:
    """The models, and how methods are told of them."""
    out = console()
    for one in found.facts["models"]:
        out.print(
            f"{place / one['folder']}  {one['tokens']:,} tokens, {one['loss']:.2f} nats a token",
            soft_wrap=True,
            markup=False,
        )

    def named(folders: list[str]) -> str:
        return text_json.dumps([str(place / Path(folder).name) for folder in folders])

    lines = {"one model": f"model={place / Path(found.models[0]).name}"}
    lines["several"] = f"models={named(found.models)}"
    if len(found.checkpoints) > len(found.models):
        # Those of one training belong together: the sum over them follows it.
        for seed in dict.fromkeys(one["seed"] for one in found.facts["models"]):
            kept = [one for one in found.facts["models"] if one["seed"] == seed]
            folders = named([one["folder"] for one in kept])
            rates = [float(f"{one['learning_rate']:.3g}") for one in kept]
            of = f" of seed {seed}" if len(found.models) > 1 else ""
            lines[f"checkpoints{of}"] = f"models={folders}, learning_rates={rates}"
    show_places(lines)
