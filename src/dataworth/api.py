"""The public functions: `select`, `score`, `load` and those around them. The flow, top to bottom.

pool ──▶ survey ──▶ fit steps ──▶ score every document ──▶ choose ──▶ write and report
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.fields import Fields
from dataworth.corpus.sources import resolve
from dataworth.engine.local import Engine
from dataworth.engine.progress import Progress
from dataworth.engine.run import RunFolder
from dataworth.errors import ConfigError, RunError
from dataworth.flow.attributing.opening import run_attribution
from dataworth.flow.comparing.comparison import Comparison, compare_plan
from dataworth.flow.inspect import Inspection, inspect_corpus
from dataworth.flow.judging.judgement import Judgement, check_folder, judge_selection
from dataworth.flow.judging.opening import JudgeSettings
from dataworth.flow.plan import Plan, make_plan
from dataworth.flow.recipe import Recipe, recorded_choice
from dataworth.flow.recipe import read_recipe as read_file
from dataworth.flow.scores import (
    Scores,
    as_tuple,
    excluded_paths,
    load_scores,
    mechanism_text,
)
from dataworth.flow.scoring import run_scoring
from dataworth.flow.selection import Selection, write_selection
from dataworth.flow.settings import ChoiceSettings, ScoreSettings, WriteSettings
from dataworth.flow.targets import named, open_targets
from dataworth.mechanism.budget import parse_budget, parse_quotas
from dataworth.methods.registry import DEFAULT, parse_step
from dataworth.report.model import Explanation

if TYPE_CHECKING:
    from dataworth.flow.attributing.attribution import Attribution

# Options of `score` beside pool, target, steps: those of `ScoreSettings` and `Fields`.
_FIELD_OPTIONS = ("join", "template", "split_words", "txt", "max_line_bytes")


def score(
    pool: Any,
    target: Any = None,
    *,
    steps: Any = DEFAULT,
    text_field: Any = "text",
    target_text_field: Any = None,
    id_field: str | None = None,
    group_by: Any = (),
    seed: int = 0,
    holdout: float = 0.5,
    sample_bytes: int | None = None,
    max_bad: float = 0.01,
    tokenizer: str | Path | None = None,
    storage_options: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    engine: Engine | int | None = None,
    progress: Progress | None = None,
    **field_options: Any,
) -> Scores:
    """Score every document of a pool.

    `pool`: a path, glob, folder or URL, a list of these, a HF data set, or any iterable of strings
    or dictionaries. `target`: the same, or a mapping of names to such. `steps`: filters and
    methods in order, as text (`"dsir(ngrams=3)"`) or objects.
    `text_field`, `id_field`, `group_by`: fields of the rows, dotted paths; several text fields are
    joined. Further options of reading: join, template, split_words, txt, max_line_bytes.
    `seed`: of the pool's sample and the targets' halves. `holdout`: share of each target that only
    judges. `max_bad`: share of bad lines past which the run fails. `tokenizer`: a tokenizer.json
    to count tokens by; else tokens are bytes / 4.
    `out`: the run's folder; None keeps everything in a temporary folder that goes with the result.
    The same call on the same folder goes on where it stopped; `overwrite` starts afresh.
    `engine`: an `Engine`, or the number of workers; it does not change the result.

    Raises InputError for data that cannot be read, ConfigError for wrong options, RunError for a
    folder that holds another run.
    """
    engine = _engine(engine)
    progress = progress or Progress()
    settings, keep, folder = _prepare(locals())
    corpus, targets, run = _open(
        pool, target, settings, folder, storage_options, overwrite, {"score": settings.as_dict()}
    )
    with run:
        scored = run_scoring(run, corpus, targets, settings, engine, progress)
    return Scores(folder, scored, settings, engine=engine, progress=progress, keep=keep)


def select(
    pool: Any,
    target: Any = None,
    budget: str | int = "10%",
    *,
    steps: Any = DEFAULT,
    mechanism: Any = None,
    utility: str | None = None,
    scale: str = "raw",
    proportions: Mapping[str, float] | None = None,
    quotas: Any = None,
    max_repeat: int = 1,
    exclude: Any = (),
    duplicates: str = "drop",
    format: str | None = None,
    shard_bytes: int = 256_000_000,
    order: str = "shuffled",
    text_field: Any = "text",
    target_text_field: Any = None,
    id_field: str | None = None,
    group_by: Any = (),
    seed: int = 0,
    holdout: float = 0.5,
    sample_bytes: int | None = None,
    max_bad: float = 0.01,
    tokenizer: str | Path | None = None,
    storage_options: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    engine: Engine | int | None = None,
    progress: Progress | None = None,
    **field_options: Any,
) -> Selection:
    """Select the documents of a pool to train on.

    Scoring as in `score`. `budget`: tokens ("10B"), documents ("100k-docs"), a share of the
    eligible tokens ("10%") or bytes ("5GB"). `mechanism`: how an order comes from the utility, such
    as "top_k" or "gumbel_top_k(temperature=0.1)"; None takes the method's own. `utility`: a sum of
    utilities, "0.7*dsir + 0.3*dsir_2", on the `scale` "raw", "rank" or "z". `proportions`: shares
    of several targets. `quotas`: caps by field ("domain=web:30%"). `max_repeat`: copies of a
    document, if the budget is larger than the pool. `exclude`: runs or data sets that were trained
    on before. `duplicates`: "drop" exact copies or "keep" them.
    With `out`, the rows are written as shards (`format`, `shard_bytes`, `order`) beside a report.

    Raises what `score` raises.
    """
    engine = _engine(engine)
    progress = progress or Progress()
    group_by = _grouped(group_by, quotas)
    settings, keep, folder = _prepare(locals())
    choice, write = _choice(locals())
    configuration = {
        "score": settings.as_dict(),
        "choose": choice.as_dict(),
        "write": write.as_dict(),
    }
    corpus, targets, run = _open(
        pool, target, settings, folder, storage_options, overwrite, configuration
    )
    with run:
        scored = run_scoring(run, corpus, targets, settings, engine, progress)
        scores = Scores(folder, scored, settings, engine=engine, progress=progress, keep=keep)
        scores.command = _command()
        selection = scores.choose_settings(choice)
        if out is not None:
            finish(run, selection, write)
    return selection


def finish(run: RunFolder, selection: Selection, settings: WriteSettings) -> None:
    """Write the run's own selection, its metrics and its report, unless they are there."""
    written = run.record.get("selection")
    if written == selection.folder.name:
        return
    if written is not None:
        raise RunError(
            f"{run.folder}: what is to be excluded changed since this run chose; choose another "
            "folder, or start afresh with --overwrite (overwrite=True)"
        )
    write_selection(selection, run.folder, settings, overwrite=True)
    selection.save_metrics()
    selection.report(run.folder / "report.html")
    run.update(selection=selection.folder.name)


