"""The local engine: threads or processes of this machine.

An item is a unit of a pool, or anything else that is worked on alone and says how many bytes it has
(`size`), such as a bucket of rows that share keys.

Threads are the default: the work is done in kernels that release the interpreter's lock, so they
share one memory. Processes are for steps written in plain Python. Either way a unit is worked on
alone, and results are brought together in the order of the units, so that the number of workers
cannot change them.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from dataworth.corpus.units import Part, Unit
from dataworth.engine.progress import Progress
from dataworth.errors import ConfigError, DataworthError

T = TypeVar("T")


class Sized(Protocol):
    """An item that is no unit: it says how many bytes it has."""

    @property
    def size(self) -> int:
        """Bytes on disk."""
        ...


class StoppedError(Exception):
    """Raised inside a worker to leave its unit when the run is being stopped."""


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass
class Tick:
    """Tells the progress of one item and, in a thread, stops it when the run stops.

    `size`: the item's bytes on disk. `plain`: they are the bytes of its lines as they are read.
    """

    size: int
    plain: bool = True
    progress: Progress | None = None
    stop: threading.Event | None = None
    _told: int = 0

    def __call__(self, documents: int, raw_bytes: int) -> None:
        """Some documents and uncompressed bytes are done. Raises StoppedError in a stopped run."""
        if self.stop is not None and self.stop.is_set():
            raise StoppedError
        if self.progress is not None:
            on_disk = min(raw_bytes, self.size - self._told) if self.plain else 0
            self._told += on_disk
            self.progress.tick(documents, raw_bytes / 1e6, on_disk)

    def finish(self) -> None:
        """The unit is done: what is left of its bytes on disk."""
        if self.progress is not None:
            self.progress.tick(0, 0.0, self.size - self._told)


Item = TypeVar("Item", bound=Unit | Part | Sized)
Work = Callable[[Item, Tick], T]


@dataclass(frozen=True)
class Engine:
    """Runs work on units. `workers` 0 means one for each core; it never changes a result."""

    workers: int = 0
    kind: Literal["threads", "processes"] = "threads"

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise ConfigError(f"workers must be 0 (one for each core) or more, not {self.workers}")
        if self.kind not in ("threads", "processes"):
            raise ConfigError(f"engine must be threads or processes, not {self.kind!r}")

    @property
    def size(self) -> int:
        """The number of workers."""
        return self.workers or cores()

    def threads(self) -> Engine:
        """Return the same number of workers as threads: for work that shares memory."""
        return Engine(self.workers, "threads")

    def map(
        self,
        work: Work[Item, T],
        units: Sequence[Item],
        *,
        progress: Progress | None = None,
        name: str = "work",
    ) -> Iterator[T]:
        """Yield the work's result on each unit, in the order of the units.

        A failure or Ctrl-C stops the other workers and is raised here.
        """
        progress = progress or Progress()
        progress.start(name, sum(unit_sizes(units)))
        stop = threading.Event()
        executor = self._executor(len(units))
        try:
            yield from self._ordered(executor, work, units, progress, stop)
        except BrokenExecutor as error:
            raise DataworthError(
                f"a worker process was killed during {name!r}, perhaps for want of memory; run "
                "the same command again with fewer workers, which goes on where it stopped"
            ) from error
        except BaseException:
            # Also when the caller leaves early: nothing goes on in the background.
            _end(executor)
            raise
        finally:
            stop.set()
            executor.shutdown(wait=True, cancel_futures=True)
            progress.end()

    def fold(
        self,
        work: Work[Item, T],
        combine: Callable[[T, T], T],
        units: Sequence[Item],
        *,
        progress: Progress | None = None,
        name: str = "fold",
    ) -> T | None:
        """Return the units' partial results combined pairwise in unit order; None without units.

        The tree of combinations hangs on the number of units alone, so that sums of floats are
        the same on any number of workers.
        """
        stack: list[tuple[int, T]] = []
        for partial in self.map(work, units, progress=progress, name=name):
            size = 1
            while stack and stack[-1][0] == size:
                partial = combine(stack.pop()[1], partial)
                size *= 2
            stack.append((size, partial))
        if not stack:
            return None
        result = stack.pop()[1]
        while stack:
            result = combine(stack.pop()[1], result)
        return result

    def _executor(self, tasks: int) -> Executor:
        size = max(1, min(self.size, tasks))
        if self.kind == "threads":
            return ThreadPoolExecutor(size, thread_name_prefix="dataworth")
        return ProcessPoolExecutor(
            size, mp_context=multiprocessing.get_context("spawn"), initializer=_end_with_parent
        )

    def _ordered(
        self,
        executor: Executor,
        work: Work[Item, T],
        units: Sequence[Item],
        progress: Progress,
        stop: threading.Event,
    ) -> Iterator[T]:
        # A few units are in flight beyond the next one wanted; results that come early wait.
        ahead = 2 * self.size + 2
        waiting: dict[int, Future[T]] = {}
        ticks: dict[int, Tick] = {}
        submitted = 0
        threads = self.kind == "threads"
        sizes = unit_sizes(units)
        for wanted in range(len(units)):
            while submitted < len(units) and submitted < wanted + ahead:
                unit, size = units[submitted], sizes[submitted]
                tick = Tick(size, _is_plain(unit))
                if threads:
                    tick.progress, tick.stop = progress, stop
                ticks[submitted] = tick
                waiting[submitted] = executor.submit(work, unit, tick)
                submitted += 1
            future = waiting.pop(wanted)
            while not future.done():
                # A later unit that failed is raised at once, not when its turn comes.
                done, _ = wait([future, *waiting.values()], return_when=FIRST_COMPLETED)
                for other in done:
                    if other.exception() is not None:
                        other.result()
                if len(done) and future not in done:
                    wait([future], timeout=0.05)
            result = future.result()
            tick = ticks.pop(wanted)
            tick.progress = progress  # a process has only its own copy
            tick.finish()
            yield result


def _end(executor: Executor) -> None:
    """End worker processes at once, and what waits for them; files are written whole or not."""
    for process in list((getattr(executor, "_processes", None) or {}).values()):
        process.terminate()


def _end_with_parent() -> None:
    """Let a worker process end when the one that started it is gone, killed for instance."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _is_plain(item: Unit | Part | Sized) -> bool:
    return isinstance(item, Unit | Part) and all(
        u.file.compression is None and u.file.format != "parquet" for u in item.units
    )


def unit_sizes(items: Sequence[Unit | Part | Sized]) -> list[int]:
    """Bytes on disk of each item; units of a Parquet file, which are rows, share its bytes."""
    parts = [item.units if isinstance(item, Unit | Part) else () for item in items]
    shares = Counter(unit.file_index for units in parts for unit in units)
    sizes = [
        sum(
            unit.file.size // shares[unit.file_index]
            if unit.file.format == "parquet"
            else unit.end - unit.start
            for unit in units
        )
        for units in parts
    ]
    own = [0 if isinstance(item, Unit | Part) else item.size for item in items]
    return [size + more for size, more in zip(sizes, own, strict=True)]
