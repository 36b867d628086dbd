"""A finished comparison as an object."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa

from dataworth.comparing.folder import CompareFolder
from dataworth.comparing.plan import ComparePlan
from dataworth.comparing.reading import read_plan
from dataworth.comparing.sizes import check_lm, resolve
from dataworth.engine.device import AUTO, check_device, find_device
from dataworth.engine.files import damaged, local_path, read_object
from dataworth.engine.local import Engine
from dataworth.engine.progress import Progress
from dataworth.errors import DataworthError
from dataworth.methods.registry import check_steps
from dataworth.options.calls import CompareOptions
from dataworth.results import comparison as model

_COLUMNS = (
    ("target", pa.string()),
    ("size", pa.string()),
    ("tokens", pa.int64()),
    ("measure", pa.string()),
    ("selection", pa.string()),
    ("mean", pa.float64()),
    ("difference", pa.float64()),
    ("low", pa.float64()),
    ("high", pa.float64()),
    ("p", pa.float64()),
    ("verdict", pa.string()),
    ("points", pa.list_(pa.float64())),
)


class Comparison:
    """The facts of a comparison, its leaderboards as a table, and its page."""

    def __init__(
        self,
        facts: model.Comparison,
        folder: Path,
        keep: TemporaryDirectory[str] | None = None,
        file: Path | None = None,
    ) -> None:
        self.facts = facts
        self.folder = folder
        self._keep = keep  # a folder without a name goes when this object does
        self._file = file  # where the facts were read from

    def __repr__(self) -> str:
        return (
            f"Comparison({len(self.facts['selections'])} selections, "
            f"{len(self.facts['targets'])} targets, {len(self.facts['trainings'])} trainings)"
        )

    @property
    def findings(self) -> list[str]:
        """Sentences about what the numbers show, the leading setting first."""
        return self.facts.get("findings", [])

    @property
    def weightings(self) -> list[model.Weighting]:
        """The best weights of several utilities, one for each search of the plan."""
        return self.facts.get("weightings", [])

    def table(self) -> pa.Table:
        """Return all leaderboards, a row per selection in each; `target` null: the mean."""
        with self._reading():
            rows = self._rows()
            return pa.Table.from_pylist(rows, schema=pa.schema(_COLUMNS))

    def _reading(self) -> AbstractContextManager[None]:
        """Blame the file for facts that are not those of a comparison, where they are from one."""
        return nullcontext() if self._file is None else damaged(self._file)

    def _rows(self) -> list[dict[str, Any]]:
        return [
            {
                **{name: board[name] for name in ("target", "size", "tokens", "measure")},
                **row,
            }
            for board in self.facts.get("leaderboards", [])
            for row in board["rows"]
        ]

    def report(self, file: str | Path) -> Path:
        """Write the HTML page: one file that needs nothing else."""
        from dataworth.report import comparison_page
        from dataworth.report import render as pages

        path = local_path(file)
        with self._reading():
            html = comparison_page.render(self.facts)
        return pages.write(html, path)


def load_comparison(folder: Path) -> Comparison:
    """Load a comparison from its folder. Raises DataworthError if none is finished there."""
    path = folder / "comparison.json"
    if not path.is_file():
        raise DataworthError(
            f"{folder}: holds no finished comparison; run its plan: dataworth compare "
            f"{folder / 'plan.json'} --out {folder}"
        )
    facts: Any = read_object(path)
    with damaged(path):
        _ = repr(Comparison(facts, folder))
    return Comparison(facts, folder, file=path)


def run_compare(options: CompareOptions) -> Comparison:
    """Compare as a plan says; see `dataworth.compare`."""
    start = time.perf_counter()
    plan, minutes, device, out = options.plan, options.minutes, options.device, options.out
    overwrite, reuse, so_far = options.overwrite, options.reuse, options.so_far
    engine, progress = options.engine, options.progress
    keep = TemporaryDirectory(prefix="dataworth-") if out is None else None
    folder = Path(keep.name) / "comparison" if keep is not None else local_path(str(out)).absolute()
    check_device(device)
    asked = read_plan(plan, minutes=minutes)
    check_lm()
    find_device(device)  # before any work
    for candidate in () if so_far else asked.candidates:
        check_steps(candidate.steps)
    from dataworth.comparing.run import Running, run

    if isinstance(engine, Engine):
        training = scoring = engine
    else:
        training, scoring = Engine(engine or 0, "processes"), Engine(engine or 0)
    others = tuple(Path(path).absolute() for path in reuse)
    for other in others:
        if not (other / "plan.json").is_file():
            raise DataworthError(f"{other}: holds no comparison whose trainings could be reused")
    how = Running(training, scoring, progress or Progress(), others, so_far, start, device)
    with CompareFolder.open(folder, overwrite=overwrite) as opened:
        comparison = Comparison(run(asked, opened, how), folder, keep)
        comparison.report(folder / "report.html")
    return comparison


def outline(
    plan: str | Path | Mapping[str, Any],
    minutes: float | None = None,
    *,
    timed: bool = False,
    workers: int = 1,
    device: str = AUTO,
) -> dict[str, Any]:
    """Return a plan's values, passes and trainings, without reading the pool.

    `trainings` is the most: equal selections are trained on once. If `timed`, a few steps of each
    size tell about the `minutes` of all trainings on so many workers; None where a size is a model
    in a folder.
    """
    asked = read_plan(plan, minutes=minutes)
    check_lm()
    for candidate in asked.candidates:
        check_steps(candidate.steps)
    resolved = resolve(asked, device)
    selections = 0
    for candidate in resolved.candidates:
        one = not any(getattr(step, "needs_target", False) for step in candidate.steps)
        if candidate.source is not None:
            one = "{target}" not in candidate.source
        selections += 1 if one else len(resolved.targets)
    trainings = selections * len(resolved.seeds) * len(resolved.sizes) * len(resolved.tokens)
    each = selections * len(resolved.seeds) * len(resolved.sizes) * sum(resolved.tokens)
    return {
        "plan": resolved.as_dict(),
        "passes": 1,
        "choices": selections * len(resolved.seeds),
        "trainings": trainings,
        "tokens": each,
        "minutes": _minutes(resolved, trainings, workers, device) if timed else None,
    }


def _minutes(plan: ComparePlan, trainings: int, workers: int, device: str) -> float | None:
    """Estimate the minutes of all trainings of a plan, timed on random tokens."""
    if any(size.model is not None for size in plan.sizes):
        return None
    from dataworth.comparing.bench import training_rate

    each = trainings / len(plan.sizes) / len(plan.tokens)
    seconds = 0.0
    for size in plan.sizes:
        a_token, start = training_rate(plan, size, device)
        seconds += start * workers + each * sum(plan.tokens) * a_token
    return seconds / workers / 60
