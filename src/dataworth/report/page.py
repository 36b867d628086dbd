"""`report.html`: one self-contained file, readable without script, drawn from the metrics alone."""

from __future__ import annotations

import os
from pathlib import Path

from dataworth.report import render as pages
from dataworth.results import doubts, verdict
from dataworth.results.selection import Metrics


def write(metrics: Metrics, path: str | os.PathLike[str]) -> Path:
    """Write the report, under a temporary name first; returns its path.

    Raises DataworthError when the file cannot be written.
    """
    return pages.write(render(metrics), path)


def render(metrics: Metrics) -> str:
    """Return the report as HTML, below 2 MB: the samples' texts give way when there is too much."""
    return pages.page(
        "selection.html",
        [{"characters": characters} for characters in (6_000, 2_000, 600, 120)],
        metrics=metrics,
        answer=verdict.verdict(metrics),
        doubts=doubts.selection(metrics),
        script=pages.table_script() if metrics.get("documents") else None,
    )
