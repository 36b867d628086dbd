"""Rows that share a key meet: the same as a plain dictionary, killed, shuffled, oversize or not."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dataworth.corpus.read.formats import SourceFile
from dataworth.corpus.units import Unit
from dataworth.engine.components import close_pairs
from dataworth.engine.grouping import Groups, Pairs, connect
from dataworth.engine.local import Engine, Tick
from dataworth.engine.regroup import Regrouped, regroup, scratch_bytes
from dataworth.engine.shuffle import Keyed, mixed, unmixed

FILE = SourceFile("/pool/a.jsonl", "jsonl", None, 1000, 0.0)


@dataclass(frozen=True)
class Pool:
    """Rows in memory, dealt out to units in order: `keys` [n, k], `uid` [n], `rank` [n]."""

    keys: NDArray[np.uint64]
    uid: NDArray[np.uint64]
    rank: NDArray[np.float64]
    units: int = 3
    block: int = 7
    carry: bool = False

    def edges(self, unit: int) -> tuple[int, int]:
        return len(self.uid) * unit // self.units, len(self.uid) * (unit + 1) // self.units

    def all_units(self) -> list[Unit]:
        return [Unit(n, FILE, 0, n * 10, n * 10 + 10) for n in range(self.units)]

    def __call__(self, unit: Unit, tick: Tick) -> Iterator[Keyed]:
        low, high = self.edges(unit.index)
        for start in range(low, high, self.block):
            span = slice(start, min(start + self.block, high))
            tick(span.stop - span.start, 0)
            place = np.arange(span.start, span.stop) - low
            carried = {"double": pa.array(2 * self.uid[span])} if self.carry else {}
            yield Keyed(
                place,
                self.keys[span],
                self.uid[span],
                self.rank[span],
                int(place[-1]) + 1,
                carried,
            )


def pool_of(keys: Any, uid: Any = None, rank: Any = None, **options: Any) -> Pool:
    table = np.array(keys, np.uint64)
    table = table[:, None] if table.ndim == 1 else table
    uids = np.arange(1, len(table) + 1) if uid is None else uid
    ranks = np.zeros(len(table)) if rank is None else rank
    return Pool(table, np.array(uids, np.uint64), np.array(ranks, np.float64), **options)


def all_pairs(groups: Groups) -> Pairs:
    return connect(groups)


def sizes(groups: Groups) -> dict[str, pa.Array]:
    """The size and the best uid of each row's group."""
    many = groups.sizes
    best = groups.uid[groups.starts[:-1]]
    out = {
        "size": pa.array(np.repeat(many, many)),
        "best": pa.array(np.repeat(best, many)),
        "key": pa.array(np.repeat(groups.key, many)),
    }
    return out | dict(groups.carried)


def run(pool: Pool, folder: Path, decide: Any = all_pairs, engine: Any = None, **options: Any):
    return regroup(pool.all_units(), pool, decide, folder, engine or Engine(1), **options)


def naive(pool: Pool) -> list[frozenset[int]]:
    """Components of rows, by a dictionary of keys."""
    component = {row: {row} for row in range(len(pool.uid))}
    for key in set(pool.keys.reshape(-1).tolist()) - {0}:
        rows = np.flatnonzero((pool.keys == key).any(1)).tolist()
        joined = set().union(*(component[row] for row in rows))
        for row in joined:
            component[row] = joined
    return [frozenset(component[row]) for row in range(len(pool.uid))]


def best_of(pool: Pool) -> list[int]:
    return [min(rows, key=lambda row: (pool.rank[row], pool.uid[row], row)) for rows in naive(pool)]


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


rows = st.lists(
    st.tuples(
        st.lists(st.integers(0, 6), min_size=2, max_size=2),
        st.integers(1, 9),
        st.integers(0, 2),
    ),
    max_size=40,
)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(rows, st.sampled_from([1 << 20, 512, 1]), st.integers(1, 4))
def test_components_are_those_of_a_dictionary(
    tmp_path_factory: pytest.TempPathFactory, given: Any, memory: int, units: int
) -> None:
    """Also where no bucket fits into memory, so that groups come in pieces."""
    pool = pool_of(
        [keys for keys, _, _ in given] or np.empty((0, 2)),
        [uid for _, uid, _ in given],
        [rank for _, _, rank in given],
        units=units,
    )
    folder = tmp_path_factory.mktemp("regroup")
    found = run(pool, folder, memory=memory)
    assert found.components().tolist() == best_of(pool)


@pytest.mark.parametrize("memory", [1 << 20, 1])
def test_columns_join_back_by_row(tmp_path: Path, memory: int) -> None:
    keys = [5, 7, 5, 0, 8, 5, 7]
    pool = pool_of(keys, uid=[10, 11, 12, 13, 14, 15, 16], rank=[0, 1, 0, 0, 0, -1, 0], carry=True)
    found = run(pool, tmp_path, sizes, memory=memory)
    columns = [found.columns(unit) for unit in range(3)]
    joined = {
        name: [value for part in columns for value in part[name].to_pylist()] for name in columns[0]
    }
    expected = {
        "key": [5, 7, 5, None, None, 5, 7],
        "double": [20, 22, 24, None, None, 30, 32],
        "best": [15, 16, 15, None, None, 15, 16],
    }
    # The best row of a key may be alone in its piece: nothing is said of it then.
    sure = 7 if memory > 1 else 5
    for name, values in expected.items():
        assert joined[name][:sure] == values[:sure]
    if memory > 1:
        assert joined["size"] == [3, 2, 3, None, None, 3, 2]


