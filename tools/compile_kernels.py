"""Compile the kernels, so that tests which run side by side find them in Numba's cache.

A kernel is compiled when its module is imported, and its code is kept beside the module; workers
that begin at the same moment on a fresh checkout would each compile all of them.
"""

from __future__ import annotations

import importlib
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src"


def main() -> None:
    """Import each module that has kernels."""
    for path in sorted(SOURCE.rglob("*.py")):
        if "kernels.simd import" in path.read_text("utf-8"):
            importlib.import_module(".".join(path.relative_to(SOURCE).with_suffix("").parts))


if __name__ == "__main__":
    main()
