"""The memory that a model takes, told from its files before its weights are loaded."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dataworth.errors import ConfigError
from dataworth.lm.folders import base_name, is_adapter

log = logging.getLogger("dataworth")

_LOADED = 4  # bytes of a parameter: weights are loaded as float32
_STORED = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}
_CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        "/sys/fs/cgroup/memory/memory.stat",
    ),
)


def check_memory(folder: Path) -> None:
    """Raise ConfigError for a model that does not fit into the memory that is available.

    Warn where there is room for the model, and not for one gradient beside it.
    """
    count, room = parameters(folder), available()
    if not count or room is None:
        return
    need = count * _LOADED
    said = (
        f"{folder}: the model's {count:,} parameters take {need / 1e9:,.2f} GB in memory (float32)"
        f", and {room / 1e9:,.2f} GB are available"
    )
    if need > room:
        raise ConfigError(f"{said}: take a smaller model, or a machine with more memory")
    if 2 * need > room:
        log.warning("%s: a gradient of all parameters beside it may not fit (layers)", said)


def parameters(folder: Path) -> int:
    """Return the numbers in a folder's weights, with those of an adapter's base; 0 if unknown."""
    try:
        count = sum(_numbers(path, folder) for path in _weights(folder))
    except (OSError, ValueError, KeyError, TypeError):  # damaged: whoever loads them says so
        return 0
    if is_adapter(folder) and Path(base_name(folder)).is_dir():
        count += parameters(Path(base_name(folder)))
    return count


def available() -> int | None:
    """Return the bytes of memory that can still be had, None where that cannot be told."""
    free = None
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                free = int(line.split()[1]) * 1024
    except OSError:
        return None
    for most, used, stat in _CGROUPS:
        try:
            limit = int(Path(most).read_text())
            facts = dict(line.split() for line in Path(stat).read_text().splitlines())
            kept = int(facts.get("inactive_file", 0)) + int(facts.get("active_file", 0))
            left = limit - int(Path(used).read_text()) + kept  # what is cached of files is given up
        except (OSError, ValueError):  # no such file, or no limit
            continue
        free = left if free is None else min(free, left)
    return free


def _weights(folder: Path) -> Iterator[Path]:
    """Yield the files that hold a folder's weights: of several forms one, and no file twice."""
    for suffix in ("safetensors", "bin"):
        found = sorted(
            path
            for stem in ("model", "pytorch_model", "adapter_model")
            for path in [*folder.glob(f"{stem}.{suffix}"), *folder.glob(f"{stem}-*.{suffix}")]
        )
        if found:
            yield from found
            return


def _numbers(path: Path, folder: Path) -> int:
    """Return how many numbers a file of weights holds."""
    if path.suffix != ".safetensors":
        config: Any = {}
        if (folder / "config.json").is_file():
            config = json.loads((folder / "config.json").read_text("utf-8"))
        kind = str(config.get("dtype") or config.get("torch_dtype") or "float32")
        return path.stat().st_size // _STORED.get(kind, 4)
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    shapes: list[list[int]] = [
        one["shape"] for name, one in header.items() if name != "__metadata__"
    ]
    return sum(math.prod(shape) for shape in shapes)