def test_rows_alone_are_handed_over_if_asked_for(tmp_path: Path) -> None:
    pool = pool_of([5, 7, 5, 0])
    found = run(pool, tmp_path, sizes, singles=True)
    many = [size for unit in range(3) for size in found.columns(unit)["size"].to_pylist()]
    assert many == [2, 1, 2, None]


def test_pairs_of_a_unit(tmp_path: Path) -> None:
    """Mirrored and once each, whatever keys made them."""
    pool = pool_of([[5, 6], [5, 6], [9, 0], [7, 9]], units=2)
    found = run(pool, tmp_path, mirrored=True)
    assert [np.stack(found.pairs_of(unit), 1).tolist() for unit in (0, 1)] == [
        [[0, 1], [1, 0]],
        [[2, 3], [3, 2]],
    ]


def many(seed: int = 0, n: int = 3_000, **options: Any) -> Pool:
    draw = np.random.default_rng(seed)
    keys = draw.integers(0, 2_000, (n, 3)).astype(np.uint64) + np.uint64(1)
    return pool_of(
        keys, draw.integers(1, 2**63, n), draw.integers(0, 3, n), units=6, block=100, **options
    )


@pytest.mark.usefixtures("standing_processes")
def test_workers_and_processes_leave_the_same_bytes(tmp_path: Path) -> None:
    left = []
    for number, engine in enumerate([Engine(1), Engine(3), Engine(2, "processes")]):
        found = run(many(), tmp_path / str(number), engine=engine, memory=20_000)
        found.components()
        left.append(files(tmp_path / str(number)))
    assert len([name for name in left[0] if name.startswith("buckets")]) > 5
    assert left[0] == left[1] == left[2]


class KilledError(BaseException):
    """Stands for the end of the process."""


def test_killed_at_any_moment_and_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty moments, spread over all files that take their names."""
    replace = Path.replace
    left = -1

    def rename(self: Path, target: Path) -> Path:
        nonlocal left
        if left == 0:
            raise KilledError
        left -= 1
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", rename)
    pool = many()
    run(pool, tmp_path / "whole", memory=20_000).components()
    expected = files(tmp_path / "whole")
    moments = np.linspace(0, len(expected) - 2, 20).astype(int).tolist()
    for moment in moments:
        folder = tmp_path / "killed"
        left = moment
        with pytest.raises(KilledError):
            run(pool, folder, memory=20_000)
        left = -1
        run(pool, folder, memory=20_000).components()
        assert files(folder) == expected
        shutil.rmtree(folder)


def survivors(pool: Pool, found: Regrouped) -> dict[int, int]:
    """The uid of each text's cluster."""
    return dict(zip(pool.uid.tolist(), pool.uid[found.components()].tolist(), strict=True))


@pytest.mark.parametrize("memory", [1 << 20, 3_000])
def test_the_order_of_rows_and_units_changes_nothing(tmp_path: Path, memory: int) -> None:
    pool = many()
    order = np.random.default_rng(1).permutation(len(pool.uid))
    other = pool_of(pool.keys[order], pool.uid[order], pool.rank[order], units=4, block=33)
    assert survivors(pool, run(pool, tmp_path / "a", memory=memory)) == survivors(
        other, run(other, tmp_path / "b", memory=memory)
    )


@pytest.mark.parametrize("copies", [False, True])
def test_many_equal_keys(tmp_path: Path, copies: bool) -> None:
    """More than fit in the memory given, of different texts and of copies of one text."""
    n = 400_000
    uid = np.full(n, 9) if copies else np.arange(n)[::-1] + 5
    pool = pool_of(np.full(n, 3), uid, units=4, block=40_000)
    seen: list[int] = []

    def decide(groups: Groups) -> Pairs:
        seen.append(len(groups.row))
        return connect(groups)

    most = 100_000
    found = run(pool, tmp_path, decide, memory=64 * most)
    assert len(seen) >= 4 and max(seen) < 1.5 * most
    assert (found.components() == (0 if copies else n - 1)).all()


def test_copies_meet_across_pieces(tmp_path: Path) -> None:
    """Two texts under one key, whose copies fill many pieces: copies stay together."""
    uid = np.array([1, *[7] * 400, *[8] * 400])
    pool = pool_of(np.full(len(uid), 3), uid, units=2)

    def alike(groups: Groups) -> Pairs:
        pairs = connect(groups)
        of = dict(zip(groups.row.tolist(), groups.uid.tolist(), strict=True))
        keep = [
            of[a] == of[b] for a, b in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)
        ]
        return Pairs(pairs.first[keep], pairs.second[keep])

    found = run(pool, tmp_path, alike, memory=64 * 50)
    assert found.components().tolist() == [0, *[1] * 400, *[401] * 400]


def test_mixing_is_undone() -> None:
    keys = np.random.default_rng(0).integers(0, 2**64, 1000, np.uint64)
    assert (unmixed(mixed(keys)) == keys).all()


def test_closing_knows_ranks(tmp_path: Path) -> None:
    pairs = [(np.array([0, 1], np.uint32), np.array([1, 2], np.uint32))]
    uid = np.array([3, 2, 1, 9], np.uint64)
    rank = np.array([0.0, 1.0, 0.0, 0.0])
    assert close_pairs(pairs, rank, uid, tmp_path / "parent").tolist() == [2, 2, 2, 3]


def test_scratch_holds_what_is_written(tmp_path: Path) -> None:
    pool = many(n=20_000)
    run(pool, tmp_path).components()
    used = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert used <= scratch_bytes(20_000, 3) + 100_000
