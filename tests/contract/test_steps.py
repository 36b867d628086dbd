"""What every registered step owes, whatever it computes: its numbers are the documents' alone.

The core of the matrix runs with all tests; the whole of it, every way with every word that an
option may be, by `make test-contract`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dataworth
from contract.cases import Case, core, varied
from contract.conftest import World, chats
from contract.ways import (
    KilledError,
    Killing,
    Refusing,
    Twice,
    annotate,
    assert_equal,
    columns_of,
    cut_units,
    dropped,
    rows_of,
    utilities,
)
from dataworth.engine.local import Engine
from dataworth.methods.registry import STEPS

SMALL = 1_000_000  # bytes
CORE = core()
STEP = pytest.mark.parametrize("case", CORE, ids=str)
VARIED = [pytest.param(case, id=str(case), marks=pytest.mark.full) for case in varied()]
EVERY = pytest.mark.parametrize("case", [*(pytest.param(c, id=str(c)) for c in CORE), *VARIED])
FULL = pytest.mark.full


@EVERY
def test_a_batch_is_each_document_alone(case: Case, world: World) -> None:
    scores = world.expected(case)
    together = annotate(scores, world.texts)
    alone = [annotate(scores, [text]) for text in world.texts]
    assert together
    for name, values in together.items():
        single = [value for columns in alone for value in columns[name]]
        if case.tolerance == 0 or not name.startswith("utility:"):
            assert values == single
        else:
            some = [np.array(column, np.float64) for column in (single, values)]
            largest = np.nanmax(np.abs(some[1]))
            np.testing.assert_allclose(*some, rtol=0, atol=case.tolerance * largest)


@EVERY
def test_a_batch_of_nothing(case: Case, world: World) -> None:
    scores = world.expected(case)
    names = annotate(scores, world.texts[:2]).keys()
    assert annotate(scores, []) == {name: [] for name in names}


@EVERY
def test_what_was_saved_is_what_was_learned(case: Case, world: World, tmp_path: Path) -> None:
    """Also from another place, and for the rows that the run itself scored."""
    scores = world.expected(case)
    moved = tmp_path / "moved"
    shutil.copytree(scores.folder, moved)
    loaded = dataworth.load(moved)
    assert annotate(loaded, world.texts) == annotate(scores, world.texts)
    assert_equal(utilities(loaded), utilities(scores), 0)
    assert loaded.steps.keys() == scores.steps.keys()


@EVERY
def test_three_workers(case: Case, world: World, tmp_path: Path) -> None:
    expected = columns_of(world.expected(case).folder)
    assert len(expected) > 3
    world.score(case, tmp_path / "out", engine=3)
    assert columns_of(tmp_path / "out") == expected


def _processes() -> Iterator[Any]:
    """Cases; a start of processes that import torch takes seconds: one of each kind is core."""
    kinds = set()
    for case in CORE:
        first = case.tolerance not in kinds
        kinds.add(case.tolerance)
        yield pytest.param(case, id=str(case), marks=() if first else FULL)


@pytest.mark.usefixtures("standing_processes")
@pytest.mark.parametrize("case", [*_processes(), *VARIED])
def test_processes(case: Case, world: World, tmp_path: Path) -> None:
    world.score(case, tmp_path / "out", engine=Engine(2, "processes"))
    assert columns_of(tmp_path / "out") == columns_of(world.expected(case).folder)


@EVERY
def test_items_that_run_twice_elsewhere_and_out_of_order(
    case: Case, world: World, tmp_path: Path
) -> None:
    engine = Twice()
    scores = world.score(case, tmp_path / "out", engine=engine)
    assert columns_of(tmp_path / "out") == columns_of(world.expected(case).folder)
    assert dropped(scores) == dropped(world.expected(case))
    assert len(engine.sizes) >= 2
    assert max(engine.sizes) < SMALL  # what was learned travels as a path


@EVERY
def test_units_cut_otherwise(
    case: Case, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = world.expected(case)
    ways: dict[str, tuple[int, Path]] = {
        "whole files": (2**24, world.pool),
        "a document or so": (150, world.pool),
        "other files": (2**24, Path("other")),
    }
    for number in range(4):
        world.write(f"other/{number}.jsonl", world.rows[number::4])
    counts = set()
    for name, (size, pool) in ways.items():
        cut_units(monkeypatch, size)
        scores = world.score(case, tmp_path / name, pool=pool)
        assert_equal(utilities(scores), utilities(expected), case.tolerance)
        assert dropped(scores) == dropped(expected)
        counts.add(len(columns_of(tmp_path / name)))
    assert len(counts) > 1


def _killed(case: Case, world: World, out: Path, stage: int, item: int) -> bool:
    """Tell whether a run was killed there."""
    try:
        world.score(case, out, engine=Killing(stage=stage, item=item))
    except KilledError:
        return True
    return False


@pytest.mark.parametrize("item", [1, pytest.param(0, marks=FULL), pytest.param(-1, marks=FULL)])
@EVERY
def test_killed_and_resumed(case: Case, item: int, world: World, tmp_path: Path) -> None:
    expected = world.expected(case)
    for stage in range(100):
        out = tmp_path / str(stage)
        if not _killed(case, world, out, stage, item):
            break
        scores = world.score(case, out, engine=2)
        assert columns_of(out) == columns_of(expected.folder)
        assert annotate(scores, world.texts[:3]) == annotate(expected, world.texts[:3])
    assert stage >= 2


@EVERY
def test_killed_after_fitting(
    case: Case, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cls = STEPS[case.step]
    fit: Callable[..., Any] = cls.fit

    def killed(*given: Any) -> None:
        fit(*given)
        raise KilledError

    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(cls, "fit", killed)
        world.score(case, tmp_path / "out")
    world.score(case, tmp_path / "out")
    assert columns_of(tmp_path / "out") == columns_of(world.expected(case).folder)


@STEP
def test_a_finished_run_computes_nothing(case: Case, world: World, tmp_path: Path) -> None:
    scores = world.expected(case)
    again = world.score(case, scores.folder, engine=Refusing())
    assert_equal(utilities(again), utilities(scores), 0)


@STEP
def test_group_by(case: Case, world: World, tmp_path: Path) -> None:
    scores = world.score(case, tmp_path / "out", group_by=["domain"], id_field="id")
    assert_equal(utilities(scores), utilities(world.expected(case)), 0)
    rows = rows_of(scores, "id", "domain")
    expected = [{"id": row["id"], "domain": row["domain"]} for row in world.rows]
    assert sorted(rows, key=lambda row: row["id"]) == sorted(expected, key=lambda row: row["id"])


CHATS: dict[str, Any] = {"template": "plain", "target_template": "plain"}
CHATS |= {"pool": Path("chats.jsonl"), "target": Path("chats-target.jsonl")}


@STEP
def test_chats(case: Case, world: World, tmp_path: Path) -> None:
    """Roles travel with the rows; chats of equal texts and other roles are two documents."""
    scores = world.score(case, tmp_path / "one", **CHATS)
    rows = rows_of(scores, "uid", "text_bytes")
    first, second = (row["uid"] for row in rows[:2])
    assert rows[0]["text_bytes"] == rows[1]["text_bytes"]
    assert first != second
    given = [str(row) for row in chats(world.texts)]
    assert len({row["uid"] for row in rows}) == len(set(given))
    found, reasons = utilities(scores), dropped(scores)
    for uid, values in found.items():
        assert reasons[uid] is not None or np.isfinite(values).all()
    world.score(case, tmp_path / "two", engine=Twice(), **CHATS)
    assert columns_of(tmp_path / "two") == columns_of(tmp_path / "one")


@STEP
def test_a_dry_run_works_on_no_unit_and_writes_nothing(
    case: Case, world: World, tmp_path: Path
) -> None:
    targets = {"sums": world.target}
    options = {"steps": case.steps, "engine": Refusing(), "group_by": world.labels(case)}
    done = world.expected(case).folder
    before = set(Path.cwd().iterdir())
    planned = dataworth.plan(world.pool, targets, None, out=tmp_path / "new", **options)
    assert planned.state == "new" and planned.documents > 0
    assert not (tmp_path / "new").exists()
    times = {path: path.stat().st_mtime_ns for path in done.rglob("*")}
    assert dataworth.plan(world.pool, targets, None, out=done, **options).state == "resumes"
    assert {path: path.stat().st_mtime_ns for path in done.rglob("*")} == times
    assert set(Path.cwd().iterdir()) == before


@STEP
def test_units_without_a_document(case: Case, world: World, tmp_path: Path) -> None:
    """One of blank lines, and one of which a filter leaves nothing."""
    pool = Path("gaps")
    world.write(pool / "a.jsonl", world.rows[:12])
    (world.folder / pool / "b.jsonl").write_text("\n\n\n")
    world.write(pool / "c.jsonl", [{"text": word} for word in ("short", "brief")])
    steps = ["length(minimum=3)", *(case.steps if isinstance(case.steps, list) else [case.steps])]
    scores = world.score(case, tmp_path / "one", pool=pool, steps=steps)
    reasons, found = dropped(scores), utilities(scores)
    assert len(reasons) == 14
    assert list(reasons.values()).count("shorter than 3 words") == 2
    for uid, values in found.items():
        assert np.isnan(values).all() if reasons[uid] else np.isfinite(values).all()
    world.score(case, tmp_path / "two", pool=pool, steps=steps, engine=Twice())
    assert columns_of(tmp_path / "two") == columns_of(tmp_path / "one")
