"""A finished run that the tests of the command line look at, and commands run in this process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dataworth.cli.app import app

Invoke = Callable[..., Result]


@pytest.fixture(autouse=True)
def _compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """No command here tells that it compiles, whichever test happens to be the first."""
    monkeypatch.setattr("dataworth.engine.compiled.on_compiling", lambda tell: None)


@pytest.fixture(autouse=True)
def _log_as_it_was() -> Iterator[None]:
    """A command takes the log over, which other tests listen to."""
    yield
    log = logging.getLogger("dataworth")
    log.handlers, log.propagate, log.level = [], True, logging.NOTSET


@pytest.fixture
def dw() -> Invoke:
    """`dw("select", …)` is that command in this process: exit_code, stdout, stderr."""

    def invoke(*words: object) -> Result:
        return CliRunner().invoke(app, [str(word) for word in words])

    return invoke


@pytest.fixture(scope="session")
def math(target_file: Callable[..., Path]) -> str:
    """A named target."""
    return f"math={target_file('math')}"


@pytest.fixture(scope="session")
def done(small_pool: Path, math: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run. Only `choose` may write into it."""
    out = tmp_path_factory.mktemp("run") / "out"
    words = ["select", small_pool, "-t", math, "-b", "10%", "-o", out, "--format", "jsonl"]
    words += ["--id-field", "id", "-g", "domain"]
    shown = CliRunner().invoke(app, [str(word) for word in words])
    assert shown.exit_code == 0, shown.output
    return out
