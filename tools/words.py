"""Count words to avoid, and other habits of style that no linter knows; warn, never fail.

python tools/words.py            warnings of `make lint`: words and their places
python tools/words.py --table    one table of all counts, to compare before and after
"""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHOWN = 5  # places of each word
PROSE = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/**/*.md", "benchmarks/README.md")
CODE = ("src/**/*.py", "benchmarks/*.py", "examples/**/*.py", "tools/*.py", "tests/**/*.py")
# Words to avoid, and the ones that the field uses.
WORDS = {
    r"foretell\w*|foretold": "estimate, predict",
    r"nats? an? token": "nats per token",
    r"data sets?": "dataset",
    r"\blocals\(\)": "names written out",
    r"length of (?:the|its|a) gradient|gradient's length": "gradient norm",
    r"ways? to weigh directions": "preconditioner",
    r"(?:one|someone) who knows the answer": "oracle",
    r"(?-i:\bTODO\b|\bFIXME\b)": "do it, or drop it",
}
# First words with which a docstring describes around its subject.
FIRST = ("What", "How", "Whether", "Of", "Where", "As", "By", "Which", "That", "When", "Why")
LOCALS = ("found", "given", "made", "part", "place", "told", "of", "how", "known", "said", "shown")


def files(globs: tuple[str, ...]) -> list[Path]:
    """Return the files of some globs, sorted."""
    return sorted({path for glob in globs for path in ROOT.glob(glob)} - {Path(__file__).resolve()})


def words(paths: list[Path]) -> dict[str, list[str]]:
    """Return the places of each word to avoid; a word may be broken by the end of a line."""
    places: dict[str, list[str]] = {word: [] for word in WORDS}
    patterns = {word: re.compile(word.replace(" ", r"\s+(?:#\s+)?"), re.I) for word in WORDS}
    for path in paths:
        text = path.read_text("utf-8")
        for word, pattern in patterns.items():
            for match in pattern.finditer(text):
                line = text.count("\n", 0, match.start()) + 1
                places[word].append(f"{path.relative_to(ROOT)}:{line}")
    return places


def trees(globs: tuple[str, ...]) -> Iterator[tuple[Path, ast.Module]]:
    """Yield the parsed modules."""
    for path in files(globs):
        yield path, ast.parse(path.read_text("utf-8"))


def docstrings(tree: ast.Module) -> Iterator[str]:
    """Yield the docstrings of a module, its classes and functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield text


def vague_locals(tree: ast.Module) -> Iterator[str]:
    """Yield each function's own names that do not say what they are."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            stored = {
                name.id
                for name in ast.walk(node)
                if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)
            }
            stored |= {one.arg for one in [*node.args.args, *node.args.kwonlyargs]}
            yield from stored & set(LOCALS)


def code_lines(text: str, tree: ast.Module) -> int:
    """Return the lines of a program that are code: no blank lines, comments or docstrings."""
    dropped: set[int] = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            value = body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                dropped |= set(range(value.lineno, (value.end_lineno or value.lineno) + 1))
    lines = text.splitlines()
    return sum(
        1
        for number, line in enumerate(lines, 1)
        if line.strip() and not line.lstrip().startswith("#") and number not in dropped
    )


def counts() -> list[tuple[str, str]]:
    """Return all counts by name, those of programs over src/."""
    source = ("src/**/*.py",)
    modules = list(trees(source))
    first = [text.split()[0].rstrip(",:;") for _, tree in modules for text in docstrings(tree)]
    around = Counter(word for word in first if word in FIRST)
    classes = Counter(
        node.name
        for _, tree in modules
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    )
    twice = {name: count for name, count in classes.items() if count > 1}
    vague = Counter(name for _, tree in modules for name in vague_locals(tree))
    lines = {path: code_lines(path.read_text("utf-8"), tree) for path, tree in modules}
    report = sum(count for path, count in lines.items() if "report" in path.parts)
    avoided = {name: words(files(globs)) for name, globs in (("docs", PROSE), ("programs", CODE))}
    share = sum(around.values()) / max(len(first), 1)
    return [
        *(
            (f"words to avoid in {name}", str(sum(map(len, places.values()))))
            for name, places in avoided.items()
        ),
        (f"docstrings that begin with {', '.join(FIRST[:4])} …", f"{share:.1%} of {len(first):,}"),
        ("first words of these", ", ".join(f"{w} {n}" for w, n in around.most_common())),
        ("vague names in functions", f"{sum(vague.values()):,}"),
        ("the most frequent", ", ".join(f"{name} {n}" for name, n in vague.most_common(6))),
        ("class names that occur twice", f"{len(twice)}: {', '.join(sorted(twice))}"),
        ("modules over 400 lines of code", str(sum(count > 400 for count in lines.values()))),
        ("lines of code in src", f"{sum(lines.values()):,} in {len(lines)} modules"),
        ("of these in report", f"{report:,}"),
    ]


def main() -> None:
    """Print warnings, or the table."""
    if "--table" in sys.argv[1:]:
        print("| | |\n|---|---|")
        for name, value in counts():
            print(f"| {name} | {value} |")
        return
    for pattern, places in words(files((*PROSE, *CODE))).items():
        if places:
            more = f" and {len(places) - SHOWN} more" if len(places) > SHOWN else ""
            where = ", ".join(places[:SHOWN])
            print(f"warning: {len(places)} of /{pattern}/, say {WORDS[pattern]}: {where}{more}")


if __name__ == "__main__":
    main()
