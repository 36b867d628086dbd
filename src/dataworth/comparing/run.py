"""A comparison from its plan to its facts: the flow, top to bottom.

plan ──▶ score the pool once ──▶ choose ──▶ bank of texts and tokens ──▶ train each different
selection ──▶ leaderboards, laws, predictions ──▶ comparison.json and the page
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from dataworth.comparing import cheap, findings, results, weightings
from dataworth.comparing.bank import TextBank, TokenBank, build_texts, build_tokens, union
from dataworth.comparing.bench import Task, Work
from dataworth.comparing.choices import Chosen, Chosens, any_table, load_documents
from dataworth.comparing.finished import facts_of, open_finished
from dataworth.comparing.folder import CompareFolder
from dataworth.comparing.grid import (
    Unit,
    done,
    missing,
    model_folder,
    read_result,
    result_file,
    units_of,
)
from dataworth.comparing.held_out import (
    EvaluationSet,
    build,
    inputs_of,
    load_decontaminated,
    load_excluded,
    load_sets,
    validation_of,
)
from dataworth.comparing.measures import MEASURES, METRICS
from dataworth.comparing.minutes import Cost, fit
from dataworth.comparing.plan import CandidatePlan, ComparePlan
from dataworth.comparing.pool import links, score_candidates
from dataworth.comparing.reading import read_plan
from dataworth.comparing.sizes import resolve, versions
from dataworth.engine.device import AUTO
from dataworth.engine.files import atomic_folder, read_json, write_json
from dataworth.engine.local import Engine
from dataworth.engine.progress import Progress
from dataworth.flow.identity import content_of
from dataworth.flow.scoring import Scored, costs_of, read_record
from dataworth.flow.trainings import trainings
from dataworth.results.comparison import COMPARISON_VERSION, Candidate, Comparison
from dataworth.table.run import machine
from dataworth.version import __version__

log = logging.getLogger("dataworth")
_TOKENIZER_BYTES = 8 * 2**20  # of the pool's sample that the tokenizer is trained on


@dataclass
class Prepared:
    """All that comes before training."""

    plan: ComparePlan
    tables: dict[str, Scored]
    chosens: list[Chosen]
    marks: dict[str, str]
    sets: list[EvaluationSet]

    @property
    def keys(self) -> dict[str, list[str]]:
        """Target ("" for the pool's sample) → the names of its sets among a training's results."""
        found: dict[str, list[str]] = {"": []}
        for item in self.sets:
            found.setdefault(item.target or "", []).append(item.key)
        return found


@dataclass(frozen=True)
class Running:
    """The way that a comparison is carried out; nothing here changes a number.

    `engine` trains: of processes, in workers of one thread each; of threads, in this process, one
    model after another. `scoring` scores. `device`: where models are trained. `reuse`: other
    comparisons, whose equal scores and trainings are taken over. `so_far`: train nothing, and say
    what is there.
    """

    engine: Engine
    scoring: Engine
    progress: Progress
    reuse: tuple[Path, ...] = ()
    so_far: bool = False
    started: float = 0.0
    device: str = AUTO


def run(asked: ComparePlan, folder: CompareFolder, how: Running) -> Comparison:
    """Carry out a plan in an open folder; what is there already is not done again."""
    place = folder.folder
    folder.begin(asked.as_dict(), versions())
    record = folder.record or {}
    settled = "plan" in record
    plan = resolve(asked, how.device)
    if settled:
        before = read_plan(record)
        timed = before.minutes is not None
        plan = before.labelled(asked) if timed else plan.with_sizes_of(before, asked)
    folder.check_inputs(_inputs(plan))
    made = prepare(plan, place, how)
    gave_up = list(record.get("gave_up", []))
    if not settled:
        plan, gave_up = _within_minutes(made, folder, how)
    if plan.as_dict() != record.get("plan"):  # it is new, has grown, or has other labels
        folder.resolve(plan.as_dict(), gave_up=gave_up)
    chosen = {seed for seed in plan.seeds}
    made = replace(made, plan=plan, chosens=[item for item in made.chosens if item.seed in chosen])
    units, grid = units_of(plan, made.chosens, made.marks)
    kept = plan.keep_models
    left = missing(units, place / "trainings", made.keys, models=kept)
    left = take_over(left, place / "trainings", made.keys, how.reuse, models=kept)
    if left and not how.so_far:
        train(left, place, how)
    outcomes = {
        unit.name: read_result(result_file(place / "trainings", unit.name))
        for unit in units
        if result_file(place / "trainings", unit.name).is_file()
    }
    facts = assemble(made, grid, outcomes, place, gave_up)
    facts["seconds"] = time.perf_counter() - how.started
    write_json(place / "comparison.json", facts)
    return facts


def prepare(plan: ComparePlan, place: Path, how: Running) -> Prepared:
    """Score, choose, and put texts and tokens of all choices into the bank."""
    others = [other / "scores" for other in how.reuse]
    tables = score_candidates(plan, place / "scores", how.scoring, how.progress, others)
    table = any_table(tables)
    build(plan, table, place / "held_out", how.scoring, how.progress)
    excluded = load_excluded(place / "held_out")
    log.info("choose: %d selections", len(plan.candidates))
    chosens = Chosens(plan, tables, excluded, place / "choices").make(how.engine.size)
    log.info("tokens: of %d different selections", len({item.content for item in chosens}))
    uids = [
        load_documents(place / "choices" / "documents", content)[0]
        for content in dict.fromkeys(item.content for item in chosens)
    ]
    paths = dict.fromkeys(item.path for item in chosens if item.path and item.missing)
    finished = (open_finished(path, plan) for path in paths)
    build_texts(place / "bank" / "text", union(uids), table, finished)
    marks = _tokens(plan, table, place)
    return Prepared(plan, tables, chosens, marks, load_sets(place / "held_out"))


def _tokens(plan: ComparePlan, table: Scored, place: Path) -> dict[str, str]:
    """Build the tokenizers and the bank's tokens by each; return the fingerprint by size."""
    from dataworth.lm.tokenizer import (
        begin_token,
        end_token,
        load_tokenizer,
        save_tokenizer,
        train_tokenizer,
    )

    file = place / "tokenizer.json"
    if not file.is_file():
        if plan.tokenizer is not None:
            made = load_tokenizer(plan.tokenizer)
        else:
            sample = table.survey.sample
            enough = int(np.searchsorted(np.cumsum(sample.text_bytes), _TOKENIZER_BYTES)) + 1
            some = sample.take(np.arange(min(enough, len(sample))))
            made = train_tokenizer(some.texts(), plan.vocabulary)
        save_tokenizer(made, file)
    texts = TextBank(place / "bank" / "text")
    marks = {}
    for size in plan.sizes:
        tokenizer = load_tokenizer(file if size.model is None else size.model)
        end = end_token(tokenizer, size.model)
        start = None if size.model is None else begin_token(tokenizer, size.model)
        known = f"{tokenizer.to_str()} {start} {end}"
        digest = hashlib.blake2b(known.encode(), digest_size=6).hexdigest()
        marks[size.name] = digest
        bank = place / "bank" / f"tokens-{digest}"
        build_tokens(bank, texts, tokenizer, end, start)
    write_json(place / "bank" / "marks.json", marks)
    return marks


def _inputs(plan: ComparePlan) -> dict[str, Any]:
    """Return the fingerprints of what is read beside the pool and the examples."""
    fingerprints = inputs_of(plan)
    for candidate in plan.candidates:
        if candidate.source is None:
            continue
        paths = {
            candidate.source.replace("{target}", target).replace("{seed}", str(seed))
            for target in plan.targets
            for seed in plan.seeds
        }
        for path in sorted(paths):
            fingerprints[f"selection {candidate.name}, {path}"] = facts_of(path, plan)
    for size in plan.sizes:
        if size.model is not None and Path(size.model).is_dir():
            fingerprints[f"model {size.name}"] = content_of(Path(size.model))
    return fingerprints


def _within_minutes(
    made: Prepared, folder: CompareFolder, how: Running
) -> tuple[ComparePlan, list[str]]:
    """Return the plan that fits its minutes, and what it gave up; time only if there are any."""
    plan = made.plan
    if plan.minutes is None:
        return plan, []
    # Workers read the plan from the folder.
    record = folder.record or {}
    write_json(folder.folder / "plan.json", {**record, "plan": plan.as_dict()})
    tasks = [Task(1, timed=(size.name, made.chosens[0].content)) for size in plan.sizes]
    # Alone in its process, so that the others' speed does not tell.
    alone = replace(how, engine=Engine(1, how.engine.kind))
    timed: dict[str, Cost] = {}
    for task, answer in zip(tasks, _work(tasks, folder.folder, alone, "time"), strict=True):
        measuring = {
            target: sum(answer["sets"][key] for key in keys) for target, keys in made.keys.items()
        }
        timed[task.timed[0]] = Cost(answer["a_token"], answer["start"], measuring)
    write_json(folder.folder / "plan.json", record)
    left = plan.minutes * 60 - (time.perf_counter() - how.started)
    return fit(plan, made.chosens, timed, how.engine.size, left)


def take_over(
    units: Sequence[Unit],
    place: Path,
    keys: Mapping[str, Sequence[str]],
    others: Sequence[Path],
    *,
    models: bool = False,
) -> list[Unit]:
    """Copy results of the same trainings from other comparisons; the units that are still left."""
    left = []
    for unit in units:
        for other in others:
            if done(unit, other / "trainings", keys, models=models):
                if models:
                    with atomic_folder(model_folder(place, unit.name)) as temporary:
                        source = model_folder(other / "trainings", unit.name)
                        shutil.copytree(source, temporary, ignore=links, dirs_exist_ok=True)
                result = read_result(result_file(other / "trainings", unit.name))
                write_json(result_file(place, unit.name), result)
                break
        else:
            left.append(unit)
    return left


def train(units: Sequence[Unit], place: Path, how: Running) -> None:
    """Train all that is left, and tell how it goes."""
    sizes = {size.name: size for size in read_plan(read_json(place / "plan.json")).sizes}
    tasks = [
        Task(unit.tokens * int(sizes[unit.size].options.get("hidden", 1)), unit) for unit in units
    ]
    for _ in _work(tasks, place, how, "train"):
        pass


def _work(tasks: Sequence[Task], place: Path, how: Running, name: str) -> Iterator[dict[str, Any]]:
    work = Work(place, how.device, uuid4().hex)
    return trainings(work, tasks, how.engine, how.progress, name=name, device=how.device)


def assemble(
    made: Prepared,
    grid: Mapping[Any, str],
    outcomes: Mapping[str, Any],
    place: Path,
    gave_up: Sequence[str],
) -> Comparison:
    """Return all facts of the trainings that are there, as a comparison."""
    plan = made.plan
    table = any_table(made.tables)
    found = results.results_of(grid, outcomes, made.keys, transfer=plan.transfer)
    values = results.values_of(found)
    numbers = _cheap(made, place)
    cheap_numbers = cheap.cheap_of(plan, made.chosens, numbers)
    if plan.transfer:
        cheap_numbers += cheap.coverage(plan, made.chosens, table)
    boards = results.leaderboards(plan, values)
    parameters = {item["size"]: item["parameters"] for item in outcomes.values()}
    laws = results.scaling(plan, values, parameters)
    predictions = results.predictions(plan, values, cheap_numbers)
    known = {item["metric"] for item in cheap_numbers}
    measured = {item["measure"] for item in found}
    facts: Comparison = {
        "comparison_version": COMPARISON_VERSION,
        "title": plan.title or f"{len(plan.candidates)} selections for {', '.join(plan.targets)}",
        "version": __version__,
        "plan": plan.as_dict(),
        "machine": {**machine(), **versions()},
        "targets": list(plan.targets),
        "selections": [_candidate(plan, made, item.name) for item in plan.candidates],
        "measures": [item for item in MEASURES if item["name"] in measured],
        "metrics": [item for item in METRICS if item["name"] in known],
        "trainings": results.trainings_of(plan, made.chosens, grid, outcomes),
        "results": found,
        "cheap": cheap_numbers,
        "leaderboards": boards,
        "scaling": laws,
        "predictions": predictions,
        "composition": cheap.composition(plan, made.chosens, table),
        "overlap": cheap.overlap(plan, made.chosens, made.tables, place / "choices"),
        "warnings": findings.warnings(made.plan, made.chosens, grid, outcomes, made.sets),
        "gave_up": list(gave_up),
    }
    kept_out = load_decontaminated(place / "held_out")
    if searched := weightings.weightings(plan, values):
        facts["weightings"] = searched
    facts["findings"] = [
        *findings.findings(facts, values),
        *weightings.sentences(searched),
        *findings.kept_out(kept_out, len(table.table)),
    ]
    return facts


def _cheap(made: Prepared, place: Path) -> dict[str, Any]:
    plan, table = made.plan, any_table(made.tables)
    texts = TextBank(place / "bank" / "text")
    tokens = TokenBank(place / "bank" / f"tokens-{made.marks[plan.sizes[0].name]}", texts)
    numbers = cheap.CheapNumbers(
        texts,
        tokens,
        table.survey.sample,
        {name: validation_of(plan, table, name) for name in plan.targets},
        place / "choices",
    )
    return numbers.make(cheap.wanted_of(plan, made.chosens), Engine().size)


def _candidate(plan: ComparePlan, made: Prepared, name: str) -> Candidate:
    candidate = plan.candidate(name)
    from dataworth.methods.registry import shown

    chosen = next(item for item in made.chosens if item.selection == name)
    kind: Any = "finished" if candidate.source is not None else "steps"
    found: Candidate = {
        "name": name,
        "kind": "baseline" if name == plan.baseline else kind,
        "steps": [shown(step) for step in candidate.steps],
        "mechanism": candidate.mechanism or chosen.mechanism,
        "path": candidate.source,
        "needs_target": chosen.target is not None,
    }
    if candidate.bound:
        found["bound"] = True
    cost = None if candidate.source is not None else _cost(made.tables[name], candidate)
    if cost is not None:
        found["core_seconds"] = cost
    return found


def _cost(table: Scored, candidate: CandidatePlan) -> float | None:
    """Return seconds of a core that the candidate's steps took to fit and to score the pool.

    For all targets together.
    """
    record = read_record(table.table.folder.parent)
    costs = costs_of(record, table.fitted, table.table.tally.documents)
    if not set(candidate.labels) <= set(costs):  # taken over without what it took
        return None
    return sum(sum(costs[label]) for label in candidate.labels)
