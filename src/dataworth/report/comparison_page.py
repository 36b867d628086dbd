"""The page of a comparison: one self-contained file, readable without script."""

from __future__ import annotations

import os
from itertools import accumulate
from pathlib import Path

from dataworth.report import comparison_boards as boards
from dataworth.report import comparison_evidence as evidence
from dataworth.report import comparison_laws as laws
from dataworth.report import render as pages
from dataworth.results import doubts
from dataworth.results import reading as reading_
from dataworth.results.comparison import Comparison

_GIVE_WAY = ("curves", "overlap", "composition", "scaling", "predictions", "targets")


def write(comparison: Comparison, path: str | os.PathLike[str]) -> Path:
    """Write the page, under a temporary name first; returns its path.

    Raises DataworthError when the file cannot be written.
    """
    return pages.write(render(comparison), path)


def render(comparison: Comparison) -> str:
    """Return the page, below 2 MB: the sections with the most marks give way if need be."""
    reading = reading_.read(comparison)
    left_out = accumulate(([name] for name in _GIVE_WAY), initial=list[str]())
    return pages.page(
        "comparison.html",
        [{"left_out": names} for names in left_out],
        record=comparison,
        reading=reading,
        seeds=reading_.seeds(comparison),
        doubts=doubts.comparison(comparison, reading),
        board_=boards,
        laws=laws,
        evidence=evidence,
    )
