"""The public functions: `select`, `score`, `load` and those around them. The flow, top to bottom.

pool ──▶ survey ──▶ fit steps ──▶ score every document ──▶ choose ──▶ write and report
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
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
from dataworth.errors import ConfigError, RunError
from dataworth.flow.amounts import parse_size
from dataworth.flow.calls import (
    check_target,
    engine_of,
    fields_beside,
    folder_of,
    grouped,
    open_run,
    score_settings,
)
from dataworth.flow.inspect import Inspection, inspect_corpus
from dataworth.flow.loop import LoopSettings, run_loop
from dataworth.flow.plan import Plan, make_plan
from dataworth.flow.presets import read_preset
from dataworth.flow.proxies import Proxies, run_proxies, tokens_of
from dataworth.flow.recipe import Recipe, recorded_choice
from dataworth.flow.recipe import read_recipe as read_file
from dataworth.flow.rounds import (
    budgets_of,
    check_rounds,
    check_trainer,
    filled,
    steps_of_rounds,
    trainer_of,
)
from dataworth.flow.scores import (
    Scores,
    as_tuple,
    choice_settings,
    load_scores,
)
from dataworth.flow.scoring import run_scoring
from dataworth.flow.selection import Selection, write_selection
from dataworth.flow.settings import WriteSettings
from dataworth.flow.swarm import Swarm, SwarmSettings, run_swarm
from dataworth.flow.targets import called, named, open_targets
from dataworth.judging.judgement import Judgement, check_folder, judge_selection
from dataworth.judging.opening import JudgeSettings
from dataworth.methods.registry import DEFAULT
from dataworth.options import public
from dataworth.results.selection import Explanation
from dataworth.table.run import RunFolder

if TYPE_CHECKING:
    from dataworth.attributing.attribution import Attribution


@public
def score(
    pool: Any,
    target: Any = None,
    *,
    steps: Any = DEFAULT,
    text_field: Any = "text",
    join: str = Fields.join,
    template: str | None = None,
    split_words: int | None = None,
    txt: Literal["file", "line"] = "file",
    max_line_bytes: int = Fields.max_line_bytes,
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
) -> Scores:
    """Score every document of a pool.

    `pool`: a path, glob, folder or URL, a list of these, a HF data set, or any iterable of strings
    or dictionaries. `target`: the same, or a mapping of names to such. `steps`: filters and
    methods in order, as text (`"dsir(ngrams=3)"`) or objects.
    `text_field`, `id_field`, `group_by`: fields of the rows, dotted paths; several text fields are
    joined with `join`. `template`: how chats become text. `split_words`: pieces of so many words
    are the documents. `txt`: a .txt file is one document, or each "line". `max_line_bytes`: longer
    lines are bad lines.
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
    fields = Fields(
        as_tuple(text_field),
        join,
        id_field,
        as_tuple(group_by),
        template,
        split_words,
        txt,
        max_line_bytes,
    )
    settings = score_settings(
        steps,
        fields,
        fields_beside(fields, target_text_field, target_template),
        seed=seed,
        holdout=holdout,
        sample_bytes=sample_bytes,
        max_bad=max_bad,
        tokenizer=tokenizer,
    )
    keep, folder = folder_of(out)
    corpus, targets, run = open_run(
        pool, target, settings, folder, storage_options, overwrite, {"score": settings.as_dict()}
    )
    with run:
        scored = run_scoring(run, corpus, targets, settings, engine, progress)
    return Scores(folder, scored, settings, engine=engine, progress=progress, keep=keep)


