"""The page of a comparison: one self-contained file without JavaScript, drawn from its dict."""

from __future__ import annotations

import os
from html import escape
from pathlib import Path

from dataworth.report import comparison_evidence as evidence
from dataworth.report import comparison_laws as laws
from dataworth.report import comparison_sections as sections
from dataworth.report import frame, ledger
from dataworth.report.frame import folded, listed
from dataworth.report.sections import table
from dataworth.results import doubts
from dataworth.results import format as f
from dataworth.results import reading as reading_
from dataworth.results.comparison import Comparison
from dataworth.results.inert import visible, word
from dataworth.results.reading import BETTER, UNSHOWN, WORSE, Reading, fixed, interval

SHOWN_FINDINGS = 8
MOST_FINDINGS = 80
SHOWN_TARGETS = 6
SHOWN_RUNNERS_UP = 3
SHOWN_NOTES = 60


def write(comparison: Comparison, path: str | os.PathLike[str]) -> Path:
    """Write the page, under a temporary name first; returns its path.

    Raises DataworthError when the file cannot be written.
    """
    return frame.write(render(comparison), path)


def render(comparison: Comparison) -> str:
    """The page as HTML. Below 2 MB: the sections with the most marks give way if need be."""
    reading = reading_.read(comparison)
    found = _sections(comparison, reading)
    html = _page(comparison, reading, found)
    for name in ("curves", "overlap", "composition", "scaling", "predictions", "targets"):
        if frame.small(html):
            break
        found = [
            (key, heading, "", _TOO_MUCH) if key == name and body else (key, heading, lede, body)
            for key, heading, lede, body in found
        ]
        html = _page(comparison, reading, found)
    return html


_TOO_MUCH = '<p class="none">Too much to draw in one page; comparison.json holds the numbers.</p>'


def _sections(comparison: Comparison, reading: Reading) -> list[tuple[str, str, str, str]]:
    """(id, heading, what it shows, body)."""
    baseline = word(reading.baseline or "the baseline", 40)
    board = reading.board
    over = sections.over(board["target"], len(reading.targets)) if board else ""
    setting = escape(reading.setting.words) if reading.setting else ""
    where = f"{escape(over)}; {setting}" if setting else escape(over)
    return [
        ("findings", "What follows", "", _findings(comparison)),
        (
            "leaderboard",
            "Leaderboard",
            f"What models trained on each selection have learned, against {baseline} with the same "
            "seed. Two selections whose intervals overlap may differ or not: each interval is "
            f"against {baseline} alone.{_bounds(reading)}",
            sections.leaderboard(comparison, reading),
        ),
        (
            "targets",
            "By target",
            f"The same difference for each target ({setting}); every column has its own axis.",
            sections.targets(comparison, reading),
        ),
        (
            "measures",
            "By measure",
            f"Difference from {baseline} and half its 95 % interval, {where}. Blue is better, "
            "orange worse, grey not shown to differ.",
            sections.measures(comparison, reading),
        ),
        (
            "scaling",
            "Scaling",
            "How the loss falls with more training: a dot a run, a line the fitted law loss = "
            "floor + scale / x^exponent, over the range that was measured.",
            laws.scaling(comparison, reading),
        ),
        (
            "predictions",
            "Does the cheap predict the dear?",
            "Each cheap metric, known without training, against the measure of trained models. A "
            "point is one selection for one target, less the mean of all selections for that "
            "target: targets differ for reasons that no selection can change.",
            evidence.predictions(comparison, reading),
        ),
        (
            "composition",
            "Composition",
            "Shares of the tokens of pool and selections, the best selection first.",
            evidence.composition(comparison, reading),
        ),
        (
            "overlap",
            "Overlap",
            "In hundredths. Below the diagonal the documents that two selections share, of those "
            "in either (Jaccard); above it how alike their utilities order the pool (Spearman).",
            evidence.overlap(comparison, reading),
        ),
        (
            "curves",
            "Loss curves",
            f"Means over seeds, {setting}, from a tenth of the training on. Each model is measured "
            "on its own selection here, so the lower line is not the better one: an easy text "
            "gives a low loss. Look for lines that still fall, or rise.",
            laws.loss_curves(comparison, reading),
        ),
        ("left-out", "Left out", "To fit the time that was given.", _left_out(comparison)),
        ("run", "Plan and cost", "What it takes to get the same numbers again.", _run(comparison)),
    ]


def _bounds(reading: Reading) -> str:
    if not reading.bounds:
        return ""
    names = ", ".join(word(name, 40) for name in sorted(reading.bounds))
    return f" A bound rather than a rival, since it knows the answer: {names}."


def _page(comparison: Comparison, reading: Reading, found: list[tuple[str, str, str, str]]) -> str:
    title = visible(comparison.get("title") or "Comparison", 200)
    version = comparison.get("version")
    by = f" {word(version, 40)}" if version else ""
    return frame.page(
        title,
        _header(comparison, title) + _answers(comparison, reading),
        found,
        f"Written by dataworth{by}. The numbers behind this page lie beside it in "
        "<code>comparison.json</code>.",
    )


def _header(comparison: Comparison, title: str) -> str:
    trainings = comparison.get("trainings") or []
    parts = [f"{f.counted(len(comparison.get('selections') or []), 'selection')}"]
    parts.append(f.counted(len(comparison["targets"]), "target"))
    seeds = reading_.seeds(comparison)
    if seeds:
        parts.append(f.counted(len(seeds), "seed"))
        parts.append(f"{f.counted(len(trainings), 'model')} trained")
    if f.finite(comparison.get("seconds")) is not None:
        parts.append(f.duration(comparison.get("seconds")))
    return frame.header(title, parts)


