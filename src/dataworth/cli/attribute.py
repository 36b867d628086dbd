"""`dataworth attribute`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from dataworth.cli import options as o
from dataworth.cli import parsing as p
from dataworth.cli.console import begin
from dataworth.cli.declaring import option
from dataworth.cli.show import console, show_json, show_places

SCORING = "Scores"
MODEL = "The model"


class Solver(StrEnum):
    """How directions of gradients are weighed."""

    identity = "identity"
    cosine = "cosine"
    diagonal = "diagonal"
    adam = "adam"
    kfac = "kfac"
    ekfac = "ekfac"
    ekfac_cg = "ekfac_cg"
    adam_cg = "adam_cg"
    lissa = "lissa"
    dense = "dense"


class Dtype(StrEnum):
    """The numbers of a model."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"
    float64 = "float64"


class Chats(StrEnum):
    """A model's way of reading chats."""

    model = "model"
    text = "text"


class Normalise(StrEnum):
    """What documents are ranked by."""

    none = "none"
    length = "length"


ModelFolder = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        show_default=False,
        help="The folder of a causal language model, of Hugging Face or of dataworth.lm, that was "
        "trained on the documents or on ones like them. Or a size (tiny, small, medium): one is "
        "trained on the documents first.",
    ),
]
Train = Annotated[
    list[str],
    typer.Argument(
        metavar="TRAIN",
        show_default=False,
        help="The training documents: files, folders, quoted globs or URLs.",
    ),
]
Queries = Annotated[
    list[str] | None,
    option(
        *("--queries", "-q"),
        metavar="PATH",
        panel=SCORING,
        help="A file in which each document is a query; several, one at a time.",
    ),
]
Ask = Annotated[
    list[str] | None,
    option(
        *("--ask", "-a"),
        metavar="TEXT",
        panel=SCORING,
        help="A query as text; several, one at a time.",
    ),
]
SolverOption = Annotated[
    Solver | None,
    option(
        "--solver",
        panel=SCORING,
        default="ekfac",
        help="How directions are weighed; adam and adam_cg need a model by dataworth proxy.",
    ),
]
Layers = Annotated[
    list[str] | None,
    option(
        "--layers",
        metavar="PATTERN",
        panel=SCORING,
        default="all",
        help="Modules that count, such as '*mlp*'; several, one at a time.",
    ),
]
Damping = Annotated[
    float | None,
    option(
        "--damping",
        metavar="SHARE",
        panel=SCORING,
        default="0.1",
        help="Share of each block's mean curvature that is added to it.",
    ),
]
Sample = Annotated[
    int | None,
    option(
        "--sample",
        metavar="N",
        panel=SCORING,
        default="256",
        help="Documents that the curvature is fitted on.",
    ),
]
Steps = Annotated[
    int | None,
    option(
        "--steps",
        metavar="N",
        panel=SCORING,
        default="20",
        help="Of conjugate gradients, for ekfac_cg and adam_cg; lissa takes ten times as many.",
    ),
]
FactorWidth = Annotated[
    int | None,
    option(
        "--factor-width",
        metavar="N",
        panel=SCORING,
        default="2048",
        help="Of a layer's side whose factor kfac and ekfac take whole; wider ones go in blocks of "
        "this width at most.",
    ),
]
Context = Annotated[
    int | None,
    option(
        "--context",
        metavar="TOKENS",
        panel=MODEL,
        default="the model's, 2048 at most",
        help="Tokens that the model sees at once; longer documents go in several windows.",
    ),
]
Windows = Annotated[
    int | None,
    option(
        "--windows",
        metavar="N",
        panel=MODEL,
        default="all",
        help="Windows that count of a document, from its beginning.",
    ),
]
BatchTokens = Annotated[
    int | None,
    option(
        "--batch-tokens",
        metavar="N",
        panel=MODEL,
        default="as suits the model",
        help="Positions that run at once: less needs less memory.",
    ),
]
Device = Annotated[
    str | None,
    option(
        "--device",
        metavar="NAME",
        panel=MODEL,
        default="auto",
        help="Where the model runs: auto (CUDA if there is a GPU, else the CPU), cpu, cuda or "
        "cuda:1.",
    ),
]
DtypeOption = Annotated[
    Dtype | None,
    option("--dtype", panel=MODEL, default="float32", help="The numbers of the model."),
]
ChatsOption = Annotated[
    Chats | None,
    option(
        "--chats",
        panel=MODEL,
        default="model",
        help="Read chats by the chat template beside the model, if there is one (model), or as the "
        "text that --template makes (text).",
    ),
]
NormaliseOption = Annotated[
    Normalise | None,
    option(
        "--normalise",
        panel=SCORING,
        default="none",
        help="Rank by the whole document's score (none) or its share a token (length).",
    ),
]
Top = Annotated[
    int | None,
    option(
        "--top",
        metavar="N",
        panel=SCORING,
        default="5",
        help="Documents to show at either end.",
    ),
]
Trained = Annotated[
    str | None,
    option(
        "--trained",
        metavar="N",
        panel=SCORING,
        default="1M",
        help="Tokens that the model is trained on, where MODEL is a size.",
    ),
]
QueryTextField = Annotated[
    list[str] | None,
    option(
        "--query-text-field",
        metavar="FIELD",
        panel=o.READING,
        default="that of the documents",
        help="The field that holds a query's text.",
    ),
]
QueryTemplate = Annotated[
    str | None,
    option(
        "--query-template",
        metavar="NAME",
        panel=o.READING,
        default="that of the documents",
        help="How chats in --queries become text, or none for plain text. What is asked with --ask "
        "is text.",
    ),
]
Check = Annotated[
    bool,
    option(
        "--check",
        panel=SCORING,
        help="Tell how near the solver comes to the exact answer, on a tiny model of the same "
        "architecture: some seconds. Not for adam and adam_cg.",
    ),
]
Out = Annotated[
    Path | None,
    option(
        *("--out", "-o"),
        metavar="FOLDER",
        panel=o.RUNNING,
        help="Write all scores, attribution.json and attribution.html there; the same command "
        "again goes on where it stopped. May be the folder of a run on the same documents.",
    ),
]
DryRun = Annotated[
    bool,
    option(
        "--dry-run",
        panel=o.RUNNING,
        help="Tell the time and memory that it will take, and do nothing.",
    ),
]
Overwrite = Annotated[
    bool,
    option(
        "--overwrite",
        panel=o.RUNNING,
        help="Start afresh: remove earlier attributions from the folder.",
    ),
]