@public
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
    mixture: Any = None,
    max_repeat: int = 1,
    exclude: Any = (),
    duplicates: str = "drop",
    format: str | None = None,
    shard_bytes: int = 256_000_000,
    order: str = "shuffled",
    text_field: Any = "text",
    join: str = Fields.join,
    template: str | None = None,
    split_words: int | None = None,
    txt: Literal["file", "line"] = "file",
    max_line_bytes: int = Fields.max_line_bytes,
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
) -> Selection:
    """Select the documents of a pool to train on.

    Scoring as in `score`. `budget`: tokens ("10B"), documents ("100k-docs"), a share of the
    eligible tokens ("10%") or bytes ("5GB"). `mechanism`: how an order comes from the utility, such
    as "top_k" or "gumbel_top_k(temperature=0.1)"; None takes the method's own. `utility`:
    utilities combined, "0.7*dsir + 0.3*dsir_2" or "max(a, b)", on the `scale` "raw", "rank",
    "bucket" (of 20) or "z". `proportions`: shares
    of several targets. `quotas`: caps by field ("domain=web:30%"). `mixture`: each group's share: a
    file or mapping of groups to shares, or a name ("temperature(alpha=0.3)"). `max_repeat`: copies
    of a document, if the budget is larger than the pool. `exclude`: runs or datasets that were
    trained on before. `duplicates`: "drop" exact copies or "keep" them.
    With `out`, the rows are written as shards (`format`, `shard_bytes`, `order`) beside a report.

    Raises what `score` raises.
    """
    engine = engine_of(engine)
    progress = progress or Progress()
    fields = Fields(
        as_tuple(text_field),
        join,
        id_field,
        grouped(group_by, quotas, mixture),
        template,
        split_words,
        txt,
        max_line_bytes,
    )
    settings = score_settings(
        steps,
        fields,
        fields_beside(fields, target_text_field, target_template),
        seed=seed,
        holdout=holdout,
        sample_bytes=sample_bytes,
        max_bad=max_bad,
        tokenizer=tokenizer,
    )
    choice = choice_settings(
        budget=budget,
        utility=utility,
        scale=scale,
        mechanism=mechanism,
        proportions=proportions,
        quotas=quotas,
        mixture=mixture,
        max_repeat=max_repeat,
        exclude=exclude,
        duplicates=duplicates,
        seed=seed,
    )
    write = WriteSettings(format, shard_bytes, order)
    keep, folder = folder_of(out)
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


