"""Rules for reading a comparison: the leading leaderboard, the order of selections.

The page and the terminal share it. Nothing is measured here; sentences are plain text in which
what comes from data was made visible, not yet escaped.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dataworth.results import format as f
from dataworth.results.comparison import (
    Comparison,
    Leaderboard,
    Measure,
    Row,
    Training,
)
from dataworth.results.inert import visible

COLOURED = 5  # selections that have a colour of their own on the page
MOST_TIMES = 100  # a compute multiplier above it is not given in digits

BETTER, WORSE, UNSHOWN = "better", "worse", "no difference shown"


@dataclass(frozen=True)
class Setting:
    """Setting that models were trained in: a size and a number of tokens."""

    size: str
    tokens: int

    @property
    def words(self) -> str:
        """tiny, 200 k tokens."""
        return f"{visible(self.size, 30)}, {tokens(self.tokens)} tokens"


@dataclass(frozen=True)
class Reading:
    """A comparison with its leading measure and setting.

    `boards` holds the leading leaderboards by target (None: the mean over targets), `order` every
    selection, best first, `colours` a CSS colour for each.
    """

    measure: Measure
    setting: Setting | None
    boards: dict[str | None, Leaderboard]
    order: list[str]
    colours: dict[str, str]
    baseline: str | None
    targets: list[str]
    bounds: frozenset[str] = frozenset()

    @property
    def board(self) -> Leaderboard | None:
        """The leaderboard that leads: the mean over targets, or the only target's."""
        if None in self.boards:
            return self.boards[None]
        known = [self.boards[target] for target in self.targets if target in self.boards]
        return known[0] if known else None


def tokens(number: float | None) -> str:
    """Format as 200 k, 1 M, 1.5 M: a round number without zeros that say nothing."""
    digits_, _, letter = f.short(number).partition(" ")
    if "." in digits_:
        digits_ = digits_.rstrip("0").rstrip(".")
    return f"{digits_} {letter}".strip()


def read(comparison: Comparison) -> Reading:
    """Find the leading leaderboards: first measure, most selections, then most compute."""
    measures = comparison.get("measures") or []
    boards = [board for board in comparison.get("leaderboards") or [] if board["rows"]]
    known = {board["measure"] for board in boards}
    nothing: Measure = {"name": "", "label": "loss", "unit": "", "lower_is_better": True}
    measure = next(
        (m for m in measures if m["name"] in known), measures[0] if measures else nothing
    )
    mine = [board for board in boards if board["measure"] == measure["name"]]
    sizes = parameters(comparison.get("trainings") or [])

    def weight(board: Leaderboard) -> tuple[int, bool, float]:
        work = sizes.get(board["size"], 1.0) * board["tokens"]
        return len(board["rows"]), board["target"] is None, work

    setting = None
    if mine:
        best = max(mine, key=weight)
        setting = Setting(best["size"], best["tokens"])
    leading = {board["target"]: board for board in mine if setting and setting_of(board) == setting}
    draft = Reading(measure, setting, leading, [], {}, None, list(comparison["targets"]))
    first = draft.board
    names = [row["selection"] for row in ranked(first, measure)] if first else []
    planned = [candidate["name"] for candidate in comparison.get("selections") or []]
    order = list(dict.fromkeys([*names, *planned]))
    kinds = (c["name"] for c in comparison.get("selections") or [] if c["kind"] == "baseline")
    baseline = first["baseline"] if first else next(kinds, None)
    return Reading(
        measure,
        setting,
        leading,
        order,
        _colours(order, baseline),
        baseline,
        draft.targets,
        frozenset(c["name"] for c in comparison.get("selections") or [] if c.get("bound") is True),
    )


def _colours(order: Sequence[str], baseline: str | None) -> dict[str, str]:
    """Return colours for the first few, ink for the baseline, grey for the rest."""
    others = [name for name in order if name != baseline]
    colours = {
        name: f"var(--c{i + 1})" if i < COLOURED else "var(--pool)" for i, name in enumerate(others)
    }
    if baseline is not None:
        colours[baseline] = "var(--ink)"
    return colours


def ranked(board: Leaderboard, measure: Measure) -> list[Row]:
    """Return the rows, best mean first; those without a mean last."""
    sign = 1 if measure["lower_is_better"] else -1

    def place(row: Row) -> tuple[bool, float]:
        mean = f.finite(row["mean"])
        return mean is None, sign * (mean or 0.0)

    return sorted(board["rows"], key=place)


def setting_of(board: Leaderboard) -> Setting:
    """Return the size and tokens of a leaderboard."""
    return Setting(board["size"], board["tokens"])


