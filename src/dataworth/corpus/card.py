"""The data set card: a README.md by which HF `load_dataset(folder)` finds the shards."""

from __future__ import annotations

from pathlib import Path

import yaml

from dataworth.corpus.files import write_whole
from dataworth.corpus.shards import SPLIT, OutputFormat

_SIZES = ((1_000, "1K"), (10_000, "10K"), (100_000, "100K"), (1_000_000, "1M"))
_LARGE = ((10_000_000, "10M"), (100_000_000, "100M"), (1_000_000_000, "1B"))


def card(
    form: OutputFormat,
    *,
    body: str,
    rows: int | None = None,
    folder: str = "data",
) -> str:
    """The text of a card: a YAML header that pins the shards in `folder`, then `body` (Markdown).

    `rows`: how many the data set has, for its size category.
    """
    pattern = f"{SPLIT}-*.{form}"
    path = pattern if folder in ("", ".") else f"{folder}/{pattern}"
    header: dict[str, object] = {
        "configs": [
            {"config_name": "default", "data_files": [{"split": SPLIT, "path": path}]},
        ],
        "tags": ["dataworth"],
    }
    if rows is not None:
        header["size_categories"] = [size_category(rows)]
    text = yaml.safe_dump(header, sort_keys=False, allow_unicode=True)
    return f"---\n{text}---\n\n{body.rstrip()}\n"


def write_card(
    out: Path,
    form: OutputFormat,
    *,
    body: str,
    rows: int | None = None,
    folder: str = "data",
) -> Path:
    """Writes the card of the data set in `out`; returns its path. Raises DataworthError."""
    path = out / "README.md"
    text = card(form, body=body, rows=rows, folder=folder)
    write_whole(path, text.encode("utf-8"))
    return path


def size_category(rows: int) -> str:
    """The Hugging Face Hub's name for a number of rows, such as "10K<n<100K"."""
    below = ""
    for limit, name in _SIZES + _LARGE:
        if rows < limit:
            return f"{below}<n<{name}" if below else f"n<{name}"
        below = name
    return f"n>{below}"