@public
def loop(
    pool: Any,
    target: Any = None,
    *,
    rounds: int,
    train: Any = "small",
    steps: Any = DEFAULT,
    budget: Any = "10%",
    mechanism: Any = None,
    utility: str | None = None,
    scale: str = "raw",
    proportions: Mapping[str, float] | None = None,
    quotas: Any = None,
    mixture: Any = None,
    max_repeat: int = 1,
    exclude: Any = (),
    duplicates: str = "drop",
    start: str | Path | None = None,
    text_field: Any = "text",
    target_text_field: Any = None,
    target_template: str | None = None,
    join: str = "\n\n",
    template: str | None = None,
    split_words: int | None = None,
    txt: Literal["file", "line"] = "file",
    max_line_bytes: int = 128 * 2**20,
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
) -> list[Selection]:
    """Select, train, and score again with what was trained: `rounds` times.

    Each round chooses its budget among the documents that no round before it trained on. All rounds
    share the table in `out`; `rounds/1`, `rounds/2` … hold each one's record and checkpoint. The
    same call on the same folder goes on where it stopped; one with more `rounds` adds them.

    Other options are those of `select`. Round n draws with the seed `seed` + n - 1.

    Parameters
    ----------
    rounds : how many.
    train : a function `(selection, previous, round, folder)` that returns the folder of the
        checkpoint it wrote, or its name as "module:function". `previous` is the checkpoint of the
        round before, or None; `folder` is where to write, and may hold what a stopped call left.
        Or the house's own small models: "small(size=tiny, epochs=1)".
    steps : one list for all rounds, or a list of lists, the last one for all rounds after it. In
        options such as `model`, "{checkpoint}" stands for the model of the round before.
    budget : of each round, or a list of one a round; shares are of what is left.
    start : the folder of a model that round 1 goes on with.

    Raises
    ------
    ConfigError, InputError
        As `select`; also for "{checkpoint}" in round 1 without `start`, and for a missing `out`.
    RunError
        For a folder that holds another loop, a pool of which nothing is left, and a trainer that
        fails or leaves no checkpoint.
    """
    if out is None:
        raise ConfigError("a loop needs a folder for its rounds: give one (--out, out=FOLDER)")
    if isinstance(rounds, bool) or not isinstance(rounds, int) or rounds < 1:
        raise ConfigError(f"rounds is a whole number of at least 1, not {rounds!r}")
    trainer, name = trainer_of(train)
    check_trainer(trainer)
    first = None if start is None else Path(start).absolute()
    if first is not None and not first.is_dir():
        raise ConfigError(f"start: {first} is no folder of a model")
    lists = steps_of_rounds(steps, rounds)
    check_target([step for one in lists for step in one], target)
    check_rounds(lists, first)
    fields = Fields(
        as_tuple(text_field),
        join,
        id_field,
        grouped(group_by, quotas, mixture),
        template,
        split_words,
        txt,
        max_line_bytes,
    )
    settings = score_settings(
        (),
        fields,
        fields_beside(fields, target_text_field, target_template),
        seed=seed,
        holdout=holdout,
        sample_bytes=sample_bytes,
        max_bad=max_bad,
        tokenizer=tokenizer,
    )
    _, folder = folder_of(out)
    choices = tuple(
        choice_settings(
            budget=one,
            utility=utility,
            scale=scale,
            mechanism=mechanism,
            proportions=proportions,
            quotas=quotas,
            mixture=mixture,
            max_repeat=max_repeat,
            exclude=exclude,
            duplicates=duplicates,
            seed=seed + number,
        )
        for number, one in enumerate(budgets_of(budget, rounds))
    )
    engine = engine_of(engine)
    progress = progress or Progress()
    steps_first = tuple(filled(step, str(first)) for step in lists[0])
    configuration = {"score": replace(settings, steps=steps_first).as_dict()}
    corpus, targets, run = open_run(
        pool, target, settings, folder, storage_options, overwrite, configuration
    )
    with run:
        loop_settings = LoopSettings(tuple(lists), settings, choices, trainer, name, first)
        return run_loop(run, corpus, targets, loop_settings, engine, progress)


@public
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


@public
def plan(
    pool: Any,
    target: Any = None,
    budget: str | int | None = "10%",
    *,
    steps: Any = DEFAULT,
    mechanism: Any = None,
    utility: str | None = None,
    scale: str = "raw",
    proportions: Mapping[str, float] | None = None,
    quotas: Any = None,
    mixture: Any = None,
    max_repeat: int = 1,
    exclude: Any = (),
    duplicates: str = "drop",
    format: str | None = None,
    shard_bytes: int = 256_000_000,
    order: str = "shuffled",
    text_field: Any = "text",
    join: str = Fields.join,
    template: str | None = None,
    split_words: int | None = None,
    txt: Literal["file", "line"] = "file",
    max_line_bytes: int = Fields.max_line_bytes,
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
) -> Plan:
    """What `select` (or `score`, for the budget None) would read and need with these options.

    Reads a small part of the pool and all of the targets; writes nothing into `out`. Raises what
    `select` raises at its start.
    """
    fields = Fields(
        as_tuple(text_field),
        join,
        id_field,
        grouped(group_by, quotas, mixture),
        template,
        split_words,
        txt,
        max_line_bytes,
    )
    settings = score_settings(
        steps,
        fields,
        fields_beside(fields, target_text_field, target_template),
        seed=seed,
        holdout=holdout,
        sample_bytes=sample_bytes,
        max_bad=max_bad,
        tokenizer=tokenizer,
    )
    configuration = {"score": settings.as_dict()}
    choice = None
    if budget is not None:
        choice = choice_settings(
            budget=budget,
            utility=utility,
            scale=scale,
            mechanism=mechanism,
            proportions=proportions,
            quotas=quotas,
            mixture=mixture,
            max_repeat=max_repeat,
            exclude=exclude,
            duplicates=duplicates,
            seed=seed,
        )
        write = WriteSettings(format, shard_bytes, order)
        configuration |= {"choose": choice.as_dict(), "write": write.as_dict()}
    folder = None if out is None else folder_of(out)[1]
    targets = open_targets(named(target), settings.target_fields, None, storage_options)
    corpus = Corpus.open(
        pool,
        fields=fields,
        storage_options=storage_options,
        out=folder,
        others=called(targets),
    )
    return make_plan(
        corpus,
        targets,
        settings,
        choice,
        configuration,
        folder=folder,
        overwrite=overwrite,
        engine=engine_of(engine),
    )


