"""Findings of a comparison, in words: some eight sentences, the leading setting first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dataworth.comparing.choices import Chosen
from dataworth.comparing.grid import Key
from dataworth.comparing.held_out import EvaluationSet
from dataworth.comparing.measures import METRICS
from dataworth.comparing.plan import ComparePlan
from dataworth.comparing.results import Values
from dataworth.measures.statistics import Paired, paired
from dataworth.results import reading as reading_
from dataworth.results.comparison import Comparison, Leaderboard, Row
from dataworth.results.doubts import FEW_POINTS
from dataworth.results.reading import BETTER, UNSHOWN, WORSE, Reading, fixed

FEW_DOCUMENTS = 20
_ROOM = 390  # characters of a sentence: the terminal shows no more


@dataclass(frozen=True)
class _Facts:
    """A comparison, how it is read, and the values that its leading leaderboard rests on."""

    all: Comparison
    reading: Reading
    board: Leaderboard
    values: Values

    @property
    def baseline(self) -> str:
        return self.board["baseline"]

    @property
    def unit(self) -> str:
        return self.reading.measure["unit"]

    def rivals(self, board: Leaderboard) -> list[Row]:
        """Return the rows but those of baseline and bounds, best first."""
        known = {board["baseline"], *self.reading.bounds}
        rows = reading_.ranked(board, self.reading.measure)
        return [row for row in rows if row["selection"] not in known]

    def shown(self, board: Leaderboard, verdict: str) -> list[Row]:
        """Return the rivals with this verdict."""
        return [row for row in self.rivals(board) if row.get("verdict") == verdict]

    def bound(self, board: Leaderboard) -> Row | None:
        """Return the best bound that is shown to be better than the baseline."""
        rows = reading_.ranked(board, self.reading.measure)
        bounds = (row for row in rows if row["selection"] in self.reading.bounds)
        return next((row for row in bounds if row.get("verdict") == BETTER), None)

    def share(self, row: Row) -> str:
        """Return a selection's share of the bound's gain, as 86%; "" without a bound."""
        bound = self.bound(self.board)
        own, whole = row.get("difference"), bound.get("difference") if bound else None
        return f"{own / whole:.0%}" if own is not None and whole else ""

    def series(self, selection: str) -> dict[int, float]:
        """Return a selection's means over the leading leaderboard's targets, by seed."""
        target = self.board["target"]
        place = (self.board["size"], self.board["tokens"], self.board["measure"])
        of = [t for t in self.reading.targets if target in (None, t)]
        found: dict[int, list[float]] = {}
        for name, known, seed, *at in self.values:
            if name == selection and known in of and tuple(at) == place:
                cell = self.values[name, known, seed, place[0], place[1], place[2]]
                found.setdefault(seed, []).append(cell)
        most = max(map(len, found.values()), default=0)
        return {seed: sum(x) / len(x) for seed, x in sorted(found.items()) if len(x) == most}


def findings(comparison: Comparison, values: Values) -> list[str]:
    """Return a sentence for each thing that was shown, and for what was not."""
    reading = reading_.read(comparison)
    if reading.board is None:
        return []
    of = _Facts(comparison, reading, reading.board, values)
    parts = [_leads, _better, _between, _rest, _by_target, _elsewhere]
    parts += [_questions, _laws, _predictions]
    return [sentence for part in parts for sentence in part(of)]


def kept_out(count: int, documents: int) -> list[str]:
    """Return a sentence on the documents that decontamination kept out of all selections."""
    if not count:
        return []
    return [
        f"{count:,} of the pool's {documents:,} documents share a long run of words with a "
        "validation set, and were kept out of all selections."
    ]


def _leads(of: _Facts) -> Iterable[str]:
    """Name the best selection, where, by how much, and if it leads in other settings too."""
    rivals = of.rivals(of.board)
    if not rivals:
        return
    best, setting = rivals[0], of.reading.setting
    targets = len(of.reading.targets)
    over = f"the mean over {targets} targets" if of.board["target"] is None else of.board["target"]
    share = of.share(best)
    bound = of.bound(of.board)
    yield (
        f"{best['selection']} has the {_first(of)} on {over}"
        f"{f' ({setting.words})' if setting else ''}: {_against(of, best)}"
        + (
            f", {share} of the gain of {bound['selection']}, which knows the answer"
            if share and bound
            else ""
        )
        + "."
        + _other_settings(of, best["selection"])
    )


def _first(of: _Facts) -> str:
    lower = of.reading.measure["lower_is_better"]
    return f"{'lowest' if lower else 'highest'} {of.reading.measure['label'].lower()}"


def _against(of: _Facts, row: Row) -> str:
    """Return text such as "0.995 nats per token below random (95 % interval 0.924 to 1.066)"."""
    difference, low, high = row.get("difference"), row.get("low"), row.get("high")
    if difference is None:
        return "no difference measured"
    sign = -1 if difference < 0 else 1
    said = f"{abs(difference):.3f} {of.unit} {'below' if sign < 0 else 'above'} {of.baseline}"
    if low is None or high is None:
        return f"{said} (one seed: no interval)"
    ends = sorted((sign * low, sign * high))
    interval = f"95 % interval {fixed(ends[0], 3)} to {fixed(ends[1], 3)}"
    return f"{said} ({interval})" + (f", {UNSHOWN}" if row.get("verdict") == UNSHOWN else "")


def _other_settings(of: _Facts, name: str) -> str:
    same, parts = [], []
    for board in reading_.others(of.all, of.reading):
        words = reading_.setting_of(board).words
        best = next(iter(of.rivals(board)), None)
        if best is None:
            continue
        if best["selection"] == name:
            same.append(f"{words} ({_change(best)})")
        else:
            parts.append(f"at {words} {best['selection']} ({_change(best)})")
    parts = [f"so it has at {', '.join(same)}", *parts] if same else parts
    return f" In other settings: {_listed(parts, 200)}." if parts else ""


def _better(of: _Facts) -> Iterable[str]:
    """List all that are better than the baseline, by how much, with shares of the bound's gain."""
    rows = of.shown(of.board, BETTER)
    bound = of.bound(of.board)
    if rows:
        shares = f" and the share of {bound['selection']}'s {_change(bound)}" if bound else ""
        begin = (
            f"{len(rows)} of {len(of.rivals(of.board))} selections are better than {of.baseline} "
            f"({of.unit}{shares}): "
        )
        parts = [_named(row) + (f", {of.share(row)}" if bound else "") for row in rows]
        yield begin + _listed(parts, _ROOM - len(begin)) + "."
    elif of.rivals(of.board):
        yield f"No selection is shown to be better than {of.baseline}" + (
            f"; {bound['selection']}, which knows the answer, is ({_change(bound)})."
            if bound
            else "."
        )