def load(
    folder: str | Path,
    *,
    storage_options: Mapping[str, Any] | None = None,
    engine: Engine | int | None = None,
    progress: Progress | None = None,
) -> Scores:
    """A finished run: choose from it again, explain its documents, use its fitted steps."""
    return load_scores(
        Path(folder), engine=_engine(engine), progress=progress, storage_options=storage_options
    )


def plan(
    pool: Any,
    target: Any = None,
    budget: str | int | None = "10%",
    **options: Any,
) -> Plan:
    """What `select` (or `score`, for the budget None) would read and need with these options.

    Reads a small part of the pool and all of the targets; writes nothing into `out`. Raises what
    `select` raises at its start.
    """
    given = signature(select).bind(pool, target, budget or "10%", **options)
    given.apply_defaults()
    resolved = given.arguments
    resolved["group_by"] = _grouped(resolved["group_by"], resolved["quotas"])
    settings, _, folder = _prepare({**resolved, "out": resolved["out"] or "."})
    configuration = {"score": settings.as_dict()}
    choice = None
    if budget is not None:
        choice, write = _choice(resolved)
        configuration |= {"choose": choice.as_dict(), "write": write.as_dict()}
    storage_options = resolved["storage_options"]
    corpus = Corpus.open(pool, fields=settings.fields, storage_options=storage_options)
    targets = open_targets(named(target), settings.target_fields, None, storage_options)
    return make_plan(
        corpus,
        targets,
        settings,
        choice,
        configuration,
        folder=None if resolved["out"] is None else folder,
        overwrite=resolved["overwrite"],
        engine=_engine(resolved["engine"]),
    )


