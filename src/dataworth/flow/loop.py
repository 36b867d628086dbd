"""Rounds of choosing and training: score, choose, train, and score again with what was trained.

All rounds share one run's folder, so that columns are computed once; what a round trains on is left
out by the rounds after it. A round is finished when its record is written. Finished rounds are
chosen again from the columns that are there, which takes seconds, and not trained again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dataworth.config import to_dict
from dataworth.corpus.corpus import Corpus
from dataworth.engine.local import Engine
from dataworth.engine.progress import Progress
from dataworth.errors import ConfigError, RunError
from dataworth.flow.identity import content_of
from dataworth.flow.rounds import (
    MODEL,
    ROUNDS,
    Round,
    Trainer,
    asks_checkpoint,
    filled,
    read_round,
    trained,
    write_round,
)
from dataworth.flow.scores import Scores
from dataworth.flow.scoring import input_record, run_scoring
from dataworth.flow.selection import Selection
from dataworth.flow.settings import ChoiceSettings, ScoreSettings, deciding
from dataworth.mechanism.budget import parse_budget
from dataworth.methods.base import Step
from dataworth.methods.registry import STEPS
from dataworth.table.folder import differences, differing
from dataworth.table.keys import uids_digest
from dataworth.table.run import RunFolder

log = logging.getLogger("dataworth")


@dataclass(frozen=True)
class LoopSettings:
    """Settings of all rounds.

    `steps`: of each round. `score`: the rest of how to score, alike in all rounds. `choices`: how
    each round chooses. `train`, `train_name`: the trainer and what records call it. `start`: the
    model that round 1 goes on with, if any.
    """

    steps: tuple[tuple[Step, ...], ...]
    score: ScoreSettings
    choices: tuple[ChoiceSettings, ...]
    train: Trainer
    train_name: str
    start: Path | None

    def depends(self, number: int, targets: Mapping[str, Corpus]) -> dict[str, Any]:
        """Return what a round depends on, beside the rounds before it and the pool."""
        score = self.score.as_dict()
        return {
            "score": {**score, "steps": [to_dict(step, STEPS) for step in self.steps[number - 1]]},
            "choose": self.choices[number - 1].as_dict(),
            "train": self.train_name,
            "start": None if self.start is None else content_of(self.start),
            "targets": {
                name: [[item["size"], item["hash"]] for item in input_record(corpus)]
                for name, corpus in targets.items()
            },
        }


def run_loop(
    run: RunFolder,
    corpus: Corpus,
    targets: Mapping[str, Corpus],
    settings: LoopSettings,
    engine: Engine,
    progress: Progress,
) -> list[Selection]:
    """Do the rounds that are missing; return the selections of all.

    Raises RunError for a folder of other rounds, a pool without documents that are left, and a
    trainer that fails or leaves no checkpoint.
    """
    rounds = range(1, len(settings.steps) + 1)
    depends = [settings.depends(number, targets) for number in rounds]
    known = [read_round(run.folder, number) for number in rounds]
    _check_same(run.folder, known, depends)
    selections: list[Selection] = []
    previous = settings.start
    for number in rounds:
        steps = settings.steps[number - 1]
        if asks_checkpoint(steps):
            steps = tuple(filled(step, str(previous)) for step in steps)
        score = replace(settings.score, steps=steps)
        quotas = settings.choices[number - 1].quotas
        scored = run_scoring(run, corpus, targets, score, engine, progress, quotas)
        scores = Scores(run.folder, scored, score, engine=engine, progress=progress)
        if number == 1:
            _check_budgets(scores, settings.choices)
        selection = _choose(scores, settings.choices[number - 1], selections, number)
        selections.append(selection)
        done = known[number - 1]
        if done is None:
            done = _train(run.folder, settings, selection, previous, number, depends[number - 1])
        elif done.documents != _documents(selection):
            raise RunError(
                f"{run.folder / ROUNDS / str(number)}: round {number} was trained on another "
                "selection than its columns give now; start afresh with --overwrite "
                "(overwrite=True)"
            )
        previous = done.checkpoint
    return selections


def _check_same(
    folder: Path, known: Sequence[Round | None], depends: Sequence[Mapping[str, Any]]
) -> None:
    """Raise RunError with the differences for finished rounds of another loop."""
    changes: list[str] = []
    for number, (done, now) in enumerate(zip(known, depends, strict=True), 1):
        if done is not None:
            changes += differences(deciding(done.depends), deciding(now), f"round {number}")
    if changes:
        raise differing(folder, "holds another loop", changes)


def _check_budgets(scores: Scores, choices: Sequence[ChoiceSettings]) -> None:
    """Raise ConfigError for rounds that together ask for more than the whole pool."""
    budgets = [parse_budget(choice.budget) for choice in choices]
    units = {budget.unit for budget in budgets}
    if len(units) > 1 or units == {"share"}:
        return
    (unit,) = units
    column = {"documents": "uid", "bytes": "text_bytes"}.get(unit, "tokens")
    sizes = scores.table.column(column)
    held = len(sizes) if unit == "documents" else int(sizes.sum())
    asked = sum(
        int(budget.amount) / choice.max_repeat
        for budget, choice in zip(budgets, choices, strict=True)
    )
    if asked > held:
        raise ConfigError(
            f"{len(budgets)} rounds ask for {asked:,.0f} {unit}, but the pool has {held:,}: give a "
            "smaller budget, or fewer rounds"
        )


def _choose(
    scores: Scores, choice: ChoiceSettings, before: Sequence[Selection], number: int
) -> Selection:
    """Choose for a round, without what earlier rounds trained on. RunError if none is left."""
    earlier = [f"selections/{selection.folder.name}" for selection in before]
    selection = scores.choose_settings(replace(choice, exclude=(*choice.exclude, *earlier)))
    if not len(selection):
        raise RunError(
            f"round {number}: no document of the pool is left to choose; {len(before)} rounds were "
            f"trained, give a smaller budget or rounds={len(before)} (--rounds {len(before)})"
        )
    if selection.choice.cut.short:
        log.warning("round %d: %s", number, selection.choice.cut.reason)
    return selection


def _documents(selection: Selection) -> str:
    """Return the key of the chosen documents and their copies, wherever the folder lies."""
    counts = selection.choice.counts[selection.rows].astype(np.uint64)
    return uids_digest(np.concatenate([selection.choice.candidates.uid[selection.rows], counts]))


def _train(
    folder: Path,
    settings: LoopSettings,
    selection: Selection,
    previous: Path | None,
    number: int,
    depends: dict[str, Any],
) -> Round:
    log.info("round %d: training on %d documents", number, len(selection))
    place = folder / ROUNDS / str(number) / MODEL
    model = trained(settings.train, settings.train_name, selection, previous, number, place)
    names = (selection.scores.scored.list, selection.folder.name, _documents(selection))
    done = Round(depends, *names, model, content_of(model))
    write_round(folder, number, done)
    return done
