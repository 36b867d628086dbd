"""Every example of the documentation runs, or is marked as shown from a stored run."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from tests.docs.examples import DOCS, ROOT, RUN, START, STORED, Shell, blocks, make_pool, run_page
from typer.main import get_command

from dataworth.cli.app import app

PAGES = sorted(path for path in DOCS.rglob("*.md") if path.name != "api.md")
# Pages whose Python has a test of its own.
ELSEWHERE = {"extending.md": "tests/test_extending.py", "gradients.md": "test_page.py"}
NEEDS = {"coming-from/fasttext.md": "fasttext"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the pool that all pages choose from."""
    folder = tmp_path_factory.mktemp("examples")
    make_pool(folder)
    return folder


@pytest.mark.parametrize("page", RUN)
def test_a_page_runs_and_prints_what_it_shows(page: str, home: Path, tmp_path: Path) -> None:
    if page in NEEDS:
        pytest.importorskip(NEEDS[page])
    if page != START:
        for name in ("pool", "target.jsonl"):
            (tmp_path / name).symlink_to(home / name)
    done = list(run_page(DOCS / page, Shell(tmp_path)))
    assert done
    assert not {command: (lost, printed) for command, printed, lost in done if lost}


def name_of(path: Path) -> str:
    return path.relative_to(DOCS).as_posix()


@pytest.mark.parametrize("page", map(name_of, PAGES))
def test_outputs_are_run_or_said_to_be_stored(page: str) -> None:
    text = (DOCS / page).read_text("utf-8")
    whole = re.search(
        r"^[^`#|]*\b(?:Outputs|Examples) on this page are from stored runs?", text, re.M
    )
    for block in blocks(DOCS / page):
        if whole or block.stored or (page in RUN and block.language in ("console", "python")):
            continue
        lines = block.text.splitlines()
        first = next((n for n, line in enumerate(lines) if line.startswith("$ ")), None)
        shown = first is not None and any(
            line and line[0] not in "$ " and not lines[n].endswith("\\")
            for n, line in enumerate(lines[first + 1 :], first)
        )
        assert not shown, f"output that no test runs: say '{STORED}' above it\n{block.text}"
        assert block.language != "console", "console blocks are for pages in RUN"


@pytest.mark.parametrize("page", [*map(name_of, PAGES), "../README.md"])
def test_commands_have_the_options_that_are_shown(page: str) -> None:
    group: Any = get_command(app)
    for command in commands(DOCS / page):
        try:
            words = shlex.split(command, comments=True)[1:]
        except ValueError:
            continue  # an option that goes on over several lines
        if not words or words[0].startswith("-") or words[0].isupper():
            continue
        assert words[0] in group.commands, command
        if "…" in command or "..." in command or "--help" in words:
            continue
        try:
            group.commands[words[0]].make_context(words[0], words[1:])
        except Exception as error:
            message = f"{page}: {command}: {getattr(error, 'message', error)}"
            assert "Missing argument" in message or type(error).__name__ == "MissingParameter", (
                message
            )


def commands(path: Path) -> list[str]:
    """The commands `dataworth …` in a page's blocks, and those in its text that name an option."""
    text = path.read_text("utf-8").replace("\\\n", " ")
    found = re.findall(r"^(?:\$ |[A-Z_]+=\S+ )*(dataworth [a-z]+ .*)$", "\n".join(
        match[1] for match in re.finditer(r"^```(?:console|bash)?\n(.*?)^```$", text, re.M | re.S)
    ), re.M)  # fmt: skip
    return [line for line in found if not re.search(r"[|\[]", line.split("#")[0])] + re.findall(
        r"`(dataworth [a-z]+ [^`]*--[^`]*)`", text
    )


@pytest.mark.parametrize("page", [*map(name_of, PAGES), "../README.md"])
def test_python_is_python(page: str) -> None:
    for block in blocks(DOCS / page):
        if block.language == "python" and "self." not in block.text:
            compile(block.text, page, "exec")


def test_pages_named_elsewhere_have_their_test() -> None:
    for page, test in ELSEWHERE.items():
        assert (DOCS / page).is_file()
        assert any(
            page in path.read_text("utf-8") for path in ROOT.glob(f"tests/**/{Path(test).name}")
        )
    assert os.path.commonpath([ROOT, DOCS]) == str(ROOT)
