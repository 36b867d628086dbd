"""Features: documents → numbers, by settings alone; kept as columns of their table."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.table.table import EMBEDDING
from dataworth.table.wide import WideColumn

DTYPES = ("float16", "float32", "float64")


class Feature(Protocol):
    """Documents → numbers, by settings alone: equal texts have equal rows."""

    @property
    def name(self) -> str:
        """The name of its columns and of their folder."""
        ...

    @property
    def dimension(self) -> int:
        """Numbers for each document."""
        ...

    @property
    def dtype(self) -> str:
        """The dtype that they are stored in by default: one of `DTYPES`."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """The numbers' names, if each means something by itself; else empty."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """All that the numbers depend on, as JSON: options, and what tells a model from another."""
        ...

    def values(self, documents: Documents) -> NDArray[np.floating[Any]]:
        """Compute the numbers, [documents, dimension], finite."""
        ...


@runtime_checkable
class Works(Protocol):
    """A feature that needs something around its work, such as one thread for each worker."""

    def working(self) -> AbstractContextManager[None]:
        """Return the context entered in every process and thread that computes."""
        ...


def fingerprint(feature: Feature) -> str:
    """Return twelve hexadecimal digits that identify a feature with its settings."""
    known = {"feature": feature.name, "settings": dict(feature.settings)}
    text = json.dumps(known, sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def working(feature: object) -> AbstractContextManager[None]:
    """Return the context that a feature works in; an empty one if it asks for none."""
    return feature.working() if isinstance(feature, Works) else contextlib.nullcontext()


@dataclass(frozen=True)
class FeatureColumn(WideColumn):
    """A feature of all documents of a table. Named numbers are columns: see `column`."""

    feature: Feature

    @staticmethod
    def called(feature: Feature) -> str:
        """Return the column name of a feature without named numbers."""
        return f"{EMBEDDING}{feature.name}"

    @property
    def folder(self) -> Path:
        """The folder of the numbers."""
        return self.table.folder / self.table.layout.sources[0].folder

    def column(self, name: str) -> NDArray[Any]:
        """Return one named number of every document, [rows]."""
        return self.table.column(f"{name}:{self.feature.name}")
