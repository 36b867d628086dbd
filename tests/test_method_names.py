"""The one rule of the design: no method's or mechanism's name occurs outside its folder.

Names are those of the registries and their classes. Text for people may name methods as examples:
docstrings anywhere, and help texts (strings of several words) of the command line. Code, values and
comments may not, defaults included.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from dataworth.mechanism.registry import MECHANISMS
from dataworth.methods.registry import STEPS

SOURCE = Path(__file__).parent.parent / "src" / "dataworth"

# Names that are everyday words, or packages': looked for in imports and defaults alone.
EVERYDAY = {
    "by_query",
    "classifier",
    "decontaminate",
    "embed",
    "fasttext",
    "length",
    "random",
    "sklearn",
    "threshold",
}


def names_of(registry: Mapping[str, type]) -> set[str]:
    names = set(registry) - EVERYDAY
    return names | {registry[name].__name__ for name in names}


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


@pytest.mark.parametrize(
    ("registry", "own"), [(STEPS, {"methods"}), (MECHANISMS, {"mechanism", "methods"})]
)
def test_no_name_stands_outside_its_folder(registry: Mapping[str, type], own: set[str]) -> None:
    names = names_of(registry)
    assert names
    wrong = [
        f"{path.relative_to(SOURCE)}:{line}: {name}"
        for path in outside(own)
        for line, name in mentions(
            path.read_text("utf-8"),
            names,
            help_texts=path.parent.name in ("cli", "options") or registry is MECHANISMS,
        )
    ]
    assert not wrong, "\n".join(["named outside its folder:", *wrong])


@pytest.mark.parametrize(("registry", "own"), [(STEPS, "methods"), (MECHANISMS, "mechanism")])
def test_no_file_of_one_is_imported_and_none_is_a_default(
    registry: Mapping[str, type], own: str
) -> None:
    wrong = []
    for path in outside({own}):
        tree = ast.parse(path.read_text("utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module is not None:
                _, _, file = node.module.partition(f"dataworth.{own}.")
                wrong += [f"{path}:{node.lineno}: {file}"] if file in registry else []
            if isinstance(node, ast.arguments) and path.parent.name != "methods":
                defaults = [*node.defaults, *node.kw_defaults]
                values = [item.value for item in defaults if isinstance(item, ast.Constant)]
                wrong += [f"{path}: default {value}" for value in values if value in registry]
    assert not wrong, "\n".join(wrong)


def outside(own: set[str]) -> list[Path]:
    """The package's files that are in none of some folders."""
    files = sorted(SOURCE.rglob("*.py"))
    return [path for path in files if not own & set(path.relative_to(SOURCE).parts[:1])]
