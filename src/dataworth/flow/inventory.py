"""An inventory of a run: the size of its columns, the lists that use them, the rest removed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dataworth.corpus.files import write_error
from dataworth.engine.files import damaged, read_object
from dataworth.errors import RunError
from dataworth.flow.scoring import Listed, load_list, read_record
from dataworth.table.folder import lock_folder
from dataworth.table.run import FILE, check_layout


@dataclass(frozen=True)
class Stored:
    """A folder of columns, or of what was learned.

    `columns`: their names. `lists`: of steps that use it, by name. `needed`: by the list that was
    scored last, or by one that a choice was made from.
    """

    folder: str
    bytes: int
    files: int
    columns: tuple[str, ...]
    lists: tuple[str, ...]
    needed: bool

    def as_dict(self) -> dict[str, Any]:
        """Return the folder's parts as JSON."""
        return asdict(self)


def inventory(folder: Path) -> list[Stored]:
    """Return what a run's folder holds in `table` and `fitted`. RunError if it holds no run."""
    if not (folder / FILE).is_file():
        raise RunError(f"{folder}: holds no run of dataworth (there is no {FILE})")
    check_layout(folder)
    needed = _needed(folder)
    lists = {path.stem: load_list(folder, path.stem) for path in (folder / "lists").glob("*.json")}
    stored = []
    for path in _folders(folder):
        name = str(path.relative_to(folder))
        users = tuple(sorted(one for one, listed in lists.items() if name in _used(listed)))
        files = [file for file in path.rglob("*") if file.is_file()]
        stored.append(
            Stored(
                name,
                sum(file.stat().st_size for file in files),
                len(files),
                _columns(path),
                users,
                bool(needed & set(users)),
            )
        )
    return stored


def prune(folder: Path) -> list[Stored]:
    """Remove what neither the last list of steps nor a choice needs; return what was removed."""
    with lock_folder(folder, "working in this folder"):
        removed = [stored for stored in inventory(folder) if not stored.needed]
        try:
            for path in (folder / "lists").glob("*.json"):
                if path.stem not in _needed(folder):
                    path.unlink()
            for stored in removed:
                shutil.rmtree(folder / stored.folder)
        except OSError as error:
            raise write_error(folder, error) from error
    return removed


def _folders(folder: Path) -> Iterator[Path]:
    for part in ("table", "fitted"):
        if (folder / part).is_dir():
            yield from sorted(
                path
                for path in (folder / part).iterdir()
                if path.is_dir() and not path.is_symlink() and path.name[0] != "."
            )


def _needed(folder: Path) -> set[str]:
    """Return the names of the lists of steps that the last run or a selection still needs."""
    record = read_object(folder / FILE)
    last = {str(record[name]) for name in ("list", "attribution") if name in record}
    needed = last or {str(read_record(folder)["list"])}
    for path in (folder / "selections").glob("*/choice.json"):
        with damaged(path):
            needed.add(str(read_object(path)["list"]))
    return needed


def _used(listed: Listed) -> set[str]:
    """Return the folders that a list of steps uses."""
    layout = listed.layout
    columns = [layout.documents, layout.labels, *(source.folder for source in layout.sources)]
    learned = [listed.targets, listed.sample, *listed.fitted]
    return {f"table/{name}" for name in columns if name} | {f"fitted/{name}" for name in learned}


def _columns(path: Path) -> tuple[str, ...]:
    file = path / "column.json"
    if not file.is_file():
        return ()
    with damaged(file):
        return tuple(str(name) for name in read_object(file)["columns"])
