"""A selection on text that every machine with Python has: run `make demo`, or this file.

The pool is the standard library, cut into documents of four kinds: functions, documentation
strings, comments and tables. The target is the language reference that `help()` shows, so the
question is: which tenth of the library is written most like documentation of Python? The labels
`kind` and `module` are not used for choosing, only shown before and after.

Everything goes to demo-out/ in the current folder; nothing is downloaded.
"""

from __future__ import annotations

import ast
import io
import json
import shlex
import subprocess
import sys
import sysconfig
import tokenize
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import zstandard

OUT = Path("demo-out")
KINDS = ("function", "docstring", "comment", "table")
SKIPPED_FOLDERS = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}
MIN_WORDS = 40
MAX_CHARACTERS = 6_000
SHOWN = 3


def main() -> None:
    """Build pool and target, select, show what was chosen and why."""
    pool, target = OUT / "pool", OUT / "target.jsonl"
    build_pool(pool)
    build_target(target)
    run = OUT / "run"
    dataworth(
        *("select", pool, "--target", f"reference={target}", "--budget", "10%"),
        *("--id-field", "id", "--group-by", "kind", "--out", run, "--overwrite"),
    )
    chosen = list(read_selection(run / "data"))
    if not chosen:
        raise SystemExit(f"the run chose nothing: see {run}")
    print(f"\nWhat was chosen: {describe(chosen)}. For example:\n")
    for row in chosen[:SHOWN]:
        print(f"  {row['id']}: {excerpt(row['text'])}\n")
    print("Why the first of them?")
    dataworth("explain", run, chosen[0]["id"])
    print(f"\nThe chosen documents are in {run / 'data'}; the report is {run / 'report.html'}")


def build_pool(folder: Path) -> None:
    """Write the pool, one file a kind; the same text on every run."""
    folder.mkdir(parents=True, exist_ok=True)
    root = Path(sysconfig.get_path("stdlib"))
    counts: Counter[str] = Counter()
    files = {kind: (folder / f"{kind}s.jsonl").open("w", encoding="utf-8") for kind in KINDS}
    for path in sorted(root.rglob("*.py")):
        if SKIPPED_FOLDERS & set(path.relative_to(root).parts) or path.name.startswith("test_"):
            continue
        module = ".".join(path.relative_to(root).with_suffix("").parts)
        for line, kind, text in documents(path):
            if len(text.split()) >= MIN_WORDS:
                counts[kind] += 1
                row = {"id": f"{module}:{line}:{kind}", "kind": kind, "module": module}
                row["text"] = text[:MAX_CHARACTERS]
                files[kind].write(json.dumps(row, ensure_ascii=False) + "\n")
    for file in files.values():
        file.close()
    told = ", ".join(f"{count:,} {kind}s" for kind, count in counts.most_common())
    print(f"Pool: {counts.total():,} documents of the standard library in {folder} ({told})")


def documents(path: Path) -> Iterator[tuple[int, str, str]]:
    """Line, kind and text of the pieces of one source file; none if it is not valid Python."""
    try:
        source = path.read_text(encoding="utf-8")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (SyntaxError, UnicodeDecodeError):
        return
    lines = source.splitlines()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module):
            written = ast.get_docstring(node)
            body = node.body[1:] if written else node.body
            if written:
                yield node.body[0].lineno, "docstring", written
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and body:
                head = lines[node.lineno - 1 : node.body[0].lineno - 1]
                rest = lines[body[0].lineno - 1 : node.end_lineno]
                yield node.lineno, "function", "\n".join(head + rest)
        elif isinstance(node, ast.Assign) and (node.end_lineno or 0) - node.lineno > 20:
            yield node.lineno, "table", "\n".join(lines[node.lineno - 1 : node.end_lineno])
    yield from comments(source)


def comments(source: str) -> Iterator[tuple[int, str, str]]:
    """Blocks of comment lines that follow one another."""
    block: list[str] = []
    start = last = -1
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if token.start[0] != last + 1:
                yield start, "comment", "\n".join(block)
                block, start = [], token.start[0]
            block.append(token.string.lstrip("# ").rstrip())
            last = token.start[0]
    yield start, "comment", "\n".join(block)


def build_target(path: Path) -> None:
    """Write the topics of the language reference, one document a topic."""
    with path.open("w", encoding="utf-8") as file:
        for name, text in sorted(topics.items()):
            file.write(json.dumps({"id": name, "text": text}, ensure_ascii=False) + "\n")
    print(f"Target: {len(topics)} topics of the language reference in {path}\n")


def dataworth(*arguments: object) -> None:
    """Run the command line that was installed beside this Python; stop if it fails."""
    words = [str(argument) for argument in arguments]
    print("$ dataworth " + shlex.join(words), flush=True)
    done = subprocess.run([str(Path(sys.executable).parent / "dataworth"), *words], check=False)
    if done.returncode:
        raise SystemExit(done.returncode)


def read_selection(folder: Path) -> Iterator[dict[str, Any]]:
    """The rows of a run's output files."""
    for path in sorted(folder.glob("*.jsonl*")):
        with path.open("rb") as file:
            packed = path.suffix == ".zst"
            stream = zstandard.ZstdDecompressor().stream_reader(file) if packed else file
            for line in io.TextIOWrapper(stream, encoding="utf-8"):
                yield json.loads(line)


def describe(rows: list[dict[str, Any]]) -> str:
    """How many documents of which kind."""
    counts = Counter(row["kind"] for row in rows)
    return f"{len(rows):,} documents, " + ", ".join(f"{n:,} {k}s" for k, n in counts.most_common())


def excerpt(text: str, characters: int = 240) -> str:
    """The beginning of a text on one line."""
    line = " ".join(text.split())
    return line if len(line) <= characters else line[:characters].rsplit(" ", 1)[0] + " …"


if __name__ == "__main__":
    main()
