"""Whether this machine has compiled the kernels before: the first run ever takes longer.

Looks at Numba's cache on disk, without importing Numba. A wrong answer costs a line of output too
much or too little, nothing else.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

# Of what every run compiles, the sources that take longest.
SLOWEST = ("corpus/scan.py", "features/ngrams/kernels.py")


def is_compiled() -> bool:
    """Whether the cache holds kernels that are not older than their source."""
    package = Path(__file__).parent.parent
    sources = [package / name for name in SLOWEST]
    return all(any(_cached_in(folder, path) for folder in _folders(path)) for path in sources)


def _cached_in(folder: Path, source: Path) -> bool:
    """Whether a folder has an index of this source's kernels for this Python."""
    changed = source.stat().st_mtime
    version = f".py{sys.version_info.major}{sys.version_info.minor}"
    return any(
        version in index.name and index.stat().st_mtime >= changed
        for index in folder.glob(f"{source.stem}.*.nbi")
    )


def _folders(source: Path) -> Iterator[Path]:
    """Where Numba may keep what it compiled of this source: its own order of preference."""
    path = str(source.parent.absolute())
    name = f"{source.parent.name}_{hashlib.sha1(path.encode()).hexdigest()}"
    if os.environ.get("NUMBA_CACHE_DIR"):
        yield Path(os.environ["NUMBA_CACHE_DIR"]) / name
        return
    yield source.parent / "__pycache__"
    if sys.platform == "darwin":
        yield Path.home() / "Library" / "Caches" / "numba" / name
    else:
        caches = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        yield Path(caches) / "numba" / name
