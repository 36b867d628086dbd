"""The options that commands share.

An option that is not given is None here, and the default of the Python function holds; the default
shown in the help is checked against that one in the tests.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from dataworth.cli.declaring import option
from dataworth.cli.parsing import share, size

READING = "Reading"
SCORING = "Scoring"
CHOOSING = "Choosing"
WRITING = "Writing"
RUNNING = "Running"
OUT = "dataworth-out"


class Scale(StrEnum):
    """How utilities are made comparable before they are added."""

    raw = "raw"
    rank = "rank"
    bucket = "bucket"
    z = "z"


class Duplicates(StrEnum):
    """What happens to exact copies."""

    drop = "drop"
    keep = "keep"


class Format(StrEnum):
    """How a selection is written."""

    jsonl = "jsonl"
    jsonl_gz = "jsonl.gz"
    jsonl_zst = "jsonl.zst"
    parquet = "parquet"


class Order(StrEnum):
    """The order of the written rows."""

    shuffled = "shuffled"
    pool = "pool"
    rank = "rank"


class Txt(StrEnum):
    """What a document of a .txt file is."""

    file = "file"
    line = "line"


class EngineKind(StrEnum):
    """Where the work is done."""

    threads = "threads"
    processes = "processes"


Pool = Annotated[
    list[str],
    typer.Argument(
        metavar="POOL",
        show_default=False,
        help="The raw documents: files (.jsonl, .jsonl.gz, .jsonl.zst, .parquet, .txt), folders, "
        "quoted globs or URLs (s3://...).",
    ),
]
Target = Annotated[
    list[str] | None,
    option(
        *("--target", "-t"),
        metavar="[NAME=]PATH",
        panel=SCORING,
        help="Examples of what the model should become good at. Several make several targets; "
        "one name given twice makes one target of both paths.",
    ),
]
Steps = Annotated[
    list[str] | None,
    option(
        *("--step", "-s"),
        metavar="STEP",
        panel=SCORING,
        help="A filter or method, in order: dsir (the default), dsir:reference, "
        "'dsir(ngrams=3)'; some ask a model about each document, 'influence(model=FOLDER)', and "
        "dataworth proxy trains small ones. See `dataworth methods`.",
    ),
]
RecipeOf = Annotated[
    str | None,
    option(
        "--recipe",
        metavar="NAME",
        panel=SCORING,
        help="Options out of a recipe: c4, dclm, fineweb, gopher, nemotron, or a file; options "
        "that are given beside it win.",
    ),
]
Seed = Annotated[
    int | None,
    option(
        "--seed",
        metavar="N",
        panel=SCORING,
        default="0",
        help="Of everything random; the same seed gives the same selection.",
    ),
]
ChoiceSeed = Annotated[
    int | None,
    option(
        "--seed",
        metavar="N",
        panel=CHOOSING,
        default="the run's",
        help="Of the noise of mechanisms that draw.",
    ),
]
Holdout = Annotated[
    float | None,
    option(
        "--holdout",
        metavar="SHARE",
        parser=share,
        panel=SCORING,
        default="0.5",
        help="Share of each target that nothing is fitted on, kept to judge the selection.",
    ),
]
SampleBytes = Annotated[
    int | None,
    option(
        "--sample-bytes",
        metavar="SIZE",
        parser=size,
        panel=SCORING,
        help="Text of the pool's random sample, on which models of the pool are fitted.",
    ),
]
Tokenizer = Annotated[
    str | None,
    option(
        "--tokenizer",
        metavar="FILE",
        panel=SCORING,
        help="A tokenizer.json to count tokens by; without one, tokens are bytes / 4.",
    ),
]

TextField = Annotated[
    list[str] | None,
    option(
        *("--text-field", "-f"),
        metavar="FIELD",
        panel=READING,
        default="text",
        help="The field that holds the text; dots lead inwards (meta.body). Several are joined.",
    ),
]
TargetTextField = Annotated[
    list[str] | None,
    option(
        "--target-text-field",
        metavar="FIELD",
        panel=READING,
        default="as --text-field",
        help="The same for the targets.",
    ),
]
Join = Annotated[
    str | None,
    option(
        "--join",
        metavar="TEXT",
        panel=READING,
        default="an empty line",
        help="What stands between the texts of several fields.",
    ),
]
IdField = Annotated[
    str | None,
    option("--id-field", metavar="FIELD", panel=READING, help="The field that names documents."),
]
GroupBy = Annotated[
    list[str] | None,
    option(
        *("--group-by", "-g"),
        metavar="FIELD",
        panel=READING,
        help="A field to show the composition by, such as domain; for quotas too.",
    ),
]
Template = Annotated[
    str | None,
    option(
        "--template",
        metavar="NAME",
        panel=READING,
        help="For chats (messages) and pairs of prompt and completion: how they become text: "
        "plain, chatml, tulu or alpaca.",
    ),
]
TargetTemplate = Annotated[
    str | None,
    option(
        "--target-template",
        metavar="NAME",
        panel=READING,
        default="as --template",
        help="The same for the targets; none for plain text.",
    ),
]
SplitWords = Annotated[
    int | None,
    option(
        "--split-words",
        metavar="N",
        panel=READING,
        help="Make pieces of N words the documents; the output then holds pieces, not rows.",
    ),
]
TxtMode = Annotated[
    Txt | None,
    option(
        "--txt",
        panel=READING,
        default="file",
        help="Whether a .txt file is one document, or each of its lines.",
    ),
]
MaxLineBytes = Annotated[
    int | None,
    option(
        "--max-line-bytes",
        metavar="SIZE",
        parser=size,
        panel=READING,
        default="128MiB",
        help="Longer lines are bad lines.",
    ),
]
MaxBad = Annotated[
    float | None,
    option(
        "--max-bad",
        metavar="SHARE",
        parser=share,
        panel=READING,
        default="1%",
        help="Share of bad lines past which the run fails; up to it they are left out, counted "
        "and kept in quarantine/.",
    ),
]
MaxBadLines = Annotated[
    float | None,
    option(
        "--max-bad",
        metavar="SHARE",
        parser=share,
        panel=READING,
        default="1%",
        help="Share of bad lines past which it fails; up to it they are left out and counted.",
    ),
]
StorageOption = Annotated[
    list[str] | None,
    option(
        "--storage-option",
        metavar="KEY=VALUE",
        panel=READING,
        help="For URLs, given to fsspec: anon=true, client_kwargs.endpoint_url=http://...",
    ),
]

Budget = Annotated[
    str | None,
    option(
        *("--budget", "-b"),
        metavar="BUDGET",
        panel=CHOOSING,
        default="10%",
        help="How much: 10B or 250M tokens, 100k-docs, 10% of the eligible tokens, 5GB.",
    ),
]
Mechanism = Annotated[
    str | None,
    option(
        *("--mechanism", "-m"),
        metavar="MECHANISM",
        panel=CHOOSING,
        default="the method's own",
        help="How the utility becomes an order: top_k, 'gumbel_top_k(temperature=0.1)', random. "
        "See `dataworth methods`.",
    ),
]
Utility = Annotated[
    str | None,
    option(
        *("--utility", "-u"),
        metavar="EXPRESSION",
        panel=CHOOSING,
        default="the last step's",
        help="What to choose by, such as '0.7*dsir + 0.3*dsir_2' or dsir:math.",
    ),
]
ScaleOf = Annotated[
    Scale | None,
    option(
        "--scale",
        panel=CHOOSING,
        default="raw",
        help="How utilities are made comparable before they are added.",
    ),
]
Proportion = Annotated[
    list[str] | None,
    option(
        "--proportion",
        metavar="NAME=SHARE",
        panel=CHOOSING,
        default="equal",
        help="A target's share of the selection.",
    ),
]
QuotaOf = Annotated[
    list[str] | None,
    option(
        *("--quota", "-q"),
        metavar="FIELD[=VALUE]:AMOUNT",
        panel=CHOOSING,
        help="A cap for one value of a field (domain=web:30%) or for each (source:1000-docs).",
    ),
]
MixtureOf = Annotated[
    str | None,
    option(
        "--mixture",
        metavar="FILE|NAME",
        panel=CHOOSING,
        help="Each group's share of the selection, by a field of --group-by: a YAML, JSON or CSV "
        "file of groups and shares, or natural, uniform, 'temperature(alpha=0.3)', unimax.",
    ),
]
MaxRepeat = Annotated[
    int | None,
    option(
        "--max-repeat",
        metavar="N",
        panel=CHOOSING,
        default="1",
        help="Take documents up to N times if the budget is larger than the pool.",
    ),
]
Exclude = Annotated[
    list[str] | None,
    option(
        "--exclude",
        metavar="PATH",
        panel=CHOOSING,
        help="A run's folder or data that was trained on before: its documents are not chosen.",
    ),
]
DuplicatesOf = Annotated[
    Duplicates | None,
    option(
        "--duplicates",
        panel=CHOOSING,
        default="drop",
        help="What happens to exact copies of a document.",
    ),
]

FormatOf = Annotated[
    Format | None,
    option(
        "--format",
        panel=WRITING,
        default="parquet if all of the pool is, else jsonl.zst",
        help="Of the selection's files.",
    ),
]
ShardBytes = Annotated[
    int | None,
    option(
        "--shard-bytes",
        metavar="SIZE",
        parser=size,
        panel=WRITING,
        default="256MB",
        help="Size of the selection's files before compression.",
    ),
]
OrderOf = Annotated[
    Order | None,
    option(
        "--order",
        panel=WRITING,
        default="shuffled",
        help="Order of the rows; shuffled is ready to train on.",
    ),
]

Out = Annotated[
    Path | None,
    option(
        *("--out", "-o"),
        metavar="FOLDER",
        panel=RUNNING,
        default=OUT,
        help="The run's folder. The same command again goes on where it stopped.",
    ),
]
Overwrite = Annotated[
    bool, option("--overwrite", panel=RUNNING, help="Start afresh in a folder that has a run.")
]
Workers = Annotated[
    int | None,
    option(
        *("--workers", "-w"),
        metavar="N",
        panel=RUNNING,
        default="one for each core",
        help="How many units are worked on at a time; never changes the result.",
    ),
]
EngineOf = Annotated[
    EngineKind | None,
    option(
        "--engine",
        panel=RUNNING,
        default="threads",
        help="Where the work is done; processes suit steps in plain Python.",
    ),
]
Device = Annotated[
    str | None,
    option(
        "--device",
        metavar="NAME",
        panel=RUNNING,
        default="auto",
        help="Where models run: auto (CUDA if there is a GPU, else the CPU), cpu, cuda, cuda:1 or "
        "mps.",
    ),
]
Quiet = Annotated[bool, option("--quiet", panel=RUNNING, help="Show nothing but errors.")]
Json = Annotated[
    bool, option("--json", panel=RUNNING, help="Print JSON on stdout instead of the table.")
]
DryRun = Annotated[
    bool,
    option(
        "--dry-run",
        panel=RUNNING,
        help="Show what would be read and an estimate of time, memory and disk; write nothing.",
    ),
]
