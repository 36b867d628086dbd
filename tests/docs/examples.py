"""Examples of the documentation's pages: what they say to run, run, beside what they show.

A page's blocks are run from top to bottom in one folder:

- ```python title="NAME" writes the file NAME;
- ```python is executed, all of a page in one namespace;
- ```console has commands after `$`, and below each one what it printed. A line that is only `…`
  stands for lines left out; numbers and uids may differ, since Pythons bring different texts.

`python tests/docs/examples.py docs/index.md …` runs pages and prints what their commands print now,
for whoever writes a page.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
# The page that makes the pool which the others choose from.
START = "index.md"
RUN = (
    *(START, "troubleshooting.md"),
    *(
        f"how-to/{name}.md"
        for name in ("pretraining", "adaptation", "fine-tuning", "deduplication")
    ),
    *(
        f"coming-from/{name}.md"
        for name in ("dsir", "datatrove", "fasttext", "data-juicer", "less")
    ),
)
STORED = "From a stored run"
_BLOCK = re.compile(r"^```(\w*)([^\n]*)\n(.*?)^```$", re.M | re.S)
_VARYING = re.compile(r"\b[0-9a-f]{12,16}\b|[-+\u2212]?\d[\d,.]*(?: ?[kMG]?B\b)?")


@dataclass
class Block:
    """One fenced block of a page."""

    language: str
    title: str | None
    text: str
    stored: bool

    @property
    def commands(self) -> list[tuple[str, list[str]]]:
        """Commands of a console block, each with the lines shown below it."""
        shown: list[tuple[str, list[str]]] = []
        lines = iter(self.text.splitlines())
        for line in lines:
            if line.startswith("$ "):
                command = line[2:]
                while command.endswith("\\"):
                    command = command[:-1] + next(lines).strip()
                shown.append((command, []))
            elif shown:
                shown[-1][1].append(line)
        return shown


def blocks(page: Path) -> list[Block]:
    """Return a page's fenced blocks; those after a line that begins with `STORED` are not run."""
    text = page.read_text("utf-8")
    out = []
    for match in _BLOCK.finditer(text):
        before = text[: match.start()].rstrip().rsplit("\n", 1)[-1]
        title = re.search(r'title="([^"]+)"', match[2])
        stored = before.lstrip("*_ ").startswith(STORED)
        out.append(Block(match[1], title[1] if title else None, match[3], stored))
    return out


@dataclass
class Shell:
    """A folder in which a page's examples run."""

    folder: Path
    names: dict[str, Any] = field(default_factory=lambda: {"__name__": "page"})

    def run(self, command: str) -> str:
        """Return what a command printed, and its error message if it failed."""
        words = shlex.split(command)
        if words[0] == "dataworth":
            from typer.testing import CliRunner

            from dataworth.cli.app import app

            with self.inside():
                done = CliRunner().invoke(app, words[1:], env={"COLUMNS": "88"})
            said = done.stdout
            if done.exit_code:
                said += "error:" + done.stderr.partition("error:")[2]
            return said.replace(f"{self.folder}/", "")
        if words[0] == "python":
            words[0] = sys.executable
        elif words[0] not in ("ls", "head", "cat"):
            raise ValueError(f"examples cannot run {command!r}")
        ran = subprocess.run(words, cwd=self.folder, capture_output=True, text=True, check=True)
        return ran.stdout

    def execute(self, code: str) -> str:
        """Run Python code and return what it printed."""
        with self.inside(), contextlib.redirect_stdout(io.StringIO()) as out:
            exec(compile(code, "page", "exec"), self.names)
        return out.getvalue()

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Work in the folder, with nothing of the caller's Python path for new processes."""
        before = Path.cwd()
        os.chdir(self.folder)
        try:
            with mock.patch.dict(os.environ, {"NO_COLOR": "1"}):
                yield
        finally:
            os.chdir(before)


def plain(line: str) -> str:
    """A line without what may differ between machines and Pythons: numbers, uids, spaces."""
    return " ".join(_VARYING.sub("#", line).split())


def missing(shown: list[str], printed: str) -> list[str]:
    """Return the shown lines that were not printed, in their order, where nothing says `…`."""
    actual = [plain(line) for line in printed.splitlines()]
    actual = [line for line in actual if line]
    at, skip, lost = 0, False, []
    for line in shown:
        if line.strip() == "…":
            skip = True
            continue
        wanted = plain(line)
        if not wanted:
            continue
        end = wanted.removesuffix("…").rstrip() if wanted.endswith("…") else None
        places = range(at, len(actual)) if skip else range(at, min(at + 1, len(actual)))
        for place in places:
            if actual[place] == wanted or (end and actual[place].startswith(end)):
                at, skip = place + 1, False
                break
        else:
            lost.append(line)
    if not skip and at < len(actual) and shown:
        lost += [f"not shown: {line}" for line in actual[at : at + 1]]
    return lost


def main() -> None:
    """Print what the examples of pages print; exit with 1 if a page shows what was not printed."""
    import tempfile

    failed = False
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        asked = [Path(word).resolve() for word in sys.argv[1:]]
        make_pool(home)
        for page in asked:
            print(f"# {page}", flush=True)
            for example, printed, lost in run_page(page, Shell(home)):
                failed |= bool(lost)
                lines = "\n".join(line.rstrip() for line in printed.splitlines())
                missed = "".join(f"LOST {line}\n" for line in lost)
                print(f"{example}\n{lines}\n{missed}", flush=True)
    sys.exit(int(failed))


def make_pool(folder: Path) -> None:
    """Make the pool of the first page, which the others choose from."""
    shell = Shell(folder)
    for block in blocks(DOCS / START):
        if block.title:
            (folder / block.title).write_text(block.text)
            shell.run(f"python {block.title}")


def run_page(page: Path, shell: Shell) -> Iterator[tuple[str, str, list[str]]]:
    """Run a page's blocks; yield each command or code, what it printed, and what was missed."""
    for block in blocks(page):
        if block.stored:
            continue
        if block.title:
            (shell.folder / block.title).write_text(block.text)
        elif block.language == "console":
            for command, shown in block.commands:
                printed = shell.run(command)
                yield f"$ {command}", printed, missing(shown, printed) if shown else []
        elif block.language == "python":
            yield block.text, shell.execute(block.text), []


if __name__ == "__main__":
    main()
