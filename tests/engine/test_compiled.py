"""Compiling is told where it happens, and only there."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dataworth.cli.console import begin

KERNEL = "from numba import njit\n@njit(cache=True)\ndef plus(x):\n    return x + 1\n"
ASKS = "from dataworth.engine.compiled import on_compiling\non_compiling(lambda: print('told'))\n"
ASKS += "import kernels\nkernels.plus(1)\nkernels.plus(1.0)\n"


def test_it_is_told_once_and_not_after_an_install(tmp_path: Path) -> None:
    paths = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    env = {**os.environ, "PYTHONPATH": paths, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}

    def said(kernel: str, date: int) -> str:
        (tmp_path / "kernels.py").write_text(kernel)
        os.utime(tmp_path / "kernels.py", (date, date))
        words = [sys.executable, "-B", "-c", ASKS]
        return subprocess.run(words, env=env, capture_output=True, text=True, check=True).stdout

    assert said(KERNEL, 2_000_000_000) == "told\n"
    assert said(KERNEL, 2_000_000_000) == ""
    assert said(KERNEL, 2_100_000_000) == ""  # the same sources, installed anew
    assert said(KERNEL.replace("+ 1", "+ 2"), 2_200_000_000) == "told\n"


def test_a_command_says_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("dataworth.engine.compiled.on_compiling", lambda tell: tell())
    log = logging.getLogger("dataworth")
    before = log.handlers, log.propagate, log.level
    try:
        begin(False, "select")
        begin(True, "select")
    finally:
        log.handlers, log.propagate, log.level = before
    assert capsys.readouterr().err == "compiling kernels for this machine, once ...\n"
