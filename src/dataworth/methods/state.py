"""Results of a fit: arrays and JSON by name, kept as plain files."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from dataworth.engine.files import check_array, damaged, read_array, read_object
from dataworth.errors import RunError

FILE = "step.json"
_MAPPED = 1 << 23  # bytes of an array from which on it is mapped, not read

T = TypeVar("T")


class State(Mapping[str, Any]):
    """Results of a fit: NumPy arrays and JSON values by name.

    In a folder the arrays are `NAME.npy`, large ones mapped when they are read again, and the rest
    is `step.json`. `once` keeps what is made from it in this process, such as a model. `targets`:
    the names of those that it was learned for.
    """

    def __init__(
        self,
        values: Mapping[str, Any] | None = None,
        targets: Sequence[str] = (),
        folder: Path | None = None,
    ) -> None:
        self.targets = tuple(targets)
        self._values = dict(values or {})
        self.folder = folder
        self._kept: dict[str, Any] = {}
        self._lock = threading.RLock()

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __reduce__(self) -> tuple[Any, ...]:
        return State, (self._values, self.targets, self.folder)

    def once(self, name: str, make: Callable[[], T]) -> T:
        """Return what `make` returned the first time in this process; it is not saved."""
        with self._lock:
            if name not in self._kept:
                self._kept[name] = make()
            kept: T = self._kept[name]
            return kept

    def array(self, name: str, kind: Any, shape: tuple[int | None, ...]) -> NDArray[Any]:
        """Return an array whose type and shape are checked: compiled code reads by these.

        Raises RunError, with a remedy, for another one or none. None in `shape`: any length.
        """
        try:
            return check_array(np.asarray(self._values.get(name)), kind, shape)
        except ValueError as error:
            where = f"{self.folder}: " if self.folder else ""
            raise RunError(
                f"{where}{name} of the fitted step does not fit its options ({error}); delete its "
                "folder in fitted/ and run the same command again"
            ) from error

    def save(self, folder: Path) -> None:
        """Write the arrays and the JSON into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {k: v for k, v in self._values.items() if isinstance(v, np.ndarray)}
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array, allow_pickle=False)
        facts = {name: value for name, value in self._values.items() if name not in arrays}
        record = {"targets": self.targets, "arrays": sorted(arrays), "values": facts}
        (folder / FILE).write_text(json.dumps(record, indent=2) + "\n", "utf-8")

    @classmethod
    def load(cls, folder: Path) -> State:
        """Return the state of a folder. RunError names the file if it is damaged."""
        record = read_object(folder / FILE)
        arrays, facts, targets = (record.get(key) for key in ("arrays", "values", "targets"))
        if not (isinstance(arrays, list) and isinstance(facts, dict) and isinstance(targets, list)):
            raise RunError(
                f"{folder / FILE}: holds no fitted step; delete its folder and run the same "
                "command again"
            )
        values: dict[str, Any] = dict(facts)
        for name in arrays:
            path = folder / f"{name}.npy"
            if not isinstance(name, str) or path.parent != folder:
                raise RunError(f"{folder / FILE}: names {name!r}, which is no file of its folder")
            values[name] = _read(path)
        return cls(values, list(map(str, targets)), folder)


def _read(path: Path) -> NDArray[Any]:
    if not path.is_file() or path.stat().st_size <= _MAPPED:
        return read_array(path)
    with damaged(path):
        # Copied where it is written to: kernels and torch want arrays that can be.
        return np.asarray(np.load(path, mmap_mode="c", allow_pickle=False))
