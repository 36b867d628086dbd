"""The tools of the repository: words to avoid, oldest versions, counted work, the workflow."""

from __future__ import annotations

import ast
import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def load(path: str) -> ModuleType:
    file = ROOT / path
    spec = importlib.util.spec_from_file_location(f"tool_{file.stem}", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_words_are_found_over_ends_of_lines(tmp_path: Path) -> None:
    words = load("tools/words.py")
    words.ROOT = tmp_path
    page = tmp_path / "page.md"
    page.write_text("A loss in nats\na token.\nFine: nats per token, a dataset.\nA data set.\n")
    places = {word: where for word, where in words.words([page]).items() if where}
    assert sorted(places.values()) == [["page.md:1"], ["page.md:4"]]


def test_counts_of_style() -> None:
    words = load("tools/words.py")
    code = '"""What it is."""\n\n# why\ndef f(x):\n    """Return x."""\n'
    code += "    found = x\n    return found\n"
    tree = ast.parse(code)
    assert list(words.docstrings(tree)) == ["What it is.", "Return x."]
    assert list(words.vague_locals(tree)) == ["found"]
    assert words.code_lines(code, tree) == 3


def test_oldest_versions_are_those_of_the_core() -> None:
    oldest = load("tools/oldest.py").oldest((ROOT / "pyproject.toml").read_text("utf-8"))
    names = {line.split("==")[0] for line in oldest}
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    assert names == {re.split(r"[\[>=<]", line)[0] for line in wanted}
    assert "numpy==1.26" in oldest


def test_counted_work_that_grows_is_told() -> None:
    counted = load("benchmarks/counted.py")
    baseline = {"run": {"passes": 2.0, "bytes read": 1_000, "peak MB": 10.0}}
    assert not counted.grown({"run": {"passes": 2.0, "bytes read": 1_010}}, baseline)
    assert not counted.grown({"new": {"passes": 9.0}}, baseline)
    assert counted.grown({"run": {"passes": 3.0, "peak MB": 9.0}}, baseline) == [
        "run: passes 3.0 against 2.0"
    ]
    assert list(counted.texts(2, 0)) == list(counted.texts(2, 0))


@pytest.mark.parametrize(
    "file",
    [
        *(path.relative_to(ROOT).as_posix() for path in (ROOT / ".github").rglob("*.yml")),
        *(".pre-commit-config.yaml", "CITATION.cff", "mkdocs.yml"),
    ],
)
def test_yaml_of_the_repository_is_read(file: str) -> None:
    assert yaml.safe_load((ROOT / file).read_text("utf-8"))


def test_the_workflow_calls_targets_that_exist() -> None:
    make = (ROOT / "Makefile").read_text("utf-8")
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8")
    for target in re.findall(r"make ([a-z-]+)", workflow):
        assert re.search(rf"^{target}:", make, re.M), target
    matrix = yaml.safe_load(workflow)["jobs"]["test"]["strategy"]["matrix"]
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    assert all(f"Python :: {version}" in text for version in matrix["python"])
