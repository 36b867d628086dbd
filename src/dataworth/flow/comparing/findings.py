"""What follows from a comparison, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dataworth.flow.comparing.choices import Chosen
from dataworth.flow.comparing.grid import Key
from dataworth.flow.comparing.held_out import EvaluationSet
from dataworth.flow.comparing.measures import LOSS, METRICS
from dataworth.flow.comparing.plan import ComparePlan
from dataworth.report.comparison_model import Leaderboard, Prediction, Row, Scaling

FEW_DOCUMENTS = 20


def findings(
    plan: ComparePlan,
    boards: Sequence[Leaderboard],
    laws: Sequence[Scaling],
    found: Sequence[Prediction],
) -> list[str]:
    """A sentence for each thing that was shown, and for what was not."""
    said: list[str] = []
    for size in plan.sizes:
        for tokens in plan.tokens:
            of = [
                board
                for board in boards
                if board["measure"] == LOSS
                and board["size"] == size.name
                and board["tokens"] == tokens
            ]
            if of:
                said += _of_setting(plan, of, f"{size.name}, {tokens:,} tokens")
    said += _of_laws(plan, laws)
    said += _of_predictions(found)
    return said


def kept_out(count: int, documents: int) -> list[str]:
    """What decontamination kept out of all selections."""
    if not count:
        return []
    return [
        f"{count:,} of the pool's {documents:,} documents share a long run of words with a "
        "validation set, and were kept out of all selections."
    ]


def _of_setting(plan: ComparePlan, boards: Sequence[Leaderboard], where: str) -> list[str]:
    mean = boards[0]
    rows = [row for row in mean["rows"] if row["selection"] != plan.baseline]
    over = "on the mean over targets" if mean["target"] is None else f"on {mean['target']}"
    said = []
    if rows:
        best = rows[0]
        said.append(
            f"{where}: {best['selection']} has the lowest loss {over}: {_difference(best)} "
            f"against {plan.baseline}."
        )
        names = {
            verdict: [row["selection"] for row in rows if row.get("verdict") == verdict]
            for verdict in ("better", "worse", "no difference shown")
        }
        parts = [
            f"{len(of)} {verdict} ({', '.join(of)})"
            if verdict != "no difference shown"
            else f"for {len(of)} no difference is shown ({', '.join(of)})"
            for verdict, of in names.items()
            if of
        ]
        said.append(f"{where}: of {len(rows)} selections, {'; '.join(parts)}.")
    for board in boards:
        if board["target"] is None:
            continue
        best = board["rows"][0]
        if best["selection"] == plan.baseline:
            said.append(f"{where}: on {board['target']}, nothing is below {plan.baseline}.")
        elif mean["target"] is None:
            said.append(
                f"{where}: on {board['target']}, {best['selection']} is lowest: "
                f"{_difference(best)}."
            )
    return said


def _difference(row: Row) -> str:
    value, low, high = row.get("difference"), row.get("low"), row.get("high")
    if value is None:
        return "no difference measured"
    if low is None or high is None:
        return f"{value:+.3f} nats a token (one seed: no interval)"
    said = "" if row.get("verdict") != "no difference shown" else ", no difference shown"
    return f"{value:+.3f} nats a token (95 % interval {low:+.3f} to {high:+.3f}{said})"


def _of_laws(plan: ComparePlan, laws: Sequence[Scaling]) -> list[str]:
    said = []
    for item in laws:
        multiplier = item.get("multiplier")
        if item["target"] is not None and len(plan.targets) > 1:
            continue
        if multiplier is None or multiplier.get("value") is None:
            continue
        value, low, high = multiplier["value"], multiplier.get("low"), multiplier.get("high")
        interval = (
            "" if low is None or high is None else f" (95 % interval {low:.2f} to {high:.2f})"
        )
        outside = ", read outside the measured range" if multiplier.get("outside") else ""
        said.append(
            f"{item['selection']} needs 1/{value:.2f} of the {item['axis']} of {plan.baseline} for "
            f"its loss{interval}{outside}."
            if value
            else f"{item['selection']} never reaches the loss of {plan.baseline} by its law."
        )
    return said


def _of_predictions(found: Sequence[Prediction]) -> list[str]:
    labels = {metric.name: metric.label for metric in METRICS}
    said = []
    for item in found:
        r, low, high = item.get("r"), item.get("low"), item.get("high")
        if item["measure"] != LOSS or r is None:
            continue
        interval = (
            "" if low is None or high is None else f" (95 % interval {low:+.2f} to {high:+.2f})"
        )
        shown = low is not None and high is not None and (low > 0 or high < 0)
        said.append(
            f"{labels[item['metric']]} and loss within targets: r = {r:+.2f}{interval} over "
            f"{item['n']} points" + ("." if shown else ": no relation shown.")
        )
    return said


def warnings(
    plan: ComparePlan,
    chosens: Sequence[Chosen],
    grid: Mapping[Key, str],
    outcomes: Mapping[str, Any],
    sets: Sequence[EvaluationSet],
) -> list[str]:
    """Reasons for distrust that the comparison itself knows."""
    said = []
    left = len({name for name in grid.values() if name not in outcomes})
    if left:
        said.append(f"{left} of {len(set(grid.values()))} trainings are not done yet.")
    short = sorted({item.selection for item in chosens if item.short})
    if short:
        said.append(f"Less than the budget was chosen by: {', '.join(short)}.")
    outside = {item.selection: item.missing for item in chosens if item.missing}
    for name, count in outside.items():
        said.append(f"{name}: {count:,} of its documents are not in the pool.")
    for item in sets:
        if item.kind == "text" and item.rows < FEW_DOCUMENTS:
            of = f"the validation of {item.target}" if item.target else "the sample of the pool"
            said.append(f"Losses on {of} rest on {item.rows} documents.")
    return said