@public
def inspect(
    source: Any,
    *,
    text_field: Any = None,
    join: str = Fields.join,
    template: str | None = None,
    txt: Literal["file", "line"] = "file",
    max_line_bytes: int = Fields.max_line_bytes,
    sample: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
    engine: Engine | int | None = None,
    progress: Progress | None = None,
) -> Inspection:
    """What is in a corpus: files, documents, fields with their types, lengths, bad lines.

    `source`: as the pool of `select`. `text_field`: None takes "text", or the likeliest field
    where there is none of that name. `sample`: look at about so many documents, spread over the
    corpus, instead of all. Raises InputError for what cannot be read.
    """
    text = as_tuple(text_field) or ("text",)
    fields = Fields(text=text, join=join, template=template, txt=txt, max_line_bytes=max_line_bytes)
    corpus = Corpus.open(source, fields=fields, storage_options=storage_options)
    return inspect_corpus(
        corpus,
        text_given=text_field is not None,
        sample=sample,
        engine=engine_of(engine),
        progress=progress or Progress(),
    )


@public
def judge(
    selection: Any,
    target: Any = None,
    *,
    pool: Any = None,
    validation: Any = None,
    against: Any = (),
    text_field: Any = None,
    join: str | None = None,
    template: str | None = None,
    txt: Literal["file", "line"] | None = None,
    max_line_bytes: int | None = None,
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
    folder = None if out is None else local_path(out)
    if folder is not None:
        check_folder(folder)
    reading = {"join": join, "template": template, "txt": txt, "max_line_bytes": max_line_bytes}
    reading = {name: value for name, value in reading.items() if value is not None}
    texts, fields, target_fields = as_tuple(text_field), None, None
    if texts or reading:
        fields = Fields(text=texts or ("text",), **reading)  # type: ignore[arg-type]
    if as_tuple(target_text_field) or target_template is not None or fields is not None:
        target_fields = fields_beside(fields or Fields(), target_text_field, target_template)
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


@public
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


@public
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
    join: str = Fields.join,
    template: str | None = None,
    txt: Literal["file", "line"] = "file",
    max_line_bytes: int = Fields.max_line_bytes,
    max_bad: float = 0.01,
    seed: int = 0,
    storage_options: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    device: str = "auto",
    engine: Engine | int | None = None,
    progress: Progress | None = None,
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
    fields = Fields(
        as_tuple(text_field), join, template=template, txt=txt, max_line_bytes=max_line_bytes
    )
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
        fields=fields,
        storage_options=storage_options,
        out=out,
        overwrite=overwrite,
        device=device,
        engine=engine_of(engine),
        progress=progress or Progress(),
    )


