"""Whatever goes wrong: one clear message, an exit code, no traceback."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

import dataworth
from commands import run

Invoke = Callable[..., Result]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["select"], 2, "Missing argument"),
        (["select", "POOL", "--budgte", "5%"], 2, "No such option"),
        (["select", "POOL", "--scale", "log"], 2, "log"),
        (["select", "POOL", "--shard-bytes", "big"], 2, "256MB"),
        (["select", "POOL", "--max-bad", "few"], 2, "0.01 or 1%"),
        (["select", "POOL", "--proportion", "math"], 2, "KEY=VALUE"),
        (["select", "POOL", "--storage-option", "anon"], 2, "KEY=VALUE"),
        (["select", "POOL", "-t", "MATH", "-b", "many"], 2, "100k-docs"),
        (["select", "POOL", "-t", "MATH", "-s", "dsri"], 2, "did you mean 'dsir'"),
        (["select", "POOL", "-t", "MATH", "-s", "dsir(grams=2)"], 2, "ngrams"),
        (["select", "POOL", "-t", "MATH", "-m", "topk"], 2, "top_k"),
        (["select", "POOL", "-t", "MATH", "-q", "domain"], 2, "FIELD=VALUE"),
        (["select", "POOL", "-t", "MATH", "-t", "math=MATH"], 2, "two targets"),
        (["select", "POOL", "-t", "MATH", "-w", "-1"], 2, "workers"),
        (["select", "POOL"], 2, "target"),
        (["select", "/no/such/pool", "-t", "MATH"], 1, "/no/such/pool: no such file"),
        (["select", "/no/such/*.jsonl", "-t", "MATH"], 1, "no file matches"),
        (["select", "POOL", "-t", "/no/such/target.jsonl"], 1, "/no/such/target.jsonl"),
        (["select", "POOL", "-t", "MATH", "-f", "body"], 1, "--text-field"),
        (["select", "POOL", "-t", "MATH", "--exclude", "/no/such"], 1, "/no/such"),
        (["select", "POOL", "-t", "MATH", "--tokenizer", "/no/such.json"], 2, "/no/such.json"),
        (["choose", "/no/such/run"], 1, "/no/such/run"),
        (["explain", "/no/such/run", "x"], 1, "/no/such/run"),
        (["inspect", "/no/such"], 1, "/no/such"),
        (["inspect", "POOL", "--sample", "0"], 2, "sample"),
        (["run", "/no/such.yaml"], 2, "/no/such.yaml"),
    ],
)
def test_errors_are_told(
    words: list[str],
    code: int,
    said: str,
    small_pool: Path,
    target_file: Callable[..., Path],
    tmp_path: Path,
    dw: Invoke,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    known = {"POOL": str(small_pool), "MATH": str(target_file("math"))}
    known["math=MATH"] = f"math={known['MATH']}"
    shown = dw(*[known.get(word, word) for word in words])
    assert shown.exit_code == code, shown.output
    assert said in " ".join(shown.stderr.replace("│", " ").split())
    assert "Traceback" not in shown.output
    assert shown.stdout == ""
    assert not list(tmp_path.rglob("data/*"))


def test_a_changed_command_is_refused_with_the_difference(
    small_pool: Path, math: str, done: Path, dw: Invoke
) -> None:
    before = (done / "run.json").read_text()
    words = ["select", small_pool, "-t", math, "-b", "5%", "-o", done, "--format", "jsonl"]
    shown = dw(*words, "--id-field", "id", "-g", "domain", "-s", "dsir(ngrams=3)")
    assert shown.exit_code == 1
    assert "choose.budget: '10%' → '5%'" in shown.stderr
    assert "ngrams" in shown.stderr and "--overwrite" in shown.stderr
    assert (done / "run.json").read_text() == before


def test_overwrite_starts_afresh(small_pool: Path, math: str, tmp_path: Path, dw: Invoke) -> None:
    out = tmp_path / "out"
    assert dw("select", small_pool, "-t", math, "-b", "5%", "-o", out, "--quiet").exit_code == 0
    words = ("select", small_pool, "-t", math, "-b", "100-docs", "-o", out, "--quiet")
    assert dw(*words).exit_code == 1
    assert dw(*words, "--overwrite").exit_code == 0
    made = json.loads((out / "run.json").read_text())
    assert made["configuration"]["choose"]["budget"] == "100-docs"
    assert len(list((out / "selections").iterdir())) == 1


def test_a_folder_of_someone_else_is_left_alone(
    small_pool: Path, math: str, tmp_path: Path, dw: Invoke
) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    for more in ([], ["--overwrite"]):
        shown = dw("select", small_pool, "-t", math, "-o", tmp_path, *more)
        assert shown.exit_code == 1
        assert "choose another folder" in shown.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_a_changed_input_is_told(math: str, small_pool: Path, tmp_path: Path, dw: Invoke) -> None:
    pool, out = tmp_path / "pool.jsonl", tmp_path / "out"
    pool.write_bytes(small_pool.read_bytes())
    words = ("select", pool, "-t", math, "-o", out, "--quiet")
    assert dw(*words).exit_code == 0
    with pool.open("ab") as file:
        file.write(b'{"text": "one more"}\n')
    shown = dw(*words)
    assert shown.exit_code == 1
    assert f"{pool}: changed" in shown.stderr


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (MemoryError(), 1, "error: there is not enough memory"),
        (OSError(28, "No space left on device", "/disk/x"), 1, "error: /disk/x: No space left"),
        (RuntimeError("a\nb"), 70, "unexpected error: RuntimeError: a b; this is a defect"),
        (KeyboardInterrupt(), 130, "stopped; run the same command again to go on"),
    ],
)
def test_every_kind_of_error(
    error: BaseException, code: int, said: str, dw: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setitem(dataworth.__dict__, "select", fail)
    monkeypatch.delenv("DATAWORTH_DEBUG", raising=False)
    shown = dw("select", "pool", "--quiet")
    assert shown.exit_code == code
    assert shown.stderr.startswith(said)
    assert shown.stderr.count("\n") == 1


def test_debug_shows_the_traceback(dw: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setitem(dataworth.__dict__, "select", fail)
    monkeypatch.setenv("DATAWORTH_DEBUG", "1")
    shown = dw("select", "pool")
    assert "Traceback" in shown.stderr and "a defect" in shown.stderr


def test_exit_codes_of_the_process(tmp_path: Path) -> None:
    assert run("inspect", tmp_path / "nothing").returncode == 1
    assert run("inspect", tmp_path, "--nothing").returncode == 2
