"""The small inputs of a shared collection, each with the command that once went wrong on it.

They lie beside the real data, in the folder `cases`: a folder a case, with its input files and
`command`, a shell line. `RIGHT` says what has to come of each.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import zstandard

from cli.conftest import Invoke, _compiled, _log_as_it_was, dw  # noqa: F401

_DATA = os.environ.get("DATAWORTH_TEST_DATA")
_CASES = Path(_DATA).parent / "cases" if _DATA else Path("cases")
NAMES = sorted(path.parent.name for path in _CASES.glob("*/command"))


@dataclass(frozen=True)
class Ran:
    """What a command left: its exit status, what it said, and the folder that it ran in."""

    status: int
    text: str
    folder: Path

    @property
    def facts(self) -> Any:
        """What was printed as JSON."""
        return json.loads(self.text[self.text.index("{") : self.text.rindex("}") + 1])


Check = Callable[[Ran], bool]


def kept(count: int) -> Check:
    """Tell if a run wrote so many documents."""

    def check(ran: Ran) -> bool:
        found = list((ran.folder / "out" / "selections").glob("*/metrics.json"))
        documents = [json.loads(p.read_text())["accounting"]["kept"]["documents"] for p in found]
        return ran.status == 0 and documents == [count] and any((ran.folder / "out/data").iterdir())

    return check


def ends(status: int, *words: str) -> Check:
    """Tell if a run ends so, and says all of these."""
    return lambda ran: (
        ran.status == status and "Traceback" not in ran.text and all(w in ran.text for w in words)
    )


def contaminated(ran: Ran) -> bool:
    """Tell if one validation text was hit, and held."""
    (target,) = ran.facts["contamination"]
    return bool(ran.status == 0 and target["hit"] == 1 and target["held"] == 1)


def sums(ran: Ran) -> bool:
    """Tell if all that was written are sums, which only their contexts show."""
    files = [zstandard.open(path, "rt").read() for path in (ran.folder / "out/data").iterdir()]
    contexts = [json.loads(line)["context"] for text in files for line in text.splitlines()]
    return kept(20)(ran) and len(contexts) == 20 and all("marbles" in text for text in contexts)


RIGHT: dict[str, Check] = {
    "adapter-folder-without-tokenizer": ends(0),
    "alpaca-history-and-system": kept(20),
    "chats-in-which-the-assistant-says-nothing": ends(0, "5 of 11 chats have no words"),
    "contamination-nfd": contaminated,
    "contamination-through-other-quotation-marks": contaminated,
    "dataframe-with-a-mixed-column": ends(0, "Selection(20 documents"),
    "dolly-context": sums,
    "duplicate-column-names-in-a-frame": lambda ran: (
        ran.status == 1 and "InputError: the table has 2 columns named 'text'" in ran.text
    ),
    "end-token-of-another-name": ends(0),
    "false-near-duplicates-of-short-texts": lambda ran: ran.facts["duplicates"]["near"] == 0,
    "fragments-chosen-by-default-dsir": ends(0, "shorter than 40 bytes"),
    "group-by-a-field-that-no-row-has": ends(0, "the field 'domian'", "the field 'identifier'"),
    "json-gz-of-small-members": ends(0),
    "model-folder-without-tokenizer": ends(2, "has no tokenizer"),
    "null-content-of-a-turn": kept(20),
    "parquet-string-view": kept(20),
    "parquet-text-of-type-binary": kept(20),
    "quantised-model": ends(2, "is quantised (gptq)"),
    "shard-that-is-another-kind-of-file": ends(1, "b.jsonl", "gzip"),
    "tool-calls-are-not-text": kept(20),
    "utf16-file": ends(1, "UTF-16", "iconv"),
}


def run(line: str, folder: Path) -> tuple[int, str, str]:
    """Run a shell line there; return its exit status and what it said on both ways."""
    here = str(Path(sys.executable).parent)
    made = subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env={**os.environ, "PATH": here + os.pathsep + os.environ["PATH"]},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return made.returncode, made.stdout, made.stderr


@pytest.mark.parametrize("name", NAMES)
def test_a_case_ends_as_it_should(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dw: Invoke,  # noqa: F811
) -> None:
    folder = tmp_path / name
    shutil.copytree(_CASES / name, folder)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    line = (folder / "command").read_text()
    monkeypatch.setenv("COLUMNS", "200")
    before, command, words = line.partition("dataworth ")
    if command and not before.startswith("python"):  # a process would import all of it again
        assert not before or run(before, folder)[0] == 0
        monkeypatch.chdir(folder)
        made = dw(*shlex.split(words))
        status, stdout, stderr = made.exit_code, made.stdout, made.stderr
    else:
        status, stdout, stderr = run(line, folder)
    text = stdout if "--json" in line else stdout + stderr
    assert RIGHT[name](Ran(status, text, folder)), stdout + stderr


def test_the_cases_are_there(data: Path) -> None:
    assert set(NAMES) == set(RIGHT)
