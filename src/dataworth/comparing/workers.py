"""Worker processes that train: long-lived, one thread each, fed with one line of JSON at a time.

Each is `python -m dataworth.comparing.worker FOLDER DEVICE`, told what to do on its standard input.
So what was compiled for one training serves all that follow, nothing is pickled, and a worker ends
by itself when this process is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from dataworth.engine.device import AUTO, processes, spread
from dataworth.errors import DataworthError, RunError

ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_END = object()
Task = dict[str, Any]


class Workers:
    """`count` processes on the comparison in `folder`. Leaving the block ends them.

    `device`: where they train; GPUs take turns unless one is named, and fewer processes start where
    they have no room for all.
    """

    def __init__(self, folder: Path, count: int, device: str = AUTO) -> None:
        self._folder = folder
        self._count = processes(device, count)
        self._device = device
        self._processes: list[subprocess.Popen[str]] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            if process.stdin is not None:
                with contextlib.suppress(OSError):
                    process.stdin.close()
            process.terminate()
        for process in self._processes:
            process.wait()

    def run(self, tasks: Iterable[Task], done: Callable[[Task, Any], None]) -> None:
        """Carry out tasks, in order as far as workers are free; `done` gets each result.

        Raises DataworthError with what a worker raised, or RunError where one was killed.
        """
        waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
        results: queue.SimpleQueue[Any] = queue.SimpleQueue()
        number = 0
        for task in tasks:
            waiting.put(task)
            number += 1
        count = min(self._count, number)
        for place in range(count):
            waiting.put(_END)
            if place == len(self._processes):
                self._processes.append(self._start(place))
            threading.Thread(
                target=self._serve, args=(place, waiting, results), daemon=True
            ).start()
        for _ in range(number):
            # With a timeout, so that Ctrl-C is heard at once.
            while True:
                with contextlib.suppress(queue.Empty):
                    task, answer = results.get(timeout=1.0)
                    break
            if isinstance(answer, BaseException):
                raise answer
            done(task, answer)

    def _start(self, place: int) -> subprocess.Popen[str]:
        environment = {**os.environ, **dict.fromkeys(ONE_THREAD, "1")}
        environment["TOKENIZERS_PARALLELISM"] = "false"
        device = spread(self._device, place)
        return subprocess.Popen(
            [sys.executable, "-m", "dataworth.comparing.worker", str(self._folder), device],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C is for this process, which ends them
        )

    def _serve(
        self, place: int, waiting: queue.SimpleQueue[Any], results: queue.SimpleQueue[Any]
    ) -> None:
        process = self._processes[place]
        assert process.stdin is not None and process.stdout is not None
        while (task := waiting.get()) is not _END:
            try:
                process.stdin.write(json.dumps(task) + "\n")
                process.stdin.flush()
                line = process.stdout.readline()
                if not line:
                    raise OSError
                answer = json.loads(line)
            except (OSError, ValueError):
                said = (
                    "a worker process ended before its work was done, perhaps for want of memory; "
                    "run the same command again, with fewer workers, which goes on where it stopped"
                )
                results.put((task, RunError(said)))
                return
            if "error" in answer:
                results.put((task, DataworthError(answer["error"])))
                return
            results.put((task, answer["result"]))
