"""Record the processor time of each test: `PYTHONPATH=tools pytest -p test_times …`.

One line a phase goes to the file that TEST_TIMES names (by default test-times.jsonl), as JSON: the
test, the phase (setup, call, teardown), the user and system seconds of this process and of the
children that it has waited for, and the wall seconds. With `-n`, all workers append to it. Then
`python tools/test_times.py test-times.jsonl` sums them by folder, file, and test or fixture's test.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import pytest


def _seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _recorded(item: pytest.Item, phase: str) -> Generator[None, object, object]:
    began, wall = _seconds(), time.perf_counter()
    try:
        return (yield)
    finally:
        row = {"test": item.nodeid, "phase": phase, "seconds": round(_seconds() - began, 4)}
        row["wall"] = round(time.perf_counter() - wall, 4)
        with Path(os.environ.get("TEST_TIMES", "test-times.jsonl")).open("a") as file:
            file.write(json.dumps(row) + "\n")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    """Record a test's fixtures; those of a session count for the first test that asks."""
    return (yield from _recorded(item, "setup"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Record the test itself."""
    return (yield from _recorded(item, "call"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """Record what ends a test."""
    return (yield from _recorded(item, "teardown"))


def main(path: Path, most: int) -> None:
    """Print the sums of a file of times, largest first."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    sums: dict[str, Counter[str]] = {"folder": Counter(), "file": Counter(), "test": Counter()}
    for row in rows:
        file = row["test"].partition("::")[0]
        sums["folder"]["/".join(file.split("/")[:2])] += row["seconds"]
        sums["file"][file] += row["seconds"]
        sums["test"][row["test"] + " (setup)" * (row["phase"] == "setup")] += row["seconds"]
    for kind, counted in sums.items():
        print(f"{kind}: {sum(counted.values()):.0f} core-seconds")
        for name, seconds in counted.most_common(most):
            print(f"{seconds:9.2f}  {name}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 40)