def inspect(
    source: Any,
    *,
    text_field: Any = None,
    template: str | None = None,
    txt: Literal["file", "line"] = "file",
    sample: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
    engine: Engine | int | None = None,
    progress: Progress | None = None,
    **field_options: Any,
) -> Inspection:
    """What is in a corpus: files, documents, fields with their types, lengths, bad lines.

    `source`: as the pool of `select`. `text_field`: None takes "text", or the likeliest field
    where there is none of that name. `sample`: look at about so many documents, spread over the
    corpus, instead of all. Raises InputError for what cannot be read.
    """
    text = as_tuple(text_field) or ("text",)
    fields = Fields(text=text, template=template, txt=txt, **field_options)
    corpus = Corpus.open(source, fields=fields, storage_options=storage_options)
    return inspect_corpus(
        corpus,
        text_given=text_field is not None,
        sample=sample,
        engine=_engine(engine),
        progress=progress or Progress(),
    )


def judge(
    selection: Any,
    target: Any = None,
    *,
    pool: Any = None,
    validation: Any = None,
    against: Any = (),
    text_field: Any = None,
    target_text_field: Any = None,
    group_by: Any = None,
    seed: int | None = None,
    holdout: float | None = None,
    max_bad: float = 0.01,
    storage_options: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    engine: Engine | int | None = None,
    progress: Progress | None = None,
    **field_options: Any,
) -> Judgement:
    """Is a selection any good? Measured on its text, without training.

    `selection`: a `Selection`, the folder of a run or of one of its choices, the `data/` that a run
    wrote, or anything that can be a pool. `target`, `validation`: as the target of `select`, one or
    a mapping of names to such. `pool`: what was selected from; needed for a target, and known for
    a selection of ours, as its targets are. `against`: another selection, or a list of them.
    `group_by`: fields to show the composition by. `text_field`, `target_text_field`, `seed`,
    `holdout`: None takes the run's own, or the defaults of `select`, so that the half of a target
    that is measured on is the one that `select` held out. `max_bad`: share of bad lines past which
    it fails. `out`: a folder for `metrics.json` and `report.html`.

    Raises InputError for what cannot be read or is empty, ConfigError for wrong options.
    """
    known = [name for name in _FIELD_OPTIONS if name != "split_words"]
    _check_further(field_options, known)
    folder = None if out is None else Path(out)
    if folder is not None:
        check_folder(folder)
    texts, target_texts = as_tuple(text_field), as_tuple(target_text_field)
    fields = target_fields = None
    if texts or field_options:
        fields = Fields(text=texts or ("text",), **field_options)
    if target_texts or fields is not None:
        target_fields = Fields(text=target_texts or texts or ("text",), **field_options)
    settings = JudgeSettings(
        fields=fields,
        target_fields=target_fields,
        groups=None if group_by is None else as_tuple(group_by),
        seed=seed,
        holdout=holdout,
        max_bad=max_bad,
    )
    found = Judgement(
        judge_selection(
            selection,
            target,
            pool=pool,
            validation=validation,
            against=against,
            settings=settings,
            storage_options=storage_options,
            engine=_engine(engine),
            progress=progress or Progress(),
        )
    )
    if folder is not None:
        found.save(folder)
    return found