def _between(of: _Facts) -> Iterable[str]:
    """Tell if the best differs from the others that are better: paired over seeds between them."""
    rows = of.shown(of.board, BETTER)
    if len(rows) < 2:
        return
    best = rows[0]["selection"]
    alike: list[str] = []
    worse: list[str] = []
    for row in rows[1:]:
        found = between(of.series(row["selection"]), of.series(best), of.reading)
        if found is None:
            continue
        (alike if found.verdict == UNSHOWN else worse).append(
            f"{row['selection']} {fixed(found.difference, 3, signed=True)}"
        )
    if not alike and not worse:
        return
    begin = f"Against {best} itself, paired over seeds, "
    parts = [f"no difference is shown for {_listed(alike, 170)}"] if alike else []
    parts += [f"worse are {_listed(worse, 170)}"] if worse else []
    yield begin + "; ".join(parts) + "."


def between(own: Mapping[int, float], other: Mapping[int, float], how: Reading) -> Paired | None:
    """Return two selections' paired difference over common seeds; None for fewer than two."""
    seeds = [seed for seed in own if seed in other]
    if len(seeds) < 2:
        return None
    lower = how.measure["lower_is_better"]
    return paired([own[s] for s in seeds], [other[s] for s in seeds], lower_is_better=lower)


