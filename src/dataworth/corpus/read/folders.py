"""Labels out of the names of folders: `lang=en`, as Hive, Spark and Arrow write partitions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc

_NULL: Final = "__HIVE_DEFAULT_PARTITION__"
"""The folder of the rows that have no value."""


def folder_keys(path: str) -> dict[str, str | None]:
    """Return the keys (`name=value`) of the folders on a path or URL; the innermost one counts.

    Percent signs are decoded, as those who write such folders encode what a name cannot hold.
    """
    if path.startswith(("http://", "https://")):
        path = re.split(r"[?#]", path)[0]
    keys: dict[str, str | None] = {}
    for folder in path.split("/")[:-1]:
        name, equals, value = folder.partition("=")
        if name and equals:
            keys[unquote(name)] = None if value == _NULL else unquote(value)
    return keys


def with_folder_keys(
    columns: dict[str, pa.Array], path: str, fields: Mapping[str, str]
) -> dict[str, pa.Array]:
    """Return label columns where rows without a value have that of the folders on their path.

    `fields`: the field that each label column is read from.
    """
    keys = folder_keys(path)
    return {
        name: pc.fill_null(column, value)
        if (value := keys.get(fields.get(name, ""))) is not None and column.null_count
        else column
        for name, column in columns.items()
    }
