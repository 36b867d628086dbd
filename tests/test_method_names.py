"""The one rule of the design: no method's name occurs outside `methods/` and its tests.

Names are those of the registry and their classes. Text for people may name methods as examples:
docstrings anywhere, and help texts (strings of several words) of the command line. Code, values and
comments may not, defaults included.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataworth.methods.registry import STEPS

SOURCE = Path(__file__).parent.parent / "src" / "dataworth"

# Steps that are no published method: their names are everyday words.
NOT_METHODS = {"length"}


def method_names() -> set[str]:
    methods = set(STEPS) - NOT_METHODS
    return methods | {STEPS[name].__name__ for name in methods}


def docstring_lines(tree: ast.Module) -> set[int]:
    """The first lines of all docstrings."""
    holders = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return {
        node.body[0].lineno
        for node in ast.walk(tree)
        if isinstance(node, holders) and ast.get_docstring(node, clean=False) is not None
    }


def is_help(string: str) -> bool:
    return len(string.strip("rbfuRBFU\"' \n").split()) > 1


def mentions(source: str, names: set[str], *, help_texts: bool) -> Iterator[tuple[int, str]]:
    """Where a name stands as a word (parts of snake_case count) outside texts for people."""
    word = re.compile(
        "(?<![a-z0-9])(" + "|".join(map(re.escape, sorted(names))) + ")(?![a-z0-9])", re.IGNORECASE
    )
    skip = docstring_lines(ast.parse(source))
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.STRING:
            if token.start[0] in skip:
                continue
            if help_texts and is_help(token.string):
                continue
        for match in word.finditer(token.string):
            yield token.start[0], match.group()


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("steps = ('dsir',)", ["dsir"]),
        ("from dataworth.methods.dsir import Dsir", ["dsir", "Dsir"]),
        ("is_dsir = 1  # as DSIR does", ["dsir", "DSIR"]),
        ('def f():\n    """For example `dsir`."""', []),
        ("help = 'such as dsir'", []),
        ("dsirable = 1", []),
    ],
)
def test_mentions(source: str, found: list[str]) -> None:
    assert [name for _, name in mentions(source, {"dsir"}, help_texts=True)] == found


def test_no_method_is_named_outside_methods() -> None:
    names = method_names()
    assert names
    wrong = [
        f"{path.relative_to(SOURCE)}:{line}: {name}"
        for path in sorted(SOURCE.rglob("*.py"))
        if "methods" not in path.relative_to(SOURCE).parts[:1]
        for line, name in mentions(
            path.read_text("utf-8"), names, help_texts=path.parent.name == "cli"
        )
    ]
    assert not wrong, "methods named outside methods/:\n" + "\n".join(wrong)