def compare(
    plan: str | Path | Mapping[str, Any],
    *,
    out: str | Path | None = None,
    minutes: float | None = None,
    overwrite: bool = False,
    reuse: Sequence[str | Path] = (),
    so_far: bool = False,
    engine: Engine | int | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Compare ways to select: train the same small models on each selection and measure them.

    `plan`: a YAML or JSON file or a mapping, see docs/comparing.md; the plan.json that a comparison
    leaves is one too. `minutes`: fit the plan into that time, and say what was given up.
    `out`: the folder; the same call on it goes on where it stopped, `overwrite` starts afresh.
    `reuse`: folders of other comparisons, whose equal trainings are not done again. `so_far`: train
    nothing, and show what is there. `engine`: the number of worker processes, or an `Engine`; one
    of threads trains in this process. None of these changes a number.

    Raises ConfigError for a plan that is wrong, InputError for data that cannot be read, RunError
    for a folder that holds another plan (with the differences), MissingExtra without the extra lm.
    """
    keep = tempfile.TemporaryDirectory(prefix="dataworth-") if out is None else None
    folder = Path(keep.name) / "comparison" if keep is not None else Path(str(out)).absolute()
    return compare_plan(
        plan,
        folder,
        minutes=minutes,
        overwrite=overwrite,
        reuse=reuse,
        so_far=so_far,
        engine=engine,
        progress=progress,
        keep=keep,
    )


def attribute(
    model: str | Path,
    train: Any,
    queries: Any,
    *,
    solver: str = "ekfac",
    layers: Any = (),
    damping: float = 0.1,
    sample: int = 256,
    steps: int = 20,
    normalise: str = "none",
    top: int = 5,
    text_field: Any = "text",
    query_text_field: Any = None,
    max_bad: float = 0.01,
    seed: int = 0,
    storage_options: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    engine: Engine | int | None = None,
    progress: Progress | None = None,
    **field_options: Any,
) -> Attribution:
    """Which training documents help and which harm a model on some queries, by their gradients.

    `model`: the folder of a causal language model that was trained on the documents, or on ones
    like them: of Hugging Face or of `dataworth.lm`. `train`: as the pool of `select`. `queries`:
    as a target; each document of it is a query.
    A score is the estimated fall of the query's loss, nats a token, from one more copy of the
    document. `solver`: how directions are weighed: identity, diagonal, kfac, ekfac, ekfac_cg or
    dense. `layers`: patterns of the modules that count. `damping`: share of each block's mean
    curvature; `sample`: documents that the curvature is fitted on; `steps`: of ekfac_cg.
    `normalise`: rank by the score of the whole document, or ("length") by its share a token.
    `top`: documents at either end. `out`: a folder for all scores, attribution.json and the page;
    the same call on it goes on where it stopped. `dry_run`: tell time and memory, and do nothing.

    Raises InputError for what cannot be read, ConfigError for wrong options or no model, RunError
    for a folder that holds something else, MissingExtra without the extra lm.
    """
    return run_attribution(
        str(model),
        train,
        queries,
        curvature={
            "solver": solver,
            "damping": damping,
            "sample": sample,
            "steps": steps,
            "seed": seed,
        },
        layers=as_tuple(layers),
        shown={"normalise": normalise, "top": top, "max_bad": max_bad},
        fields=_attribution_fields(text_field, query_text_field, field_options),
        storage_options=storage_options,
        out=out,
        overwrite=overwrite,
        dry_run=dry_run,
        engine=_engine(engine),
        progress=progress or Progress(),
    )


def _attribution_fields(
    text_field: Any, query_text_field: Any, further: Mapping[str, Any]
) -> tuple[Fields, Fields]:
    """How training documents and queries are read."""
    _check_further(further, [name for name in _FIELD_OPTIONS if name != "split_words"])
    text = as_tuple(text_field)
    query = as_tuple(query_text_field) or text
    return Fields(text=text, **further), Fields(text=query, **further)


def read_recipe(file: str | Path) -> Recipe:
    """The options in a recipe, a YAML file, or in the record (`run.json`) of an earlier run."""
    known = {*signature(select).parameters, *_FIELD_OPTIONS, "workers"}
    return read_file(file, known - {"field_options", "progress"})


def run_recipe(file: str | Path, **changes: Any) -> Selection | Scores:
    """Do what a recipe or the record of an earlier run says, but for the `changes`."""
    recipe = read_recipe(file)
    options = {**recipe.options, **changes}
    return select(**options) if recipe.chooses else score(**options)


def explain(
    folder: str | Path,
    document: str,
    *,
    choice: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Explanation:
    """Why a run kept a document or did not. `document`: see `Selection.explain`.

    `choice`: the name of a folder in `selections`, to explain another choice than the run's own.
    """
    scores = load(folder, storage_options=storage_options)
    return scores.choose_settings(recorded_choice(Path(folder), choice)).explain(document)


def _engine(engine: Engine | int | None) -> Engine:
    return engine if isinstance(engine, Engine) else Engine(workers=engine or 0)


def _prepare(
    options: Mapping[str, Any],
) -> tuple[ScoreSettings, tempfile.TemporaryDirectory[str] | None, Path]:
    """(settings, temporary folder if there is no `out`, folder) from a call's options."""
    further = options["field_options"]
    _check_further(further, _FIELD_OPTIONS)
    text = as_tuple(options["text_field"])
    fields = Fields(
        text=text, id=options["id_field"], groups=as_tuple(options["group_by"]), **further
    )
    target_text = as_tuple(options["target_text_field"]) or text
    further = {name: value for name, value in further.items() if name != "split_words"}
    tokenizer = options["tokenizer"]
    sample = options["sample_bytes"]
    settings = ScoreSettings(
        steps=tuple(parse_step(step) for step in as_tuple(options["steps"])),
        fields=fields,
        target_fields=Fields(text=target_text, **further),
        seed=options["seed"],
        holdout=options["holdout"],
        max_bad=options["max_bad"],
        tokenizer=None if tokenizer is None else str(Path(tokenizer).absolute()),
        **({} if sample is None else {"sample_bytes": sample}),
    )
    if options["out"] is not None:
        return settings, None, Path(options["out"]).absolute()
    keep = tempfile.TemporaryDirectory(prefix="dataworth-")
    return settings, keep, Path(keep.name) / "run"


def _check_further(given: Mapping[str, Any], known: Sequence[str]) -> None:
    """That the further options are options of reading."""
    unknown = [name for name in given if name not in known]
    if unknown:
        raise TypeError(f"unknown option {unknown[0]!r}; of reading: {', '.join(known)}")


def _grouped(group_by: Any, quotas: Any) -> tuple[str, ...]:
    """The fields to group by, those of the quotas too."""
    fields = [*as_tuple(group_by), *(quota.field for quota in parse_quotas(quotas))]
    return tuple(dict.fromkeys(fields))


def _choice(options: Mapping[str, Any]) -> tuple[ChoiceSettings, WriteSettings]:
    """How to choose and how to write, from a call's options."""
    mechanism = options["mechanism"]
    choice = ChoiceSettings(
        budget=str(parse_budget(options["budget"])),
        utility=options["utility"],
        scale=options["scale"],
        mechanism=None if mechanism is None else mechanism_text(mechanism),
        proportions=options["proportions"],
        quotas=tuple(str(quota) for quota in parse_quotas(options["quotas"])),
        max_repeat=options["max_repeat"],
        exclude=excluded_paths(options["exclude"]),
        duplicates=options["duplicates"],
        seed=options["seed"],
    )
    write = WriteSettings(options["format"], options["shard_bytes"], options["order"])
    return choice, write


def _open(
    pool: Any,
    target: Any,
    settings: ScoreSettings,
    folder: Path,
    storage_options: Mapping[str, Any] | None,
    overwrite: bool,
    configuration: Mapping[str, Any],
) -> tuple[Corpus, dict[str, Corpus], RunFolder]:
    """Pool, targets and the locked folder of the run."""
    for step in settings.steps:
        if getattr(step, "needs_target", False) and not named(target):
            raise ConfigError(
                f"{step.name} needs a target: give examples of what the model should become good "
                "at (--target NAME=PATH)"
            )
    if overwrite:
        for source in (pool, *named(target).values()):
            _look_first(source, folder, storage_options)
    run = RunFolder.open(folder, configuration, overwrite=overwrite)
    try:
        spool = folder / "spool"
        corpus = Corpus.open(
            pool, fields=settings.fields, spool=spool / "pool", storage_options=storage_options
        )
        targets = open_targets(named(target), settings.target_fields, spool, storage_options)
    except BaseException:
        run.close()
        raise
    return corpus, targets, run


def _look_first(source: Any, folder: Path, storage_options: Mapping[str, Any] | None) -> None:
    """Before a run is removed: that its successor's files are there, and not among its own."""
    paths = source if isinstance(source, list | tuple) else [source]
    if isinstance(source, str) or all(isinstance(path, Path) for path in paths):
        for file in resolve(source, spool=None, storage_options=storage_options):
            if not file.is_url and Path(file.path).is_relative_to(folder):
                raise ConfigError(
                    f"{file.path}: is in the folder that is to be overwritten; choose another one"
                )


def _command() -> str:
    """The command line, if this is one."""
    name = Path(sys.argv[0]).name if sys.argv else ""
    return " ".join([name, *sys.argv[1:]]) if name == "dataworth" else ""


__all__: Sequence[str] = (
    "attribute",
    "compare",
    "explain",
    "finish",
    "inspect",
    "judge",
    "load",
    "plan",
    "read_recipe",
    "run_recipe",
    "score",
    "select",
)