def attribute(
    model: ModelFolder,
    train: Train,
    queries: Queries = None,
    ask: Ask = None,
    solver: SolverOption = None,
    layers: Layers = None,
    damping: Damping = None,
    sample: Sample = None,
    steps: Steps = None,
    factor_width: FactorWidth = None,
    context: Context = None,
    windows: Windows = None,
    batch_tokens: BatchTokens = None,
    device: Device = None,
    dtype: DtypeOption = None,
    chats: ChatsOption = None,
    normalise: NormaliseOption = None,
    top: Top = None,
    trained: Trained = None,
    check: Check = False,
    seed: o.Seed = None,
    text_field: o.TextField = None,
    query_text_field: QueryTextField = None,
    query_template: QueryTemplate = None,
    join: o.Join = None,
    template: o.Template = None,
    txt: o.TxtMode = None,
    max_line_bytes: o.MaxLineBytes = None,
    max_bad: o.MaxBadLines = None,
    storage_option: o.StorageOption = None,
    out: Out = None,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    workers: o.Workers = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Which training documents helped a model on some text, and which harmed it?

    Every document gets a score for every query: the estimated fall of the
    query's loss from one more copy of the document. Shown are those at either
    end, with the tokens that make the score.

    [bold]Examples[/]

    \b
    dataworth attribute model/ pool/ --ask 'The sum of 2 and 3 is 5.'
    dataworth attribute model/ pool/ --queries questions.jsonl --out attributed/
    dataworth attribute model/ pool/ -q questions.jsonl --solver identity --dry-run
    dataworth attribute model/ chats.jsonl --template chatml --ask 'Two and three is five.'
    dataworth attribute tiny pool/ --ask 'The sum of 2 and 3 is 5.'
    """
    if not queries and not ask:
        raise typer.BadParameter("give --queries PATH or --ask TEXT", param_hint="--queries")
    if queries and ask:
        raise typer.BadParameter("give either files or texts", param_hint="--queries")
    progress = begin(quiet)
    import dataworth
    from dataworth.corpus.documents import Documents

    options = {
        "solver": solver,
        "layers": layers,
        "damping": damping,
        "sample": sample,
        "steps": steps,
        "factor_width": factor_width,
        "context": context,
        "windows": windows,
        "batch_tokens": batch_tokens,
        "device": device,
        "dtype": dtype,
        "chats": chats,
        "normalise": normalise,
        "top": top,
        "trained": trained,
        "check": check,
        "seed": seed,
        "text_field": text_field,
        "query_text_field": query_text_field,
        "query_template": query_template,
        "join": join,
        "template": template,
        "txt": txt,
        "max_line_bytes": max_line_bytes,
        "max_bad": max_bad,
        "out": out,
        "overwrite": overwrite,
        "dry_run": dry_run,
    }
    found = dataworth.attribute(
        model,
        p.places(train),
        p.places(queries) if queries else Documents.from_texts(ask or []),
        storage_options=p.storage_options(storage_option or []),
        engine=p.engine(workers, None),
        progress=progress,
        **p.given(options),
    )
    if json:
        show_json(found.facts)
    elif not quiet:
        from dataworth.report import attribution_summary

        attribution_summary.show(found.facts, console())
        if out is not None and not dry_run:
            names = {"report": "attribution.html", "facts": "attribution.json", "scores": "table"}
            show_places({name: out / file for name, file in names.items()})
