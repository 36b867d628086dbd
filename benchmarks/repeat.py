"""Same plan, same numbers: a small comparison made three times, compiled, one of them killed.

    python benchmarks/repeat.py

Random documents and the default of `select` for one target: two seeds, the size `tiny`, 50,000
tokens, compiled training. It is made three times in fresh folders by `dataworth compare`: on all
cores; with one worker; and once more, killed with its workers (SIGKILL) when the first model
is trained, then resumed. The first two compile into empty caches of their own. Every number of the
three is compared, to the last bit; only seconds may differ. Needs DATAWORTH_TEST_DATA, the extra
`lm` and a C++ compiler. Ends with exit code 1 if a number differs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pools
from common import cores, data_folder, program, scratch, table, write_results

TARGET = "math"
TOKENS = "50k"
SEEDS = 2
POOL = "part:20MB"
_SECONDS = ("seconds", "seconds_in_all", "core_seconds")  # of a run, not of what it finds
_LOOK = 0.05
_LIMIT = 3600.0


@dataclass(frozen=True)
class Run:
    """One comparison. `trained`: models that its last start trained; `leaves`: path → number."""

    name: str
    workers: int
    cache: str
    trained: int
    seconds: float
    leaves: Mapping[str, Any]


def plan() -> dict[str, Any]:
    """What is compared."""
    targets = data_folder() / "targets"
    return {
        "pool": str(pools.build(POOL)),
        "id_field": "id",
        "group_by": ["domain"],
        "targets": {
            TARGET: {
                "examples": str(targets / f"{TARGET}.target.jsonl"),
                "validation": str(targets / f"{TARGET}.val.jsonl"),
            }
        },
        "budget": "200k",
        "selections": {"default": {"steps": ["dsir"]}},
        "seeds": SEEDS,
        "sizes": ["tiny"],
        "tokens": [TOKENS],
        "training": {"compile": True},
    }


def start(folder: Path, workers: int, cache: Path) -> subprocess.Popen[bytes]:
    """The command, as a process."""
    file = folder.parent / "plan.json"
    file.write_text(json.dumps(plan()), encoding="utf-8")
    command = [program(), "compare", file, "--out", folder, "--workers", workers, "--quiet"]
    return subprocess.Popen(
        [str(word) for word in command],
        env={**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(cache)},
    )


def finish(process: subprocess.Popen[bytes]) -> None:
    """Wait for its end. Raises SystemExit if it failed."""
    if code := process.wait(_LIMIT):
        raise SystemExit(f"a comparison failed with exit code {code}")


def kill_after_one(process: subprocess.Popen[bytes], folder: Path) -> int:
    """Kill it and its workers when a model is trained; how many are."""
    while not done(folder):
        if process.poll() is not None:
            raise SystemExit("it ended before it was killed")
        time.sleep(_LOOK)
    # Its workers have sessions of their own, and would end their models before they end.
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for one in (process.pid, *map(int, workers)):
        os.kill(one, signal.SIGKILL)
    process.wait()
    return done(folder)


def done(folder: Path) -> int:
    """Models that are trained."""
    return len(list(folder.glob("trainings/*/result.json")))


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every number, text and truth value with its place; those of time are left out."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key not in _SECONDS:
                yield from leaves(item, f"{path}/{key}")
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from leaves(item, f"{path}/{place}")
    else:
        yield path, value


def found(folder: Path) -> dict[str, Any]:
    """All that a comparison left: its facts, and each model's result with its curve."""
    files = [folder / "comparison.json", *sorted(folder.glob("trainings/*/result.json"))]
    return {
        place: value
        for file in files
        for place, value in leaves(
            json.loads(file.read_text("utf-8")), str(file.relative_to(folder))
        )
    }


def run(name: str, workers: int, cache: str, *, killed: bool = False) -> Run:
    """Carry the plan out in a fresh folder."""
    folder = scratch(f"repeat/{name}")
    shutil.rmtree(folder)
    begin = time.perf_counter()
    place = scratch(f"repeat/cache-{cache}")
    before = kill_after_one(start(folder, workers, place), folder) if killed else 0
    finish(start(folder, workers, place))
    seconds = time.perf_counter() - begin
    made = found(folder)
    compiled = [value for path, value in made.items() if path.endswith("/compiled")]
    if not compiled or not all(compiled):
        raise SystemExit(f"{name}: a model was trained without compiling")
    return Run(name, workers, cache, done(folder) - before, seconds, made)


def main() -> None:
    """Make the comparisons and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=cores(), help="of the first run")
    parser.add_argument("--no-results", action="store_true", help="print the table only")
    arguments = parser.parse_args()
    for cache in ("one", "two"):
        shutil.rmtree(scratch(f"repeat/cache-{cache}"))
    runs = [
        run("first", arguments.workers, "one"),
        run("second", 1, "two"),
        run("killed", arguments.workers, "one", killed=True),
    ]
    first = runs[0].leaves
    rows: list[list[object]] = []
    different = 0
    for one in runs:
        places = {*first, *one.leaves}
        missing = object()
        unequal = sorted(p for p in places if first.get(p, missing) != one.leaves.get(p, missing))
        different += len(unequal)
        for place in unequal[:10]:
            print(f"{one.name}: {place}: {first.get(place)!r}, {one.leaves.get(place)!r}")
        numbers = sum(isinstance(x, float) for x in one.leaves.values())
        rows.append(
            [one.name, one.workers, one.cache, one.trained, len(places), numbers, len(unequal)]
        )
    header = ["run", "workers", "compiler's cache", "models trained at its last start"]
    body = (
        "Everything that `dataworth compare` leaves in `comparison.json` and in each model's "
        "`result.json`, but the seconds, against the first run. Numbers are compared to the last "
        "bit.\n\n"
        + table([*header, "values", "of them floats", "that differ"], rows)
        + "\n"
        + (
            "Every value of the three is equal.\n"
            if not different
            else f"{different} values differ: the runs do not repeat.\n"
        )
    )
    print(body)
    if not arguments.no_results:
        settings = {
            "command": "python benchmarks/repeat.py " + " ".join(sys.argv[1:]),
            "plan": f"{POOL} of the pool, {TARGET}, random and default, seeds {SEEDS}, tiny, "
            f"{TOKENS} tokens, compiled",
            "seconds": ", ".join(f"{one.name} {one.seconds:.0f}" for one in runs),
        }
        write_results("repeat", "Same plan, same numbers", settings=settings, body=body)
    if different:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
