"""The options of the public calls, each declared once with its type, default, bounds and help.

The command line, recipes and settings that runs record are derived from these dataclasses. The
signatures in `api.py` repeat name, type and default, for editors and type checkers.

A class of several groups names them from the last to the first: the order of its fields is that of
the help texts.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import itertools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from dataworth.options import option as declared

Kind = Literal[
    "",
    "path",
    "paths",
    "targets",
    "names",
    "size",
    "share",
    "shares",
    "settings",
    "steps",
    "mixture",
]
"""Ways to write a value, on the command line and in recipes; "": by its type."""

Txt = Literal["file", "line"]
Scale = Literal["raw", "rank", "bucket", "z"]
Duplicates = Literal["drop", "keep"]
Format = Literal["jsonl", "jsonl.gz", "jsonl.zst", "parquet"]
Order = Literal["shuffled", "pool", "rank"]
Dtype = Literal["float32", "bfloat16", "float16", "float64"]
Chats = Literal["model", "text"]
Per = Literal["document", "token"]

Solver = Literal[
    "identity",
    "cosine",
    "diagonal",
    "adam",
    "kfac",
    "ekfac",
    "ekfac_cg",
    "adam_cg",
    "lissa",
    "dense",
]

READING, SCORING, CHOOSING = "Reading", "Scoring", "Choosing"
WRITING, RUNNING, AGAINST = "Writing", "Running", "Judging against"
TRAINING, ROUNDS = "Training", "Rounds and training"
SCORES, MODEL = "Scores", "The model"
PANELS = (
    *("Options", SCORES, MODEL, AGAINST, TRAINING, SCORING, ROUNDS, CHOOSING, READING),
    *(WRITING, RUNNING),
)
"""Panels of the help texts, in order."""


def option(
    default: Any = MISSING,
    *,
    kind: Kind = "",
    flag: str = "",
    argument: bool = False,
    metavar: str = "",
    shown: str | None = None,
    panel: str | None = None,
    command: bool = True,
    was: tuple[str, Mapping[str, str]] | None = None,
    **bounds: float,
) -> Any:
    """Return a dataclass field that is an option of a call; its help stands below it.

    `kind`: how text becomes a value. `flag`: of the command line; the name's own stands before a
    short one alone. `argument`: given by position. `shown`: the default in words, "" for none.
    `panel`: of the help text, if not its class's. `command`: if the command line has it. `was`: as
    in `dataworth.option`.
    """
    field = declared(default, help="", was=was, **bounds)  # type: ignore[arg-type]
    call = {"kind": kind, "flag": flag, "argument": argument, "metavar": metavar}
    call |= {"shown": shown, "panel": panel, "command": command}
    return dataclasses.field(default=default, metadata={**field.metadata, **call})


def same(source: type[Any], name: str, *, default: Any = MISSING, **changes: Any) -> Any:
    """Return an option of a class once more, with some things changed."""
    field = source.__dataclass_fields__[name]
    base: dict[str, Any] = {"panel": panel_of(source, field), "same": (source, name)}
    if default is None and field.metadata["shown"] is None:
        base["shown"] = field.default
    default = field.default if default is MISSING else default
    return dataclasses.field(default=default, metadata={**field.metadata, **base, **changes})


def panel_of(cls: type[Any], field: dataclasses.Field[Any]) -> str | None:
    """Return the panel of the help text that an option stands in."""
    own = next(one for one in cls.__mro__ if field.name in inspect.get_annotations(one))
    panel = field.metadata["panel"]
    return getattr(own, "panel", None) if panel is None else panel


def help_of(cls: type[Any], name: str) -> str:
    """Return the help of an option: the text below it, or below the one that it repeats."""
    for one in cls.__mro__:
        if name in inspect.get_annotations(one):
            text = _texts(one.__module__).get((one.__name__, name))
            if text is not None:
                return text
            return help_of(*cls.__dataclass_fields__[name].metadata["same"])
    raise KeyError(name)


@functools.cache
def _texts(module: str) -> dict[tuple[str, str], str]:
    """Return the texts that stand below the fields of a module's classes."""
    texts = {}
    for cls in ast.parse(inspect.getsource(sys.modules[module])).body:
        if isinstance(cls, ast.ClassDef):
            for item, below in itertools.pairwise(cls.body):
                if isinstance(item, ast.AnnAssign) and isinstance(below, ast.Expr):
                    name, text = ast.unparse(item.target), ast.literal_eval(below.value)
                    texts[cls.name, name] = " ".join(text.split())
    return texts


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Pool:
    """The raw documents."""

    pool: Any = option(kind="paths", argument=True)
    """The raw documents: files (.jsonl, .jsonl.gz, .jsonl.zst, .parquet, .txt), folders, quoted
    globs or URLs (s3://...)."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Scoring:
    """Options of scoring: targets, steps and what they are fitted on."""

    panel: ClassVar[str] = SCORING
    target: Any = option(None, kind="targets", flag="-t", metavar="[NAME=]PATH")
    """Examples of what the model should become good at. Several make several targets; one name
    given twice makes one target of both paths."""
    steps: Any = option(None, kind="steps", flag="--step -s", metavar="STEP")
    """A filter or method, in order: dsir (the default), dsir:reference, 'dsir(ngrams=3)'; some ask
    a model about each document, 'influence(model=FOLDER)', and dataworth proxy trains small
    ones. See `dataworth methods`."""
    seed: int = option(0)
    """Seed of everything random; the same one gives the same selection."""
    holdout: float = option(0.5, kind="share", minimum=0, below=1)
    """Share of each target that nothing is fitted on, kept to judge the selection."""
    sample_bytes: int | None = option(None, kind="size", minimum=1 << 16)
    """Text of the pool's random sample, on which models of the pool are fitted."""
    tokenizer: str | Path | None = option(None, kind="path", metavar="FILE")
    """A tokenizer.json to count tokens by; without one, tokens are bytes / 4."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Choosing:
    """Options of choosing documents from their scores."""

    panel: ClassVar[str] = CHOOSING
    budget: str | int = option("10%", flag="-b", metavar="BUDGET")
    """Budget: 10B or 250M tokens, 100k-docs, 10% of the eligible tokens, 5GB."""
    mechanism: Any = option(None, flag="-m", metavar="MECHANISM", shown="the method's own")
    """How the utility becomes an order: top_k, 'gumbel_top_k(temperature=0.1)', random. See
    `dataworth methods`."""
    utility: str | None = option(None, flag="-u", metavar="EXPRESSION", shown="the last step's")
    """What to choose by, such as '0.7*dsir + 0.3*dsir_2' or dsir:math."""
    scale: Scale = option("raw")
    """Scale on which utilities are made comparable before they are added."""
    proportions: Mapping[str, float] | None = option(
        None, kind="shares", flag="--proportion", metavar="NAME=SHARE", shown="equal"
    )
    """A target's share of the selection."""
    quotas: Any = option(None, kind="names", flag="--quota -q", metavar="FIELD[=VALUE]:AMOUNT")
    """A cap for one value of a field (domain=web:30%) or for each (source:1000-docs)."""
    mixture: Any = option(None, kind="mixture", metavar="FILE|NAME")
    """Each group's share of the selection, by a field of --group-by: a YAML, JSON or CSV file of
    groups and shares, or natural, uniform, 'temperature(alpha=0.3)', unimax."""
    max_repeat: int = option(1, minimum=1, maximum=65535)
    """Take documents up to N times if the budget is larger than the pool."""
    exclude: Any = option((), kind="paths", metavar="PATH")
    """A run's folder or data that was trained on before: its documents are not chosen."""
    duplicates: Duplicates = option("drop")
    """Drop or keep exact copies of a document."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Reading:
    """Options of reading the pool and the targets."""

    panel: ClassVar[str] = READING
    text_field: Any = option("text", kind="names", flag="-f", metavar="FIELD")
    """The field that holds the text; dots lead inwards (meta.body). Several are joined."""
    target_text_field: Any = option(None, kind="names", metavar="FIELD", shown="as --text-field")
    """The same for the targets."""
    join: str = option("\n\n", metavar="TEXT", shown="an empty line")
    """Separator of the texts of several fields."""
    id_field: str | None = option(None, metavar="FIELD")
    """The field that names documents."""
    group_by: Any = option((), kind="names", flag="-g", metavar="FIELD")
    """A field to show the composition by, such as domain; for quotas too."""
    template: str | None = option(None, metavar="NAME")
    """For chats (messages) and pairs of prompt and completion: how they become text: plain, chatml,
    tulu or alpaca."""
    target_template: str | None = option(None, metavar="NAME", shown="as --template")
    """The same for the targets; none for plain text."""
    split_words: int | None = option(None, minimum=1)
    """Make pieces of N words the documents; the output then holds pieces, not rows."""
    txt: Txt = option("file")
    """Read a .txt file as one document, or each of its lines as one."""
    max_line_bytes: int = option(128 * 2**20, kind="size", minimum=1, shown="128MiB")
    """Longer lines are bad lines."""
    max_bad: float = option(0.01, kind="share", minimum=0, maximum=1, shown="1%")
    """Share of bad lines past which the run fails; up to it they are left out, counted and kept in
    quarantine/."""
    storage_options: Mapping[str, Any] | None = option(
        None, kind="settings", flag="--storage-option", metavar="KEY=VALUE"
    )
    """For URLs, given to fsspec: anon=true, client_kwargs.endpoint_url=http://..."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Documents:
    """Options of reading documents, with no targets."""

    panel: ClassVar[str] = READING
    text_field: Any = same(Reading, "text_field")
    join: str = same(Reading, "join")
    template: str | None = same(Reading, "template")
    txt: Txt = same(Reading, "txt")
    max_line_bytes: int = same(Reading, "max_line_bytes")
    max_bad: float = same(Reading, "max_bad")
    """Share of bad lines past which it fails; up to it they are left out and counted."""
    storage_options: Mapping[str, Any] | None = same(Reading, "storage_options")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Writing:
    """Options of writing a selection."""

    panel: ClassVar[str] = WRITING
    format: Format | None = option(None, shown="parquet if all of the pool is, else jsonl.zst")
    """Format of the selection's files."""
    shard_bytes: int = option(256000000, kind="size", minimum=1, shown="256MB")
    """Size of the selection's files before compression."""
    order: Order = option("shuffled")
    """Order of the rows; shuffled is ready to train on."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Working:
    """Options of the engine and of progress; commands have options of their own for both."""

    panel: ClassVar[str] = RUNNING
    engine: Any = option(None, command=False)
    """An `Engine`, or the number of workers."""
    progress: Any = option(None, command=False)
    """How progress is shown."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Running(Working):
    """The folder of a run."""

    out: str | Path | None = option(
        None, kind="path", flag="-o", metavar="FOLDER", shown="dataworth-out"
    )
    """The run's folder. The same command again goes on where it stopped."""
    overwrite: bool = option(False)
    """Start afresh in a folder that has a run."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class _Device:
    panel: ClassVar[str] = RUNNING
    device: str = option("auto", metavar="NAME")
    """Where models run: auto (CUDA if there is a GPU, else the CPU), cpu, cuda, cuda:1 or mps."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ScoreOptions(Running, Reading, Scoring, Pool):
    """The options of `score`."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SelectOptions(Running, Writing, Reading, Choosing, Scoring, Pool):
    """The options of `select`, and of recipes."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class PlanOptions(SelectOptions):
    """The options of `plan`."""

    budget: str | int | None = same(Choosing, "budget")  # type: ignore[assignment]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ChooseOptions(Choosing):
    """The options of `Scores.choose`."""

    seed: int | None = same(Scoring, "seed", default=None, panel=CHOOSING, shown="the run's")
    """Seed of the noise of mechanisms that draw."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class WriteOptions(Writing):
    """The options of `Selection.write`."""

    folder: str | Path = option(kind="path", metavar="FOLDER", flag="--write", shown="")
    """Write the documents there."""
    overwrite: bool = option(False)
    """Replace what was written there before."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LoadOptions(Working):
    """The options of `load`."""

    folder: str | Path = option(kind="path", argument=True, metavar="RUN")
    """The folder of a finished run."""
    storage_options: Mapping[str, Any] | None = same(Reading, "storage_options")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class _Rounds:
    panel: ClassVar[str] = ROUNDS
    rounds: int = option(shown="the last that --round names")
    """Number of rounds. The same command with more adds them."""
    train: Any = option("small", metavar="TRAINER")
    """What trains a round: 'small(size=tiny, epochs=1)', or your own function as module:function,
    called with (selection, previous, round, folder)."""
    start: str | Path | None = option(None, kind="path", metavar="FOLDER")
    """A model that round 1 goes on with; then {checkpoint} may stand in round 1 too."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LoopOptions(Running, Reading, Choosing, _Rounds, Scoring, Pool):
    """The options of `loop`."""

    budget: Any = same(Choosing, "budget")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class InspectOptions(Working):
    """The options of `inspect`."""

    source: Any = option(kind="paths", argument=True, metavar="PATH")
    """Files, folders, globs or URLs."""
    sample: int | None = option(None, minimum=1, panel="Options")
    """Look at about N documents instead of all."""
    text_field: Any = same(Reading, "text_field", default=None)
    join: str = same(Reading, "join")
    template: str | None = same(Reading, "template")
    txt: Txt = same(Reading, "txt")
    max_line_bytes: int = same(Reading, "max_line_bytes")
    storage_options: Mapping[str, Any] | None = same(Reading, "storage_options")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class JudgeOptions(Working):
    """The options of `judge`. Those that are None are the run's, or else those of `select`."""

    selection: Any = option(kind="paths", argument=True)
    """The folder of a run, of one of its choices or its data/; or any files, folders, quoted globs
    or URLs."""
    target: Any = option(
        None, kind="targets", flag="-t", panel=AGAINST, metavar="[NAME=]PATH", shown="the run's"
    )
    """Examples of what the model should become good at."""
    pool: Any = option(
        None, kind="paths", flag="-p", panel=AGAINST, metavar="PATH", shown="the run's"
    )
    """Pool that was selected from."""
    validation: Any = option(None, kind="targets", flag="-v", panel=AGAINST, metavar="[NAME=]PATH")
    """Text that models will be measured on: the selection is searched for it, and a target of that
    name is measured on it too."""
    against: Any = option((), kind="paths", flag="-a", panel=AGAINST, metavar="SELECTION")
    """Another selection, to see the overlap; several, one at a time."""
    group_by: Any = same(Reading, "group_by", default=None, shown="the run's")
    """A field to show the composition by, such as domain."""
    seed: int | None = same(Scoring, "seed", default=None, panel=AGAINST, shown="the run's, or 0")
    """Seed of samples and of the halves of the targets."""
    holdout: float | None = same(
        Scoring, "holdout", default=None, panel=AGAINST, shown="the run's, or 0.5"
    )
    """Share of each target that is held out, and measured on."""
    text_field: Any = same(Reading, "text_field", default=None)
    target_text_field: Any = same(Reading, "target_text_field")
    join: str | None = same(Reading, "join", default=None)
    template: str | None = same(Reading, "template")
    target_template: str | None = same(Reading, "target_template")
    txt: Txt | None = same(Reading, "txt", default=None)
    max_line_bytes: int | None = same(Reading, "max_line_bytes", default=None)
    max_bad: float = same(Documents, "max_bad")
    storage_options: Mapping[str, Any] | None = same(Reading, "storage_options")
    out: str | Path | None = same(Running, "out", shown="")
    """Write metrics.json and report.html there."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class CompareOptions(Working):
    """The options of `compare`."""

    plan: str | Path | Mapping[str, Any] = option(kind="path", argument=True, metavar="PLAN")
    """A YAML file that says what to compare, or the plan.json of a comparison."""
    minutes: float | None = option(None, flag="-m", metavar="N")
    """Fit the plan into N minutes, and say what was given up."""
    out: str | Path | None = same(Running, "out", shown="comparison")
    """The comparison's folder. The same command again goes on where it stopped."""
    reuse: Sequence[str | Path] = option((), kind="paths", metavar="FOLDER")
    """Another comparison: what it scored or trained in the same way is not done again."""
    so_far: bool = option(False)
    """Train nothing, and show what is there."""
    overwrite: bool = same(Running, "overwrite")
    device: str = same(_Device, "device")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class _Training:
    panel: ClassVar[str] = TRAINING
    size: str = option("tiny", metavar="NAME")
    """tiny, small or medium: about 0.25, 1.3 and 5.8 million parameters."""
    vocabulary: int = option(4096)
    """Tokens of the tokenizer that is trained on the pool."""
    tokenizer: str | Path | None = option(None, kind="path", metavar="FILE")
    """A tokenizer.json to take instead."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ProxyOptions(Running, Documents, _Training, Pool):
    """The options of `proxy`."""

    tokens: str | int = option("1M", metavar="N", panel=TRAINING)
    """Tokens of random documents that each model is trained on."""
    seeds: int = option(1, minimum=1, panel=TRAINING)
    """How many models; each has its own first weights and its own part of the documents."""
    checkpoints: int = option(1, minimum=1, panel=TRAINING)
    """How many points of each training are kept, evenly spaced, the last the end."""
    seed: int = same(Scoring, "seed")
    out: str | Path | None = same(Running, "out", shown="proxies")
    """The folder of the models. The same command again goes on where it stopped, and one with more
    --seeds adds them."""
    device: str = same(_Device, "device")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SwarmOptions(Running, Documents, _Training, Pool):
    """The options of `swarm`."""

    group_by: str = option(flag="-g", metavar="FIELD", panel=TRAINING)
    """The field whose values are the groups, such as domain."""
    target: Any = same(Scoring, "target")
    mixtures: int = option(128, minimum=0, panel=TRAINING)
    """How many models, each trained on a mixture of its own; 0 prepares the text alone, for
    mixtures that train themselves."""
    tokens: str | int = option("500k", metavar="N", panel=TRAINING)
    """Tokens that each model is trained on."""
    budget: str | int | None = option(
        None, flag="-b", metavar="TOKENS", panel=TRAINING, shown="all of the pool"
    )
    """Of the run that the mixture is for: models repeat each group as often as it would."""
    epochs: float = option(15.0, above=0, metavar="N", panel=TRAINING)
    """Most passes of that run over a group."""
    held_out: str | int = option("100kB", metavar="SIZE", panel=TRAINING)
    """Text of each group and target that losses are measured on."""
    holdout: float = same(Scoring, "holdout")
    seed: int = same(Scoring, "seed")
    target_text_field: Any = same(Reading, "target_text_field")
    target_template: str | None = same(Reading, "target_template")
    out: str | Path | None = same(Running, "out", shown="swarm")
    """The folder of the swarm. The same command again goes on where it stopped; with more
    --mixtures it adds models, with another --target it measures those that are there."""
    dry_run: bool = option(False, panel=RUNNING)
    """Show what would be read and an estimate of time, memory and disk; write nothing."""
    device: str = same(_Device, "device")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class _Attributing:
    panel: ClassVar[str] = SCORES
    model: str | Path = option(argument=True)
    """The folder of a causal language model, of Hugging Face or of dataworth.lm, that was trained
    on the documents or on ones like them. Or a size (tiny, small, medium): one is trained on the
    documents first."""
    train: Any = option(kind="paths", argument=True)
    """The training documents: files, folders, quoted globs or URLs."""
    queries: Any = option(kind="paths", flag="-q", metavar="PATH", shown="")
    """A file in which each document is a query; several, one at a time."""
    solver: Solver = option("ekfac")
    """The preconditioner of gradients; adam and adam_cg need a model by dataworth proxy."""
    layers: Any = option((), kind="names", metavar="PATTERN", shown="all")
    """Modules that count, such as '*mlp*'; several, one at a time."""
    damping: float = option(0.1, metavar="SHARE", minimum=0)
    """Share of each block's mean curvature that is added to it."""
    sample: int = option(256, minimum=1)
    """Documents that the curvature is fitted on."""
    steps: int = option(20, minimum=1)
    """Of conjugate gradients, for ekfac_cg and adam_cg; lissa takes ten times as many."""
    factor_width: int = option(2048, minimum=1)
    """Of a layer's side whose factor kfac and ekfac take whole; wider ones go in blocks of this
    width at most."""
    per: Per = option("document", was=("normalise", {"length": "token", "none": "document"}))
    """Rank by the score of the whole document, or by its share of a token."""
    top: int = option(5, minimum=1)
    """Documents to show at either end."""
    trained: str | int | None = option(None, metavar="N", shown="1M")
    """Tokens that the model is trained on, where MODEL is a size."""
    check: bool = option(False)
    """Tell how near the solver comes to the exact answer, on a tiny model of the same architecture:
    some seconds. Not for adam and adam_cg."""
    context: int = option(
        0, metavar="TOKENS", minimum=0, panel=MODEL, shown="the model's, 2048 at most"
    )
    """Tokens that the model sees at once; longer documents go in several windows."""
    windows: int = option(0, minimum=0, panel=MODEL, shown="all")
    """Windows that count of a document, from its beginning."""
    batch_tokens: int = option(0, minimum=0, panel=MODEL, shown="as suits the model")
    """Positions that run at once: less needs less memory."""
    device: str = option("auto", metavar="NAME", panel=MODEL)
    """Where the model runs: auto (CUDA if there is a GPU, else the CPU), cpu, cuda or cuda:1."""
    dtype: Dtype = option("float32", panel=MODEL)
    """The numbers of the model."""
    chats: Chats = option("model", panel=MODEL)
    """Read chats by the chat template beside the model, if there is one (model), or as the text
    that --template makes (text)."""
    seed: int = same(Scoring, "seed")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class AttributeOptions(Running, Documents, _Attributing):
    """The options of `attribute`."""

    query_text_field: Any = option(
        None, kind="names", metavar="FIELD", panel=READING, shown="that of the documents"
    )
    """The field that holds a query's text."""
    query_template: str | None = option(
        None, metavar="NAME", panel=READING, shown="that of the documents"
    )
    """How chats in --queries become text, or none for plain text. What is asked with --ask is
    text."""
    out: str | Path | None = same(Running, "out", shown="")
    """Write all scores, attribution.json and attribution.html there; the same command again goes
    on where it stopped. May be the folder of a run on the same documents."""
    overwrite: bool = same(Running, "overwrite")
    """Start afresh: remove earlier attributions from the folder."""
    dry_run: bool = option(False, panel=RUNNING)
    """Tell the time and memory that it will take, and do nothing."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ExplainOptions:
    """The options of `explain`."""

    folder: str | Path = same(LoadOptions, "folder")
    document: str = option(argument=True)
    """Its uid (16 hexadecimal digits), its id, FILE:OFFSET, or its whole text."""
    choice: str | None = option(None, metavar="NAME", panel="Options")
    """Of the folder in selections/, to explain another choice than the run's own."""
    storage_options: Mapping[str, Any] | None = same(Reading, "storage_options")