def _rest(of: _Facts) -> Iterable[str]:
    worse = [_named(row) for row in of.shown(of.board, WORSE)]
    unshown = [
        f"{_named(row)} ({fixed(row.get('low'), 3, signed=True)} to "
        f"{fixed(row.get('high'), 3, signed=True)})"
        for row in of.shown(of.board, UNSHOWN)
        if row.get("low") is not None
    ]
    parts = [f"worse than {of.baseline}: {_listed(worse, 170)}"] if worse else []
    parts += [f"no difference shown: {_listed(unshown, 170)}"] if unshown else []
    if parts:
        said = "; ".join(parts)
        yield said[0].upper() + said[1:] + "."


def _by_target(of: _Facts) -> Iterable[str]:
    """Name the best on each target, and who is not better on all of them."""
    boards = [of.reading.boards[t] for t in of.reading.targets if t in of.reading.boards]
    if len(boards) < 2:
        return
    parts = []
    for board in boards:
        row = reading_.winner(board, of.reading)
        parts.append(f"{board['target']}: {_named(row) if row else 'none'}")
    better = [{row["selection"] for row in of.shown(board, BETTER)} for board in boards]
    some = [
        f"{row['selection']} ({sum(row['selection'] in names for names in better)})"
        for row in of.shown(of.board, BETTER)
        if not all(row["selection"] in names for names in better)
    ]
    rest = f" Better on some of the {len(boards)} only: {_listed(some, 120)}." if some else ""
    yield f"Best by target: {_listed(parts, _ROOM - 20 - len(rest))}.{rest}"


def _elsewhere(of: _Facts) -> Iterable[str]:
    """Tell the losses on the pool's sample of the selections that are better."""
    board = reading_.by_measure(of.all, of.reading).get("pool_loss")
    names = [row["selection"] for row in of.shown(of.board, BETTER)]
    if board is None or of.reading.measure["name"] == "pool_loss" or not names:
        return
    rows = {row["selection"]: row for row in board["rows"]}
    first = rows.get(names[0])
    if first is None:
        return
    others = [
        rows[name]
        for name in names[1:]
        if name in rows and rows[name].get("difference") is not None
    ]
    others.sort(key=lambda row: row["difference"] or 0.0)
    more = ""
    if len(others) == 1:
        more = f"; {_named(others[0])}"
    elif others:
        more = f"; the others that are better from {_named(others[0])} to {_named(others[-1])}"
    yield f"On random documents of the pool: {names[0]} is {_against(of, first)}{more}."


def _questions(of: _Facts) -> Iterable[str]:
    """Tell the accuracy on questions: of the baseline, and of the best selection."""
    parts = []
    for name in ("accuracy", "exact_match"):
        boards = [
            board
            for board in of.all.get("leaderboards") or []
            if board["measure"] == name and reading_.setting_of(board) == of.reading.setting
        ]
        if not boards:
            continue
        board = next((board for board in boards if board["target"] is None), boards[0])
        label = next(m["label"].lower() for m in of.all["measures"] if m["name"] == name)
        means = {row["selection"]: row["mean"] for row in board["rows"]}
        best = max(of.rivals(board), key=lambda row: row["mean"], default=None)
        if best is not None and of.baseline in means:
            part = f"{label} on {board['target'] or 'the mean over targets'} is "
            part += f"{means[of.baseline]:.3f} with {of.baseline}, {best['mean']:.3f} with the best"
            if best["mean"] > means[of.baseline]:
                part += f", {best['selection']} ({best.get('verdict') or UNSHOWN})"
            parts.append(part)
    if parts:
        yield f"Questions: {'; '.join(parts)}."


