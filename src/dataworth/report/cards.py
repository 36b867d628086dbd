"""Sample documents as cards: where each stands, what drove its score, and how it reads."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from dataworth.results import format as f
from dataworth.results.inert import markup, split_excerpt, visible, word
from dataworth.results.selection import Driver, Metrics, Sample

SHOWN = 6  # documents a group
FIRST_CHARACTERS = 460
FIRST_LINES = 9
SHOWN_DRIVERS = 9
MOST_DRIVERS = 40

# (key, heading, what it is)
_GROUPS = (
    ("top", "Top", "First in the order of choice."),
    ("bottom", "Bottom", "The lowest utility among eligible documents."),
    ("dropped", "Dropped", "A random few of those that a step dropped before the cut."),
)


def samples(metrics: Metrics, characters: int) -> str:
    """All groups of sample documents, each text cut to `characters`."""
    given = metrics.get("samples") or {}
    units = {u["column"]: u.get("unit") or "" for u in metrics.get("utilities") or []}
    drawn = {
        key: [_card(sample, units, characters) for sample in list(group or [])[:SHOWN]]
        for key, group in given.items()
        if isinstance(group, list)
    }
    blocks = {
        key: _group(heading, lede, f'<div class="docs">{"".join(drawn[key])}</div>')
        for key, heading, lede in _GROUPS
        if drawn.get(key)
    }
    kept, missed = drawn.get("just_kept"), drawn.get("just_missed")
    if kept or missed:
        sides = "".join(
            f"<div><h3>{title}</h3>{''.join(cards or ['<p class=none>None.</p>'])}</div>"
            for title, cards in (("Just kept", kept), ("Just missed", missed))
        )
        blocks["cut"] = _group(
            "Around the cut",
            "If these two columns look alike, the exact budget matters little.",
            f'<div class="docs">{sides}</div>',
        )
    return "".join(blocks[key] for key in ("top", "cut", "bottom", "dropped") if key in blocks)


def _group(heading: str, lede: str, body: str) -> str:
    return f'<div class="group"><h3>{heading}</h3><p class="lede">{lede}</p>{body}</div>'


def _card(sample: Sample, units: Mapping[str, str], characters: int) -> str:
    return (
        f'<article class="card"><header>{_headline(sample, units)}</header>'
        f"{_where(sample)}{chips(sample)}{_text(sample, characters)}</article>"
    )


def _headline(sample: Sample, units: Mapping[str, str]) -> str:
    parts = []
    if sample.get("rank") is not None:
        parts.append(f'<span class="rank">#{f.count(sample.get("rank"))}</span>')
    if sample.get("drop"):
        parts.append(f'<span class="rank">dropped: {word(sample["drop"], 60)}</span>')
    utility = f.finite(sample.get("utility"))
    if utility is not None:
        unit = visible(units.get(sample.get("column") or "", ""), 40)
        below = " below" if utility < 0 else ""
        parts.append(
            f'<span><span class="value{below}">{f.real(utility, signed=True)}</span> '
            f'<span class="tag">{escape(unit)}</span></span>'
        )
    if (sample.get("copies") or 1) > 1:
        parts.append(f'<span class="tag">chosen {f.count(sample.get("copies"))} times</span>')
    for field, value in list((sample.get("groups") or {}).items())[:6]:
        shown = "(missing)" if value is None else value
        parts.append(f'<span class="tag">{word(field, 30)} {word(shown, 40)}</span>')
    others = {k: v for k, v in (sample.get("utilities") or {}).items() if k != sample.get("column")}
    for column, worth in list(others.items())[:4]:
        name = word(column.removeprefix("utility:"), 40)
        parts.append(f'<span class="tag">{name} {f.real(worth, signed=True)}</span>')
    return "".join(parts)


def _where(sample: Sample) -> str:
    parts = [word(sample["uid"], 20)]
    if sample.get("file"):
        # The end of a path says more than its beginning.
        path = visible(sample["file"])
        path = path if len(path) <= 60 else "…" + path[-59:]
        at = f" @ {f.count(sample['offset'])}" if sample.get("offset") is not None else ""
        parts.append(f"<bdi>{escape(path)}</bdi>{at}")
    if sample.get("id"):
        parts.append(f"id {word(sample['id'], 60)}")
    return f'<p class="where">{" · ".join(parts)}</p>'


def chips(sample: Sample) -> str:
    """What drove the utility, as chips whose tint is the size of the contribution."""
    drivers = [d for d in sample.get("why") or [] if f.finite(d["contribution"]) is not None]
    if not drivers:
        return ""
    largest = max(abs(driver["contribution"]) for driver in drivers) or 1
    drawn = [_chip(driver, largest) for driver in drivers[:MOST_DRIVERS]]
    rest = f.finite(sample.get("rest"))
    if rest is not None:
        drawn.insert(
            min(SHOWN_DRIVERS, len(drawn)),
            f'<span class="chip plain">all else {f.real(rest, signed=True)}</span>',
        )
    first = f'<div class="chips">{"".join(drawn[: SHOWN_DRIVERS + 1])}</div>'
    more = drawn[SHOWN_DRIVERS + 1 :]
    if not more:
        return first
    return (
        f"{first}<details><summary>{len(more)} more</summary>"
        f'<div class="chips">{"".join(more)}</div></details>'
    )


def _chip(driver: Driver, largest: float) -> str:
    value = driver["contribution"]
    tint = 0.07 + 0.3 * abs(value) / largest
    kind = "chip loss" if value < 0 else "chip"
    count = driver.get("count") or 1
    times = f"<span>{f.TIMES}{f.count(count)}</span>" if count > 1 else ""
    return (
        f'<span class="{kind}" style="--a:{tint:.2f}">{word(driver["label"], 48)}'
        f"{times}<b>{f.real(value, signed=True)}</b></span>"
    )


def _text(sample: Sample, characters: int) -> str:
    text = sample["text"][:characters]
    whole = max(sample.get("characters") or 0, len(sample["text"]))
    if not text:
        return '<p class="none">(empty)</p>'
    first, rest = split_excerpt(text, FIRST_CHARACTERS, FIRST_LINES)
    # Fewer than a hundred characters more are not worth a click.
    if rest and len(rest) < 100 and rest.count("\n") < 4:
        first, rest = text, ""
    body = f'<div class="doc" dir="auto">{markup(first)}</div>'
    left = whole - len(text)
    end = f'<p class="tag">{f.count(left)} more characters in the pool</p>' if left > 0 else ""
    if not rest:
        return body + end
    return (
        f"{body}<details><summary>{f.count(len(rest))} more characters</summary>"
        f'<div class="doc more" dir="auto">{markup(rest)}</div>{end}</details>'
    )
