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

from dataworth.attributing.opening import run_attribution
from dataworth.comparing.comparison import Comparison, compare_plan
from dataworth.corpus.corpus import Corpus
from dataworth.corpus.fields import Fields
from dataworth.engine.files import local_path
from dataworth.engine.local import Engine
from dataworth.engine.progress import Progress
from dataworth.errors import RunError
from dataworth.flow.calls import (
    READING_OPTIONS,
    check_reading,
    chosen_by,
    engine_of,
    fields_beside,
    fields_of_both,
    grouped,
    open_run,
    prepare,
)
from dataworth.flow.inspect import Inspection, inspect_corpus
from dataworth.flow.plan import Plan, make_plan
from dataworth.flow.proxies import Proxies, run_proxies
from dataworth.flow.recipe import Recipe, recorded_choice
from dataworth.flow.recipe import read_recipe as read_file
from dataworth.flow.scores import (
    Scores,
    as_tuple,
    load_scores,
)
from dataworth.flow.scoring import run_scoring
from dataworth.flow.selection import Selection, write_selection
from dataworth.flow.settings import WriteSettings
from dataworth.flow.targets import called, named, open_targets
from dataworth.judging.judgement import Judgement, check_folder, judge_selection
from dataworth.judging.opening import JudgeSettings
from dataworth.methods.registry import DEFAULT
from dataworth.report.model import Explanation
from dataworth.table.run import RunFolder

if TYPE_CHECKING:
    from dataworth.attributing.attribution import Attribution


