"""The progress display of a run: phase, documents, megabytes per second, time left."""

from __future__ import annotations

import logging
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Literal

log = logging.getLogger("dataworth")

Show = Literal["bar", "lines", "none"]


@dataclass
class PhaseTime:
    """One finished phase: seconds, documents and megabytes of uncompressed rows."""

    name: str
    seconds: float = 0.0
    documents: int = 0
    megabytes: float = 0.0


@dataclass
class Progress:
    """Counts the work of all threads. `show`: a bar, a log line now and then, or nothing."""

    show: Show = "none"
    every: float = 10.0
    phases: list[PhaseTime] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self.born = self._started = time.perf_counter()
        self._told = self._started
        self._total = 0
        self._done = 0
        self._bar: Any = None
        self._task: Any = None
        self._current: PhaseTime | None = None

    @staticmethod
    def choose(quiet: bool) -> Progress:
        """Return a bar on a terminal, plain lines elsewhere, nothing when quiet."""
        if quiet:
            return Progress("none")
        return Progress("bar" if sys.stderr.isatty() else "lines")

    def start(self, name: str, total: int) -> None:
        """Begin a phase over `total` bytes on disk."""
        self.end()
        self._current = PhaseTime(name)
        self._started = self._told = time.perf_counter()
        self._total, self._done = total, 0
        if self.show == "lines":
            log.info("%s: %.0f MB to read", name, total / 1e6)
        elif self.show == "bar":
            self._open_bar(name)

    def tick(self, documents: int, megabytes: float, on_disk: int = 0) -> None:
        """Some more work is done; called from any thread."""
        with self._lock:
            current = self._current
            if current is None:
                return
            current.documents += documents
            current.megabytes += megabytes
            self._done += on_disk
            now = time.perf_counter()
            pace = 0.2 if self.show == "bar" else self.every
            if self.show == "none" or now - self._told < pace:
                return
            self._told = now
            speed = current.megabytes / max(now - self._started, 1e-9)
            if self.show == "bar":
                self._bar.update(
                    self._task,
                    completed=min(self._done, self._total),
                    counts=f"{current.documents:,} documents  {speed:.0f} MB/s",
                )
                return
            left = (self._total - self._done) / max(self._done, 1) * (now - self._started)
            log.info(
                "%s: %d documents, %.0f MB/s, %.0f %% done, about %.0f s left",
                current.name,
                current.documents,
                speed,
                100 * self._done / max(self._total, 1),
                left,
            )

    def end(self) -> None:
        """The phase is over."""
        current, self._current = self._current, None
        if current is None:
            return
        current.seconds = time.perf_counter() - self._started
        self.phases.append(current)
        if self._bar is not None:
            self._bar.update(
                self._task,
                completed=self._total,
                counts=f"{current.documents:,} documents  {current.seconds:.1f} s",
            )
            self._bar.stop()
            self._bar = None
        if self.show == "lines":
            log.info(
                "%s: done, %d documents, %.0f MB in %.1f s",
                current.name,
                current.documents,
                current.megabytes,
                current.seconds,
            )

    def _open_bar(self, name: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        self._bar = Bars(
            TextColumn("{task.description:<10}"),
            BarColumn(bar_width=30),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[counts]}"),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task(name, total=max(self._total, 1), counts="")
        self._bar.start()