def parameters(trainings: Iterable[Training]) -> dict[str, float]:
    """Return the number of parameters of each size, 1 where it is not known."""
    return {training["size"]: f.finite(training.get("parameters")) or 1.0 for training in trainings}


def others(comparison: Comparison, reading: Reading) -> list[Leaderboard]:
    """Return the leading measure's leaderboards in other settings, most compute first."""
    sizes = parameters(comparison.get("trainings") or [])
    lead = reading.board
    if lead is None:
        return []
    boards = [
        board
        for board in comparison.get("leaderboards") or []
        if board["measure"] == reading.measure["name"]
        and board["target"] == lead["target"]
        and any(row["selection"] != board["baseline"] for row in board["rows"])
        and setting_of(board) != reading.setting
    ]
    return sorted(boards, key=lambda b: -sizes.get(b["size"], 1.0) * b["tokens"])


def by_measure(comparison: Comparison, reading: Reading) -> dict[str, Leaderboard]:
    """Return each measure's leaderboard in the leading setting, over the leading target."""
    lead = reading.board
    result = {}
    for measure in comparison.get("measures") or []:
        for board in comparison.get("leaderboards") or []:
            same = board["measure"] == measure["name"] and board["rows"]
            if same and lead and setting_of(board) == reading.setting:
                wanted = board["target"] == lead["target"]
                if wanted or (measure["name"] not in result and board["target"] is None):
                    result[measure["name"]] = board
    return result


def label(measure: Measure) -> str:
    """Return a measure's label with its unit, such as "Loss (nats per token)"."""
    unit = measure["unit"]
    return visible(measure["label"], 60) + (f" ({visible(unit, 40)})" if unit else "")


def digits(rows: Iterable[Row]) -> int:
    """Return the decimals that the intervals allow: the median half-width has one or two."""
    halves = sorted(
        (high - low) / 2
        for row in rows
        if (low := f.finite(row.get("low"))) is not None
        and (high := f.finite(row.get("high"))) is not None
        and high > low
    )
    if not halves:
        return 3
    return max(0, min(6, math.ceil(-math.log10(halves[len(halves) // 2] / 5))))


def fixed(value: float | None, decimals: int, *, signed: bool = False) -> str:
    """Format a number with so many decimals and a typographic minus; "n/a" for none."""
    number = f.finite(value)
    if number is None:
        return f.MISSING
    text = f"{number:{'+' if signed else ''},.{decimals}f}"
    if not float(text.replace(",", "")):
        text = text.lstrip("+-")
    return text.replace("-", f.MINUS)


def interval(row: Row, decimals: int) -> str:
    """Format an interval as "low to high"; "" where there is none."""
    low, high = f.finite(row.get("low")), f.finite(row.get("high"))
    if low is None or high is None:
        return ""
    return f"{fixed(low, decimals, signed=True)} to {fixed(high, decimals, signed=True)}"


def multiplier(value: float | None) -> str:
    """Format a multiplier as the field writes it: x2 for twice as much, x0.5 for half as much.

    What lies beyond a hundred is extrapolation gone wild, and is not given in digits.
    """
    number = f.finite(value)
    if number is None or number < 0:
        return f.MISSING
    if number > MOST_TIMES:
        return f"over {f.TIMES}{MOST_TIMES}"
    return (
        f"under {f.TIMES}{1 / MOST_TIMES}"
        if number < 1 / MOST_TIMES
        else f"{f.TIMES}{f.real(number)}"
    )


def multiplier_interval(given: Mapping[str, Any]) -> str:
    """Format a multiplier's interval as "2.1 to 2.9"; "" where there is none."""
    if f.finite(given.get("low")) is None or f.finite(given.get("high")) is None:
        return ""
    low, high = multiplier(given.get("low")), multiplier(given.get("high"))
    return f"{low} to {high}".replace(f.TIMES, "")


def tally(board: Leaderboard | None, reading: Reading) -> dict[str, int]:
    """Count the selections that are better, worse, or not shown to differ; without bounds."""
    counts = {BETTER: 0, UNSHOWN: 0, WORSE: 0}
    for row in board["rows"] if board else []:
        verdict, name = row.get("verdict"), row["selection"]
        counted = board and name != board["baseline"] and name not in reading.bounds
        if verdict in counts and counted:
            counts[verdict] += 1
    return counts


def winner(board: Leaderboard | None, reading: Reading) -> Row | None:
    """Return the best selection that is shown to be better than the baseline; without bounds."""
    if board is None:
        return None
    rows = (row for row in ranked(board, reading.measure) if row["selection"] not in reading.bounds)
    return next((row for row in rows if row.get("verdict") == BETTER), None)


def seeds(comparison: Comparison) -> list[int]:
    """Return the seeds that anything was trained with."""
    return sorted({training["seed"] for training in comparison.get("trainings") or []})
