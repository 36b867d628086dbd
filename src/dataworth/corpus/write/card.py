"""The dataset card: a README.md by which HF `load_dataset(folder)` finds the shards."""

from __future__ import annotations

from pathlib import Path

import yaml

from dataworth.corpus.files import write_whole
from dataworth.corpus.write.shards import SPLIT, OutputFormat

_SIZES = ((1_000, "1K"), (10_000, "10K"), (100_000, "100K"), (1_000_000, "1M"))
_LARGE = ((10_000_000, "10M"), (100_000_000, "100M"), (1_000_000_000, "1B"))


def card(
    form: OutputFormat,
    *,
    body: str,
    rows: int | None = None,
    folder: str = "data",
    identity: str = "",
) -> str:
    """Return a card: a YAML header that pins the shards in `folder`, then `body` (Markdown).

    `rows`: how many the dataset has, for its size category. `identity`: what tells its content
    from that of others. `load_dataset` keeps what it read by the folder's last name and the header
    alone: with equal headers, it would hand out the rows that another folder, or this one, had
    before.
    """
    pattern = f"{SPLIT}-*.{form}"
    path = pattern if folder in ("", ".") else f"{folder}/{pattern}"
    config: dict[str, object] = {"config_name": "default"}
    if identity:
        config["description"] = f"dataworth {identity}"
    config["data_files"] = [{"split": SPLIT, "path": path}]
    header: dict[str, object] = {"configs": [config], "tags": ["dataworth"]}
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
    identity: str = "",
) -> Path:
    """Write the card of the dataset in `out`; return its path. Raises DataworthError."""
    path = out / "README.md"
    text = card(form, body=body, rows=rows, folder=folder, identity=identity)
    write_whole(path, text.encode("utf-8"))
    return path


def size_category(rows: int) -> str:
    """Return the Hugging Face Hub's name for a number of rows, such as "10K<n<100K"."""
    below = ""
    for limit, name in _SIZES + _LARGE:
        if rows < limit:
            return f"{below}<n<{name}" if below else f"n<{name}"
        below = name
    return f"n>{below}"
