"""The public functions: their signatures, written out, and what they do for whom.

Each hands its arguments, as the dataclass of its options, to the function that its line names; what
they mean in detail is said there, in `options/calls.py`, and by `dataworth COMMAND --help`.
"""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataworth.options import calls, public
from dataworth.options.calls import Chats, Dtype, Duplicates, Format, Order, Per, Scale, Solver, Txt

if TYPE_CHECKING:
    from dataworth.attributing.attribution import Attribution
    from dataworth.comparing.comparison import Comparison
    from dataworth.engine.local import Engine
    from dataworth.engine.progress import Progress
    from dataworth.flow.inspect import Inspection
    from dataworth.flow.plan import Plan
    from dataworth.flow.proxies import Proxies
    from dataworth.flow.recipe import Recipe
    from dataworth.flow.scores import Scores
    from dataworth.flow.selection import Selection
    from dataworth.flow.swarm import Swarm
    from dataworth.judging.judgement import Judgement
    from dataworth.results.selection import Explanation


@public(calls.ScoreOptions, "dataworth.flow.calls:run_score")
def score(
    pool: Any,
    target: Any = None,
    *,
    steps: Any = None,
    text_field: Any = "text",
    join: str = "\n\n",
    template: str | None = None,
    split_words: int | None = None,
    txt: Txt = "file",
    max_line_bytes: int = 128 * 2**20,
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

    `pool`: a path, glob, folder or URL, a list of these, a HF dataset, or any iterable of strings
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


@public(calls.SelectOptions, "dataworth.flow.calls:run_select")
def select(
    pool: Any,
    target: Any = None,
    budget: str | int = "10%",
    *,
    steps: Any = None,
    mechanism: Any = None,
    utility: str | None = None,
    scale: Scale = "raw",
    proportions: Mapping[str, float] | None = None,
    quotas: Any = None,
    mixture: Any = None,
    max_repeat: int = 1,
    exclude: Any = (),
    duplicates: Duplicates = "drop",
    format: Format | None = None,
    shard_bytes: int = 256_000_000,
    order: Order = "shuffled",
    text_field: Any = "text",
    join: str = "\n\n",
    template: str | None = None,
    split_words: int | None = None,
    txt: Txt = "file",
    max_line_bytes: int = 128 * 2**20,
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


@public(calls.LoopOptions, "dataworth.flow.calls:run_rounds")
def loop(
    pool: Any,
    target: Any = None,
    *,
    rounds: int,
    train: Any = "small",
    steps: Any = None,
    budget: Any = "10%",
    mechanism: Any = None,
    utility: str | None = None,
    scale: Scale = "raw",
    proportions: Mapping[str, float] | None = None,
    quotas: Any = None,
    mixture: Any = None,
    max_repeat: int = 1,
    exclude: Any = (),
    duplicates: Duplicates = "drop",
    start: str | Path | None = None,
    text_field: Any = "text",
    target_text_field: Any = None,
    target_template: str | None = None,
    join: str = "\n\n",
    template: str | None = None,
    split_words: int | None = None,
    txt: Txt = "file",
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


@public(calls.LoadOptions, "dataworth.flow.calls:run_load")
def load(
    folder: str | Path,
    *,
    storage_options: Mapping[str, Any] | None = None,
    engine: Engine | int | None = None,
    progress: Progress | None = None,
) -> Scores:
    """A finished run: choose from it again, explain its documents, use its fitted steps."""


@public(calls.PlanOptions, "dataworth.flow.calls:run_plan")
def plan(
    pool: Any,
    target: Any = None,
    budget: str | int | None = "10%",
    *,
    steps: Any = None,
    mechanism: Any = None,
    utility: str | None = None,
    scale: Scale = "raw",
    proportions: Mapping[str, float] | None = None,
    quotas: Any = None,
    mixture: Any = None,
    max_repeat: int = 1,
    exclude: Any = (),
    duplicates: Duplicates = "drop",
    format: Format | None = None,
    shard_bytes: int = 256_000_000,
    order: Order = "shuffled",
    text_field: Any = "text",
    join: str = "\n\n",
    template: str | None = None,
    split_words: int | None = None,
    txt: Txt = "file",
    max_line_bytes: int = 128 * 2**20,
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
    """Estimate what `select` (or `score`, for the budget None) would read and need.

    Reads a small part of the pool and all of the targets; writes nothing into `out`. Raises what
    `select` raises at its start.
    """


@public(calls.InspectOptions, "dataworth.flow.calls:run_inspect")
def inspect(
    source: Any,
    *,
    text_field: Any = None,
    join: str = "\n\n",
    template: str | None = None,
    txt: Txt = "file",
    max_line_bytes: int = 128 * 2**20,
    sample: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
    engine: Engine | int | None = None,
    progress: Progress | None = None,
) -> Inspection:
    """Summarize a corpus: files, documents, fields with their types, lengths, bad lines.

    `source`: as the pool of `select`. `text_field`: None takes "text", or the likeliest field
    where there is none of that name. `sample`: look at about so many documents, spread over the
    corpus, instead of all. Raises InputError for what cannot be read.
    """


@public(calls.JudgeOptions, "dataworth.judging.judgement:run_judge")
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
    txt: Txt | None = None,
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


@public(calls.CompareOptions, "dataworth.comparing.comparison:run_compare")
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


@public(calls.ProxyOptions, "dataworth.flow.proxies:run_proxies")
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
    join: str = "\n\n",
    template: str | None = None,
    txt: Txt = "file",
    max_line_bytes: int = 128 * 2**20,
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


@public(calls.SwarmOptions, "dataworth.flow.swarm:run_swarm")
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
    join: str = "\n\n",
    template: str | None = None,
    txt: Txt = "file",
    max_line_bytes: int = 128 * 2**20,
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
    a later call may ask for more; 0 prepares the text alone, for mixtures that train themselves.
    `tokens`: of each training. `size`: tiny, small or medium (docs/lm.md). `budget`: tokens of the
    run that the mixture is for ("100M"), None: all of the pool. `epochs`: most passes of that run
    over a group; a mixture that needs more is not drawn. A
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


@public(calls.AttributeOptions, "dataworth.attributing.opening:run_attribution")
def attribute(
    model: str | Path,
    train: Any,
    queries: Any,
    *,
    solver: Solver = "ekfac",
    layers: Any = (),
    damping: float = 0.1,
    sample: int = 256,
    steps: int = 20,
    factor_width: int = 2048,
    context: int = 0,
    windows: int = 0,
    batch_tokens: int = 0,
    device: str = "auto",
    dtype: Dtype = "float32",
    chats: Chats = "model",
    per: Per = "document",
    top: int = 5,
    trained: str | int | None = None,
    check: bool = False,
    text_field: Any = "text",
    join: str = "\n\n",
    template: str | None = None,
    txt: Txt = "file",
    max_line_bytes: int = 128 * 2**20,
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
    """Score training documents by how much they help or harm a model on some queries.

    `model`: the folder of a causal language model that was trained on the documents, or on ones
    like them: of Hugging Face or of `dataworth.lm`; or a size (tiny, small, medium), and then one
    is trained on `trained` tokens (1M) of the documents first, as `proxy` does. `train`: as the
    pool of `select`. `queries`: as a target, each document of it a query; a list of texts is taken
    as it is, files are read with `query_text_field` and `query_template` ("none" for none), or as
    the documents.
    A score is the estimated fall of the query's loss, in nats per token, from one more copy of the
    document, computed from gradients. `solver`: the preconditioner of gradients: identity, cosine,
    diagonal, adam, kfac, ekfac, ekfac_cg, adam_cg, lissa or dense (see docs/attributing.md).
    `check`: tell how near the solver comes to the exact answer on a tiny model. `layers`: patterns
    of the modules that count. `damping`: share of each block's mean curvature; `sample`: documents
    that the curvature is fitted on; `steps`: of conjugate gradients; lissa takes ten times as many.
    `factor_width`: of a layer's side whose factor kfac and ekfac take whole; wider ones go in
    blocks. `context`: tokens that the model sees at once (0: as many as it was made for, 2,048 at
    most); `windows`: of that size that count of a document (0: all); `batch_tokens`: positions that
    run at once (0: as suits the model); `device`, `dtype`: where (auto: CUDA if there, else the
    CPU) and in which numbers the model runs. `chats`: "model" reads chats by the model's own chat
    template, "text" as `template` says.
    `per`: rank by the score of the whole "document", or by its share of a "token".
    `top`: documents at either end. `out`: a folder for all scores, attribution.json and the page;
    the same call on it goes on where it stopped. `dry_run`: tell time and memory, and do nothing.

    Raises InputError for what cannot be read, ConfigError for wrong options or no model, RunError
    for a folder that holds something else, MissingExtra without the extra lm.
    """


@public(calls.ExplainOptions, "dataworth.flow.calls:run_explain")
def explain(
    folder: str | Path,
    document: str,
    *,
    choice: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Explanation:
    """Explain why a run kept or dropped a document. `document`: see `Selection.explain`.

    `choice`: the name of a folder in `selections`, to explain another choice than the run's own.
    """


def read_recipe(file: str | Path) -> Recipe:
    """Return the options of a recipe, a YAML file, or of an earlier run's record (`run.json`)."""
    from dataworth.flow import recipe

    return recipe.read_recipe(file)


def preset(name: str | Path) -> dict[str, Any]:
    """Return the options of a recipe that comes with the package, or of a file without a pool.

    `dataworth.select(pool, **dataworth.preset("gopher"))`. Raises ConfigError for another name.
    """
    from dataworth.flow.presets import read_preset

    return read_preset(name)


def run_recipe(file: str | Path, **changes: Any) -> Selection | Scores:
    """Do what a recipe or the record of an earlier run says, but for the `changes`."""
    recipe = read_recipe(file)
    options = {**recipe.options, **changes}
    return select(**options) if recipe.chooses else score(**options)
