"""Whether kernels are compiled, told from Numba's cache without Numba."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import dataworth
from dataworth.corpus import scan
from dataworth.engine import compiled
from dataworth.features.ngrams import kernels


def test_the_folders_are_those_of_numba() -> None:
    for kernel in (scan.scan_lines, kernels.count):
        source = Path(kernel.py_func.__code__.co_filename)
        assert Path(kernel.stats.cache_path) in list(compiled._folders(source))


def test_the_sources_hold_kernels() -> None:
    package = Path(dataworth.__file__).parent
    for name in compiled.SLOWEST:
        text = (package / name).read_text("utf-8")
        assert "@kernel" in text or "@eager" in text


def test_a_cache_counts_if_it_is_newer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert not compiled.is_compiled()
    package = Path(dataworth.__file__).parent
    written = []
    for name in compiled.SLOWEST:
        (folder,) = compiled._folders(package / name)
        folder.mkdir(parents=True, exist_ok=True)
        version = "".join(map(str, sys.version_info[:2]))
        written.append(folder / f"{Path(name).stem}.kernel-1.py{version}.nbi")
        written[-1].touch()
    assert compiled.is_compiled()
    os.utime(written[0], (0, 0))
    assert not compiled.is_compiled()