def _laws(of: _Facts) -> Iterable[str]:
    """Compute multipliers on the mean over targets, a sentence for each axis."""
    for axis, words in (("tokens", "as many tokens"), ("compute", "as much compute")):
        known = [
            (item["selection"], multiplier)
            for item in of.all.get("scaling") or []
            if item["axis"] == axis and item["target"] == of.board["target"]
            if (multiplier := item.get("multiplier")) and multiplier.get("value") is not None
        ]
        if not known:
            continue
        outside = [bool(made.get("outside")) for _, made in known]
        begin = f"Times {words} that {of.baseline} needs for the same loss, by the laws: "
        end = "" if not any(outside) else "; * read outside the measured range"
        end = "; all read outside the measured range" if all(outside) else end
        parts = []
        for (name, made), mark in zip(known, outside, strict=True):
            interval = reading_.multiplier_interval(made)
            said = f"{name} {reading_.multiplier(made['value'])}"
            said += f" ({interval})" if interval else ""
            parts.append(said + (" *" if mark and not all(outside) else ""))
        yield f"{begin}{_listed(parts, _ROOM - len(begin) - len(end))}{end}."


def _predictions(of: _Facts) -> Iterable[str]:
    """Name the cheap numbers that correlate with the loss, and those without a shown relation."""
    labels = {metric["name"]: metric["label"] for metric in METRICS}
    known = [
        (item["r"], item)
        for item in of.all.get("predictions") or []
        if item["measure"] == of.reading.measure["name"] and item.get("r") is not None
        if item["n"] >= FEW_POINTS
    ]
    known.sort(key=lambda pair: -abs(pair[0] or 0.0))
    clear: list[str] = []
    unclear: list[str] = []
    for r, item in known:
        low, high = item.get("low"), item.get("high")
        said = f"{labels.get(item['metric'], item['metric'])} {fixed(r, 2, signed=True)}"
        if low is not None and high is not None and (low > 0 or high < 0):
            interval = f"{fixed(low, 2, signed=True)} to {fixed(high, 2, signed=True)}"
            more = "" if clear else f" (95 % interval {interval}, {item['n']} points)"
            clear.append(said + more)
        else:
            unclear.append(said)
    parts = [_listed(clear, 200)] if clear else []
    parts += [f"no relation shown: {_listed(unclear, 120)}"] if unclear else []
    if parts:
        label = of.reading.measure["label"].lower()
        yield f"Correlation of cheap numbers with the {label} within targets: {'; '.join(parts)}."


def _named(row: Row) -> str:
    return f"{row['selection']} {_change(row)}"


def _change(row: Row) -> str:
    return fixed(row.get("difference"), 3, signed=True)


def _listed(parts: Sequence[str], room: int) -> str:
    """Join as "a; b; and 4 more": as many as there is room for, but at least one."""
    taken, length = 0, 0
    for part in parts:
        length += len(part) + 2
        if taken and length > room:
            break
        taken += 1
    left = len(parts) - taken
    return "; ".join(parts[:taken]) + (f"; and {left} more" if left else "")


def warnings(
    plan: ComparePlan,
    chosens: Sequence[Chosen],
    grid: Mapping[Key, str],
    outcomes: Mapping[str, Any],
    sets: Sequence[EvaluationSet],
) -> list[str]:
    """Return the reasons for distrust that the comparison itself knows."""
    lines = []
    left = len({name for name in grid.values() if name not in outcomes})
    if left:
        lines.append(f"{left} of {len(set(grid.values()))} trainings are not done yet.")
    short = sorted({item.selection for item in chosens if item.short})
    if short:
        lines.append(f"Less than the budget was chosen by: {', '.join(short)}.")
    outside = {item.selection: item.missing for item in chosens if item.missing}
    for name, count in outside.items():
        most = any(2 * item.missing > item.documents for item in chosens if item.selection == name)
        asked = "; was it chosen from another one, or read by another field?" if most else "."
        lines.append(f"{name}: {count:,} of its documents are not in the pool{asked}")
    for item in sets:
        if item.kind == "text" and item.rows < FEW_DOCUMENTS:
            of = f"the validation of {item.target}" if item.target else "the sample of the pool"
            lines.append(f"Losses on {of} rest on {item.rows} documents.")
    return lines