def score(
    pool: Any,
    target: Any = None,
    *,
    steps: Any = DEFAULT,
    text_field: Any = "text",
    target_text_field: Any = None,
    target_template: str | None = None,
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
    `target_text_field`, `target_template`: those of the targets where they are read in another way
    ("none" for no template).
    `seed`: of the pool's sample and the targets' halves. `holdout`: share of each target that only
    judges. `max_bad`: share of bad lines past which the run fails. `tokenizer`: a tokenizer.json
    to count tokens by; else tokens are bytes / 4.
    `out`: the run's folder; None keeps everything in a temporary folder that goes with the result.
    The same call on the same folder goes on where it stopped; `overwrite` starts afresh.
    `engine`: an `Engine`, or the number of workers; it does not change the result.

    Raises InputError for data that cannot be read, ConfigError for wrong options, RunError for a
    folder that holds another run.
    """
    engine = engine_of(engine)
    progress = progress or Progress()
    settings, keep, folder = prepare(locals())
    corpus, targets, run = open_run(
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
    target_template: str | None = None,
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
    engine = engine_of(engine)
    progress = progress or Progress()
    group_by = grouped(group_by, quotas)
    settings, keep, folder = prepare(locals())
    choice, write = chosen_by(locals())
    configuration = {
        "score": settings.as_dict(),
        "choose": choice.as_dict(),
        "write": write.as_dict(),
    }
    corpus, targets, run = open_run(
        pool, target, settings, folder, storage_options, overwrite, configuration
    )
    with run:
        scored = run_scoring(run, corpus, targets, settings, engine, progress, choice.quotas)
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
            f"{run.folder}: the tokenizer, or what is to be excluded, changed since this run "
            "chose; choose another folder, or start afresh with --overwrite (overwrite=True)"
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
        Path(folder), engine=engine_of(engine), progress=progress, storage_options=storage_options
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
    resolved["group_by"] = grouped(resolved["group_by"], resolved["quotas"])
    settings, _, folder = prepare({**resolved, "out": resolved["out"] or "."})
    configuration = {"score": settings.as_dict()}
    choice = None
    if budget is not None:
        choice, write = chosen_by(resolved)
        configuration |= {"choose": choice.as_dict(), "write": write.as_dict()}
    storage_options = resolved["storage_options"]
    targets = open_targets(named(target), settings.target_fields, None, storage_options)
    corpus = Corpus.open(
        pool,
        fields=settings.fields,
        storage_options=storage_options,
        out=None if resolved["out"] is None else folder,
        others=called(targets),
    )
    return make_plan(
        corpus,
        targets,
        settings,
        choice,
        configuration,
        folder=None if resolved["out"] is None else folder,
        overwrite=resolved["overwrite"],
        engine=engine_of(resolved["engine"]),
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
        engine=engine_of(engine),
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
    target_template: str | None = None,
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
    `group_by`: fields to show the composition by. `text_field`, `target_text_field`,
    `target_template`, `seed`, `holdout`: None takes the run's own, or the defaults of `select`, so
    that the half of a target that is measured on is the one that `select` held out. `max_bad`:
    share of bad lines past which it fails. `out`: a folder for `metrics.json` and `report.html`.

    Raises InputError for what cannot be read or is empty, ConfigError for wrong options.
    """
    check_reading(field_options, pieces=False)
    folder = None if out is None else local_path(out)
    if folder is not None:
        check_folder(folder)
    texts, target_texts = as_tuple(text_field), as_tuple(target_text_field)
    fields = target_fields = None
    if texts or field_options:
        fields = Fields(text=texts or ("text",), **field_options)
    if target_texts or target_template is not None or fields is not None:
        text = texts or ("text",)
        target_fields = fields_beside(text, target_texts, field_options, target_template)
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
            engine=engine_of(engine),
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
    device: str = "auto",
    engine: Engine | int | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Compare ways to select: train the same small models on each selection and measure them.

    `plan`: a YAML or JSON file or a mapping, see docs/comparing.md; the plan.json that a comparison
    leaves is one too. `minutes`: fit the plan into that time, and say what was given up.
    `out`: the folder; the same call on it goes on where it stopped, `overwrite` starts afresh.
    `reuse`: folders of other comparisons, whose equal scores and trainings are taken over.
    `so_far`: train nothing, and show what is there. `engine`: the number of worker processes, or an
    `Engine`; one of threads trains in this process. None of these changes a number. `device`: where
    models are trained: auto (CUDA if there, else the CPU), cpu, cuda, cuda:1 or mps.

    Raises ConfigError for a plan that is wrong, InputError for data that cannot be read, RunError
    for a folder that holds another plan (with the differences), MissingExtra without the extra lm.
    """
    keep = tempfile.TemporaryDirectory(prefix="dataworth-") if out is None else None
    folder = Path(keep.name) / "comparison" if keep is not None else local_path(str(out)).absolute()
    return compare_plan(
        plan,
        folder,
        minutes=minutes,
        overwrite=overwrite,
        reuse=reuse,
        so_far=so_far,
        device=device,
        engine=engine,
        progress=progress,
        keep=keep,
    )


def proxy(
    pool: Any,
    *,
    size: str = "tiny",
    tokens: str | int = "1M",
    seeds: int = 1,
    checkpoints: int = 1,
    vocabulary: int = 4096,
    tokenizer: str | Path | None = None,
    text_field: Any = "text",
    max_bad: float = 0.01,
    seed: int = 0,
    storage_options: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    device: str = "auto",
    engine: Engine | int | None = None,
    progress: Progress | None = None,
    **field_options: Any,
) -> Proxies:
    """Train small models on random documents of a pool: for methods and `attribute` to ask.

    `size`: tiny, small or medium (docs/lm.md). `tokens`: trained on ("1M"). `seeds`: so many
    models, each with its own first weights and its own part of the documents, from `seed` on.
    `checkpoints`: so many of each, evenly spaced, the last the end. `tokenizer`: a tokenizer.json,
    None trains one of `vocabulary` tokens on the pool's sample. Reading as in `score`.
    `out`: the folder of the models; the same call on it goes on where it stopped, and one with more
    `seeds` adds them. None keeps them in a temporary folder that goes with the result. `device`:
    where models are trained: auto (CUDA if there, else the CPU), cpu, cuda, cuda:1 or mps.

    Raises InputError for what cannot be read, ConfigError for wrong options, RunError for a folder
    that holds other models, MissingExtra without the extra lm.
    """
    return run_proxies(
        pool,
        {
            "size": size,
            "tokens": tokens,
            "seeds": seeds,
            "checkpoints": checkpoints,
            "vocabulary": vocabulary,
            "tokenizer": "" if tokenizer is None else str(Path(tokenizer).absolute()),
            "seed": seed,
            "max_bad": max_bad,
        },
        fields=fields_of_both(text_field, None, field_options)[0],
        storage_options=storage_options,
        out=out,
        overwrite=overwrite,
        device=device,
        engine=engine_of(engine),
        progress=progress or Progress(),
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
    factor_width: int = 2048,
    context: int = 0,
    windows: int = 0,
    batch_tokens: int = 0,
    device: str = "auto",
    dtype: str = "float32",
    chats: str = "model",
    normalise: str = "none",
    top: int = 5,
    trained: str | int | None = None,
    check: bool = False,
    text_field: Any = "text",
    query_text_field: Any = None,
    query_template: str | None = None,
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
    like them: of Hugging Face or of `dataworth.lm`; or a size (tiny, small, medium), and then one
    is trained on `trained` tokens (1M) of the documents first, as `proxy` does. `train`: as the
    pool of `select`. `queries`: as a target, each document of it a query; a list of texts is taken
    as it is, files are read with `query_text_field` and `query_template` ("none" for none), or as
    the documents.
    A score is the estimated fall of the query's loss, nats a token, from one more copy of the
    document. `solver`: how directions are weighed: identity, cosine, diagonal, adam, kfac, ekfac,
    ekfac_cg, adam_cg, lissa or dense (docs/attributing.md says what each does). `check`: tell how
    near the solver comes to the exact answer on a tiny model. `layers`: patterns of the
    modules that count. `damping`: share of each block's mean curvature; `sample`: documents that
    the curvature is fitted on; `steps`: of conjugate gradients; lissa takes ten times as many.
    `factor_width`: of a layer's side whose factor kfac and ekfac take whole; wider ones go in
    blocks. `context`: tokens that the model sees at once (0: as many as it was made for, 2,048 at
    most); `windows`: of that size that count of a document (0: all); `batch_tokens`: positions that
    run at once (0: as suits the model); `device`, `dtype`: where (auto: CUDA if there, else the
    CPU) and in which numbers the model runs. `chats`: "model" reads chats by the model's own chat
    template, "text" as `template` says.
    `normalise`: rank by the score of the whole document, or ("length") by its share a token.
    `top`: documents at either end. `out`: a folder for all scores, attribution.json and the page;
    the same call on it goes on where it stopped. `dry_run`: tell time and memory, and do nothing.

    Raises InputError for what cannot be read, ConfigError for wrong options or no model, RunError
    for a folder that holds something else, MissingExtra without the extra lm.
    """
    return run_attribution(
        model,
        train,
        queries,
        curvature={
            "solver": solver,
            "damping": damping,
            "sample": sample,
            "steps": steps,
            "seed": seed,
            "factor_width": factor_width,
        },
        reading={
            "layers": as_tuple(layers),
            "context": context,
            "windows": windows,
            "batch_tokens": batch_tokens,
            "chats": chats,
            "device": device,
            "dtype": dtype,
        },
        shown={"normalise": normalise, "top": top, "max_bad": max_bad},
        trained=trained,
        fields=fields_of_both(text_field, query_text_field, field_options, query_template),
        storage_options=storage_options,
        out=out,
        overwrite=overwrite,
        dry_run=dry_run,
        check=check,
        engine=engine_of(engine),
        progress=progress or Progress(),
    )


def read_recipe(file: str | Path) -> Recipe:
    """The options in a recipe, a YAML file, or in the record (`run.json`) of an earlier run."""
    known = {*signature(select).parameters, *READING_OPTIONS, "workers"}
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
    chosen = recorded_choice(Path(folder), choice)
    scores = load_scores(Path(folder), storage_options=storage_options, steps=chosen.steps)
    return scores.choose_settings(chosen.settings).explain(document)


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
    "proxy",
    "read_recipe",
    "run_recipe",
    "score",
    "select",
)
