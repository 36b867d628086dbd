"""A terminal of 80 columns, readers that leave, brackets in help texts, ids to copy."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.main import get_command
from typer.testing import CliRunner, Result

import dataworth
from commands import command
from dataworth.cli.app import app
from dataworth.report import summary

Invoke = Callable[..., Result]
COMMANDS = get_command(app).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize("words", [["methods"], ["methods", "--json"], ["--help"], ["--version"]])
def test_a_reader_that_leaves_is_no_error(words: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(command(*words), stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert done.stderr == ""
    assert done.returncode == 141


def test_no_stdout_at_all_is_no_defect() -> None:
    shell = " ".join(map(str, command("--version"))) + " >&-"
    done = subprocess.run(shell, shell=True, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_of_a_help_text_is_taken_for_markup(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = CliRunner().invoke(app, [name, "--help"]).output
    assert max(len(line) for line in shown.splitlines()) <= 80
    said = inspect.getdoc(COMMANDS[name].callback) or ""
    words = re.sub(r"\[/?(bold|dim)?\]", "", said.replace("\b", "").replace("\\[", "[")).split()
    assert [word for word in words if word not in shown] == []
    assert "\\[" not in shown


def test_each_command_has_its_own_first_line() -> None:
    lines = [str(item.help).partition("\n\n")[0] for item in COMMANDS.values()]
    assert len(set(lines)) == len(lines) == 15


@pytest.mark.parametrize(
    ("asked", "near"),
    [
        ("reference", "dsir:reference"),
        ("dsir:refrence", "dsir:reference"),
        ("dsir:nope", "dsir:reference"),
        ("embedding", "embedding_similarity"),
        ("topk", "top_k"),
        ("nope", "dsir:reference"),
    ],
)
def test_an_unknown_method_lists_names_and_variants(dw: Invoke, asked: str, near: str) -> None:
    said = dw("methods", asked)
    assert said.exit_code == 2
    hint = said.stderr.partition("did you mean")[2] or said.stderr
    assert near in hint and "dsir:reference" in said.stderr


def test_a_variant_is_shown_as_its_method(dw: Invoke) -> None:
    assert dw("methods", "dsir:reference").exit_code == 0


def test_ids_do_not_wrap() -> None:
    long = "shards/" + "a-file-with-a-long-name-" * 5 + ".jsonl"
    with Path(os.devnull).open("w") as sink:
        console = Console(file=sink, width=80, record=True)
        note = "of 92,047 eligible, the first 6,067 were chosen, as was said before"
        summary.print_rows(console, iter([("file", long, "byte 12"), ("rank", "1", note)]), "title")
    lines = console.export_text().splitlines()
    assert sum(long in line for line in lines) == 1


def test_a_uid_is_taken_in_hexadecimal_and_decimal_digits(dw: Invoke, done: Path) -> None:
    first = dataworth.load(done).table.column("uid")[0]
    uid = f"{int(first):016x}"
    for given in (uid, uid.upper(), str(int(first))):
        shown = dw("explain", done, given, "--json")
        assert shown.exit_code == 0, shown.output
        assert json.loads(shown.stdout)["document"]["uid"] == uid


def test_chance_is_named_with_the_rank_without_it(dw: Invoke, done: Path) -> None:
    scores = dataworth.load(done)
    choice = scores.choose("10%", mechanism="gumbel_top_k(temperature=0.5)").choice
    (column,) = choice.view.utilities
    values, chosen = choice.view.column(column), choice.counts > 0
    eligible = choice.candidates.eligible
    quiet = 1 + np.array([int((values[eligible] > value).sum()) for value in values])
    lucky = np.flatnonzero(chosen & (quiet > choice.cut.distinct))
    unlucky = np.flatnonzero(~chosen & eligible & (quiet <= choice.cut.distinct))
    words = ("choose", done, "-b", "10%", "-m", "gumbel_top_k(temperature=0.5)")
    assert dw(*words).exit_code == 0
    (name,) = [
        path.parent.name
        for path in (done / "selections").glob("*/choice.json")
        if "temperature=0.5" in str(json.loads(path.read_text()).get("mechanism"))
    ]
    for rows, note in ((lucky, "kept by chance"), (unlucky, "left out by chance")):
        uid = f"{int(choice.candidates.uid[rows[0]]):016x}"
        shown: Any = dw("explain", done, uid, "--choice", name)
        assert f"{quiet[rows[0]]:,}" in shown.stdout
        assert "rank without noise" in shown.stdout and note in shown.stdout