@public
def swarm(
    pool: Any,
    target: Any = None,
    *,
    group_by: str,
    mixtures: int = 128,
    tokens: str | int = "500k",
    size: str = "tiny",
    budget: str | int | None = None,
    epochs: float = 15.0,
    held_out: str | int = "100kB",
    vocabulary: int = 4096,
    tokenizer: str | Path | None = None,
    text_field: Any = "text",
    join: str = Fields.join,
    template: str | None = None,
    txt: Literal["file", "line"] = "file",
    max_line_bytes: int = Fields.max_line_bytes,
    target_text_field: Any = None,
    target_template: str | None = None,
    max_bad: float = 0.01,
    holdout: float = 0.5,
    seed: int = 0,
    storage_options: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    device: str = "auto",
    engine: Engine | int | None = None,
    progress: Progress | None = None,
) -> Swarm:
    """Train small models on many mixtures of a pool's groups: for mixtures that are learned.

    The mixtures are drawn around the groups' natural shares as in RegMix (Liu et al. 2024,
    "RegMix", section 3.1). Each model is measured on held-out text of every group, and on the
    targets, nats per token. The trainings know no target: the same call with another `target`
    measures the models that are there.

    `group_by`: the field whose values are the groups. `mixtures`: how many models, four or more;
    a later call may ask for more. `tokens`: of each training. `size`: tiny, small or medium
    (docs/lm.md). `budget`: tokens of the run that the mixture is for ("100M"), None: all of the
    pool. `epochs`: most passes of that run over a group; a mixture that needs more is not drawn. A
    training reads of each group the share tokens / budget, so that it repeats it as often as that
    run would. `held_out`: bytes of text of each group and target that losses are measured on.
    `holdout`: share of each target that is left for `judge`. Reading as in `score`, `tokenizer` and
    `device` as in `proxy`.
    `out`: the folder; the same call on it trains what is not there yet. None keeps it in a
    temporary folder that goes with the result. `dry_run`: read the pool, train a few steps, and
    tell how many models and `seconds` are left (`facts`). `engine`: the number of processes that
    train, or an `Engine`; None trains one model after another in this process.

    Raises InputError for what cannot be read and groups with too little text, ConfigError for
    wrong options and caps that leave no mixture, RunError for a folder that holds another swarm,
    MissingExtra without the extra lm.
    """
    fields = Fields(
        as_tuple(text_field),
        join,
        template=template,
        txt=txt,
        max_line_bytes=max_line_bytes,
        groups=(group_by,),
    )
    settings = SwarmSettings(
        field=group_by,
        mixtures=mixtures,
        tokens=tokens_of(tokens),
        size=size,
        budget=0 if budget is None else tokens_of(budget),
        epochs=epochs,
        held_out=parse_size(held_out),
        vocabulary=vocabulary,
        tokenizer="" if tokenizer is None else str(Path(tokenizer).absolute()),
        seed=seed,
        max_bad=max_bad,
        holdout=holdout,
    )
    if engine is None or engine == 1:
        engine = Engine(1, "threads")
    return run_swarm(
        pool,
        settings,
        target,
        fields=fields,
        target_fields=fields_beside(fields, target_text_field, target_template),
        storage_options=storage_options,
        out=out,
        overwrite=overwrite,
        dry_run=dry_run,
        device=device,
        engine=engine if isinstance(engine, Engine) else Engine(engine, "processes"),
        progress=progress or Progress(),
    )


@public
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
    join: str = Fields.join,
    template: str | None = None,
    txt: Literal["file", "line"] = "file",
    max_line_bytes: int = Fields.max_line_bytes,
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
    fields = Fields(
        as_tuple(text_field), join, template=template, txt=txt, max_line_bytes=max_line_bytes
    )
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
        fields=(fields, fields_beside(fields, query_text_field, query_template)),
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
    known = {*signature(select).parameters, "workers"}
    return read_file(file, known - {"progress"})


def preset(name: str | Path) -> dict[str, Any]:
    """Return the options of a recipe that comes with the package, or of a file without a pool.

    `dataworth.select(pool, **dataworth.preset("gopher"))`. Raises ConfigError for another name.
    """
    return read_preset(name, {*signature(select).parameters, "workers"} - {"progress"})


def run_recipe(file: str | Path, **changes: Any) -> Selection | Scores:
    """Do what a recipe or the record of an earlier run says, but for the `changes`."""
    recipe = read_recipe(file)
    options = {**recipe.options, **changes}
    return select(**options) if recipe.chooses else score(**options)


@public
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
    "loop",
    "plan",
    "proxy",
    "read_recipe",
    "run_recipe",
    "score",
    "select",
    "swarm",
)
