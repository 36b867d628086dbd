"""Ways in which a run may be done, and what of it must not depend on them.

Whatever knows of engines, units and the files of a run is here, in one place.
"""

from __future__ import annotations

import contextlib
import pickle
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dataworth
from dataworth.corpus import units
from dataworth.engine.local import Engine

Utilities = dict[int, tuple[float, ...]]


def cut_units(patch: pytest.MonkeyPatch, size: int) -> None:
    """Let units have about so many bytes; files that are smaller are no longer put together."""
    for name in ("split", "parts_of"):
        function = getattr(units, name, None)
        if function is not None:
            patch.setattr(function, "__defaults__", (size,))


def columns_of(out: Path) -> dict[str, bytes]:
    """The column files of a run, by their place in it, byte for byte."""
    files = [p for p in (out / "table").rglob("*") if p.suffix in (".parquet", ".npy")]
    assert files, f"{out} has no table"
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def rows_of(scores: dataworth.Scores, *names: str) -> list[dict[str, Any]]:
    """The table's rows, each a dictionary of some columns."""
    return scores.to_arrow().select(list(names)).to_pylist()  # type: ignore[no-any-return]


def utilities(scores: dataworth.Scores) -> Utilities:
    """The utilities of each uid, NaN for none."""
    names = scores.table.utilities
    return {
        row["uid"]: tuple(np.nan if row[name] is None else row[name] for name in names)
        for row in rows_of(scores, "uid", *names)
    }


def dropped(scores: dataworth.Scores) -> dict[int, str | None]:
    """The drop reason of each uid."""
    return {row["uid"]: row["drop"] for row in rows_of(scores, "uid", "drop")}


def assert_equal(found: Utilities, expected: Utilities, tolerance: float) -> None:
    """Raise unless two runs agree; `tolerance`: share of the largest utility, 0 for bit by bit."""
    assert found.keys() == expected.keys()
    one, two = (np.array([values[uid] for uid in sorted(expected)]) for values in (found, expected))
    assert np.array_equal(np.isnan(one), np.isnan(two))
    if tolerance == 0 or not one.size:
        assert np.array_equal(one, two, equal_nan=True)
    else:
        largest = np.nanmax(np.abs(two))
        np.testing.assert_allclose(one, two, rtol=0, atol=tolerance * largest, equal_nan=True)


def annotate(scores: dataworth.Scores, texts: Sequence[str]) -> dict[str, list[Any]]:
    """The columns of the run's last step for some texts."""
    *_, step = scores.steps.values()
    return step({"text": list(texts)})


def leave(documents: int, raw_bytes: int) -> None:
    """Take note of progress: not at all."""


@dataclass(frozen=True)
class OwnEngine(Engine):
    """An engine of the tests' own: every item from its pickle, in another working folder.

    `sizes`: bytes of each pickled work, one for each call of `map`.
    """

    workers: int = 1
    sizes: list[int] = field(default_factory=list)

    def run(self, work: bytes, item: Any, number: int) -> Any:
        """Return the work's result on one item, which was pickled too."""
        return pickle.loads(pickle.dumps(pickle.loads(work)(item, leave)))

    def order(self, count: int) -> Sequence[int]:
        """Return the numbers of the items in the order in which they run."""
        return range(count)

    def map(self, work: Any, items: Any, **told: Any) -> Iterator[Any]:
        """Results in the order of the items."""
        pickled = pickle.dumps(work)
        self.sizes.append(len(pickled))
        frozen = [pickle.dumps(item) for item in items]
        results: dict[int, Any] = {}
        with tempfile.TemporaryDirectory() as other, contextlib.chdir(other):
            for number in self.order(len(frozen)):
                results[number] = self.run(pickled, pickle.loads(frozen[number]), number)
            assert not list(Path(other).iterdir())  # nothing is left where a worker happens to be
        yield from (results[number] for number in range(len(frozen)))


@dataclass(frozen=True)
class Twice(OwnEngine):
    """Runs every item twice: a lost one may come again long after it was done."""

    def order(self, count: int) -> Sequence[int]:
        """Return the numbers from the last to the first, then the even ones, then the odd ones."""
        return [*range(count - 1, -1, -1), *range(0, count, 2), *range(1, count, 2)]


class KilledError(BaseException):
    """Stands for the end of the process."""


@dataclass(frozen=True)
class Killing(OwnEngine):
    """Ends in the middle of one item of one call of `map`, counted from 0; -1: the last item."""

    stage: int = 0
    item: int = 0

    def run(self, work: bytes, item: Any, number: int) -> Any:
        """Return a result, or raise KilledError when the first documents of the item are done."""
        if len(self.sizes) - 1 != self.stage or number != self.victim:
            return super().run(work, item, number)

        def kill(documents: int, raw_bytes: int) -> None:
            raise KilledError

        pickle.loads(work)(item, kill)
        raise KilledError  # an item without documents

    @property
    def victim(self) -> int:
        """Number of the item."""
        return self.item

    def map(self, work: Any, items: Any, **told: Any) -> Iterator[Any]:
        """Results in the order of the items, until it ends."""
        items = list(items)
        if self.item < 0:
            object.__setattr__(self, "item", len(items) + self.item)
        return super().map(work, items, **told)


@dataclass(frozen=True)
class Refusing(OwnEngine):
    """Does no work."""

    def map(self, work: Any, items: Any, **told: Any) -> Iterator[Any]:
        """Raise AssertionError."""
        raise AssertionError(f"work was asked for: {told}")
