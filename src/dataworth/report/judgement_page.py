"""The page of a judgement: one self-contained file, readable without script."""

from __future__ import annotations

import os
from pathlib import Path

from dataworth.report import render as pages
from dataworth.results import doubts
from dataworth.results.judgement import Metrics
from dataworth.results.selection import Target
from dataworth.results.verdict import Verdict, of_targets


def write(judgement: Metrics, path: str | os.PathLike[str]) -> Path:
    """Write the page, under a temporary name first; returns its path.

    Raises DataworthError when the file cannot be written.
    """
    return pages.write(render(judgement), path)


def render(judgement: Metrics) -> str:
    """Return the page as HTML, below 2 MB: excerpts give way when there is too much."""
    return pages.page(
        "judgement.html",
        [{"characters": characters} for characters in (500, 200, 60)],
        judgement=judgement,
        targets=targets(judgement),
        answer=verdict(judgement),
        doubts=doubts.judgement(judgement),
    )


def verdict(judgement: Metrics) -> Verdict:
    """Return whether the selection is nearer to its targets than random ones."""
    return of_targets(judgement.get("targets"), judgement["selection"]["documents"])


def targets(judgement: Metrics) -> list[Target]:
    """Return the targets, below each its validation set as one more row."""
    rows: list[Target] = []
    for target in judgement.get("targets") or []:
        rows.append(
            {"name": target["name"], "documents": target["documents"], "gain": target.get("gain")}
        )
        if checked := target.get("validation"):
            name = f"{target['name']}, validation"
            rows.append(
                {"name": name, "documents": checked["documents"], "gain": checked.get("gain")}
            )
    return rows