def _answers(comparison: Comparison, reading: Reading) -> str:
    """The three things to know first: the best, against the baseline, what to distrust."""
    baseline = visible(reading.baseline or "the baseline", 30)
    return frame.answers(
        ("Best", _best(reading)),
        (f"Better than <bdi>{escape(baseline)}</bdi>?", _better(comparison, reading)),
        doubts=doubts.comparison(comparison, reading),
    )


def _best(reading: Reading) -> str:
    board = reading.board
    if board is None:
        return '<p class="big text">Not measured</p>'
    rows = reading_.ranked(board, reading.measure)
    winner = reading_.winner(board, reading)
    baseline = word(board["baseline"], 30)
    items = []
    if winner is None:
        big = "None shown"
        items.append(f"No selection is shown to be better than {baseline}.")
    else:
        big = escape(visible(winner["selection"], 40))
        decimals = reading_.digits(rows)
        unit = word(reading.measure["unit"], 40)
        difference = fixed(winner.get("difference"), decimals, signed=True)
        items.append(f"<b>{difference}</b> {unit} against {baseline}")
        if interval(winner, decimals):
            items.append(f"95 % interval {interval(winner, decimals)}")
        after = [row for row in rows if row["selection"] != board["baseline"]]
        after = [
            row for row in after if row is not winner and row["selection"] not in reading.bounds
        ]
        for row in after[:SHOWN_RUNNERS_UP]:
            change = fixed(row.get("difference"), decimals, signed=True)
            items.append(f'<span class="quiet">then {word(row["selection"], 30)} {change}</span>')
    items += [
        f"{word(row['selection'], 30)}, which knows the answer: "
        f"{fixed(row.get('difference'), reading_.digits(rows), signed=True)}"
        for row in rows
        if row["selection"] in reading.bounds
    ]
    setting = escape(reading.setting.words) if reading.setting else ""
    over = escape(sections.over(board["target"], len(reading.targets)))
    label = escape(visible(reading.measure["label"], 60).lower())
    items.append(f'<span class="quiet">{label}, {over}, {setting}</span>')
    return f'<p class="big text"><bdi>{big}</bdi></p>{listed(items)}'


def _better(comparison: Comparison, reading: Reading) -> str:
    counts = reading_.tally(reading.board, reading)
    whole = sum(counts.values())
    if not whole:
        why = ["An interval takes two seeds or more."] if reading.board else []
        return f'<p class="big text">Not measured</p>{listed(why)}'
    items = [
        f"<b>{counts[BETTER]}</b> better, <b>{counts[UNSHOWN]}</b> not shown to differ, "
        f"<b>{counts[WORSE]}</b> worse"
    ]
    known = [target for target in reading.targets if target in reading.boards]
    for target in known[:SHOWN_TARGETS] if len(known) > 1 else []:
        board = reading.boards[target]
        better = reading_.tally(board, reading)
        best = reading_.winner(board, reading)
        first = "none"
        if best:
            change = fixed(best.get("difference"), reading_.digits(board["rows"]), signed=True)
            first = f"{word(best['selection'], 30)} {change}"
        number = f"{better[BETTER]} of {sum(better.values())}"
        items.append(f"<b>{word(target, 40)}</b> {number}; best {first}")
    more = len(known) - SHOWN_TARGETS
    if more > 0:
        items.append(f'<a href="#targets">and {f.counted(more, "target")} more</a>')
    return f'<p class="big">{counts[BETTER]} of {whole}</p>{listed(items)}'


def _findings(comparison: Comparison) -> str:
    texts = (comparison.get("findings") or [])[:MOST_FINDINGS]
    items = [word(text, 600) for text in texts if text]
    rest = items[SHOWN_FINDINGS:]
    more = folded(f"{len(rest)} more", listed(rest, "notes")) if rest else ""
    return listed(items[:SHOWN_FINDINGS], "findings") + more


def _left_out(comparison: Comparison) -> str:
    texts = (comparison.get("gave_up") or [])[:SHOWN_NOTES]
    return listed([word(text, 600) for text in texts if text], "notes")


def _run(comparison: Comparison) -> str:
    parts = []
    cost = laws.costs(comparison)
    if cost:
        parts.append(f"<figure><h3>Trained</h3>{cost}</figure>")
    compared = _compared(comparison)
    if compared:
        parts.append(f"<figure><h3>Selections</h3>{compared}</figure>")
    for heading, given in (
        ("Plan", comparison.get("plan")),
        ("Machine", comparison.get("machine")),
    ):
        pairs = list(ledger.flatten(given or {}))
        if pairs:
            parts.append(f"<figure><h3>{heading}</h3>{ledger.pairs(pairs)}</figure>")
    return "".join(parts)


def _seconds(value: float | None) -> str:
    return "" if f.finite(value) is None else f.duration(value)


def _compared(comparison: Comparison) -> str:
    """How each selection was chosen."""
    rows = []
    for one in (comparison.get("selections") or [])[: sections.SHOWN_ROWS]:
        steps = ", ".join(one.get("steps") or []) or one.get("path") or ""
        needs = {True: "each target", False: "all targets"}.get(one.get("needs_target", True), "")
        rows.append(
            f"<tr><td>{word(one['name'], 60)}</td>"
            f'<td class="mono">{word(steps, 300)}</td>'
            f'<td class="mono">{word(one.get("mechanism") or "", 120)}</td>'
            f"<td>{needs}</td>"
            f'<td class="n">{_seconds(one.get("core_seconds"))}</td></tr>'
        )
    head = [("", "name"), ("", "steps or place"), ("", "mechanism"), ("", "one for")]
    head.append(("n", "scored in (core)"))
    return table(head, rows) if rows else ""
