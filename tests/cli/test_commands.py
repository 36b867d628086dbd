"""Every command on real data."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import Result

from commands import command, files_in, fingerprint, run
from testdata import read_rows

Invoke = Callable[..., Result]


def rows_of(run_folder: Path) -> list[dict[str, Any]]:
    return [row for path in sorted((run_folder / "data").iterdir()) for row in read_rows(path)]


def test_select_writes_and_tells_where(
    small_pool: Path, math: str, tmp_path: Path, dw: Invoke
) -> None:
    out = tmp_path / "out"
    shown = dw("select", small_pool, "-t", math, "-b", "200-docs", "-o", out, "-g", "domain")
    assert shown.exit_code == 0, shown.output
    assert "kept" in shown.stdout and "gain: math" in shown.stdout
    for place in (out / "data", out / "report.html", out / "run.json"):
        assert str(place) in shown.stdout
        assert place.exists()
    assert len(rows_of(out)) == 200


def test_python_m_runs_it_too(small_pool: Path, math: str, tmp_path: Path, done: Path) -> None:
    out = tmp_path / "out"
    words = ("select", small_pool, "-t", math, "-b", "10%", "-o", out, "--format", "jsonl")
    shown = run(*words, "--id-field", "id", "-g", "domain", "-w", 1)
    assert shown.returncode == 0, shown.stderr
    assert fingerprint(out) == fingerprint(done)
    assert "score: done" in shown.stderr  # plain lines where there is no terminal
    assert "\x1b" not in shown.stdout + shown.stderr


def test_pools_may_be_several(data: Path, math: str, tmp_path: Path, dw: Invoke) -> None:
    pools = [data / "pool" / "speeches.jsonl", data / "pool" / "biomed.jsonl.gz"]
    out = tmp_path / "out"
    shown = dw("select", *pools, "-t", math, "-b", "50-docs", "-o", out, "--json")
    assert shown.exit_code == 0, shown.output
    inputs = json.loads((out / "run.json").read_text())["inputs"]
    assert sorted(item["path"] for item in inputs["pool"]) == sorted(map(str, pools))


def test_options_reach_the_run(
    small_pool: Path, target_file: Callable[..., Path], tmp_path: Path, dw: Invoke
) -> None:
    out = tmp_path / "out"
    words = ["select", small_pool, "-t", f"math={target_file('math')}"]
    words += ["-t", f"code={target_file('code')}", "--proportion", "math=30%"]
    words += ["--proportion", "code=0.7", "-s", "length(minimum=50)", "-s", "dsir:reference"]
    words += ["-s", "dsir(ngrams=1)", "--holdout", "0.25", "--max-bad", "2%", "--seed", 7]
    words += ["--quota", "domain=web:30%", "--shard-bytes", "100kB", "--order", "rank"]
    words += ["--format", "parquet", "--duplicates", "keep", "--utility", "0.5*dsir_2 + dsir"]
    words += ["--scale", "rank", "--mechanism", "top_k", "-b", "100k", "-o", out, "--quiet"]
    words += ["--max-line-bytes", "1MiB", "--sample-bytes", "8MiB", "--engine", "threads"]
    shown = dw(*words)
    assert shown.exit_code == 0, shown.output
    made = json.loads((out / "run.json").read_text())["configuration"]
    score, choose, write = made["score"], made["choose"], made["write"]
    assert [next(iter(step)) for step in score["steps"]] == ["length", "dsir", "dsir"]
    assert score["steps"][1]["dsir"]["hash"] == "sha256"
    assert score["steps"][2]["dsir"]["ngrams"] == 1
    assert (score["holdout"], score["max_bad"], score["seed"]) == (0.25, 0.02, 7)
    assert score["fields"]["groups"] == ["domain"]
    assert score["fields"]["max_line_bytes"] == 2**20
    assert score["sample_bytes"] == 2**23
    assert choose["proportions"] == {"math": 0.3, "code": 0.7}
    assert choose["budget"] == "100k" and choose["duplicates"] == "keep"
    assert choose["mechanism"] == "top_k" and choose["scale"] == "rank"
    assert write == {"form": "parquet", "shard_bytes": 100_000, "order": "rank"}
    assert len(list((out / "data").glob("*.parquet"))) > 1


def test_json_prints_metrics_alone(small_pool: Path, math: str, tmp_path: Path, dw: Invoke) -> None:
    shown = dw("select", small_pool, "-t", math, "-o", tmp_path / "out", "--json")
    assert shown.exit_code == 0, shown.stderr
    metrics = json.loads(shown.stdout)
    assert metrics["accounting"]["kept"]["documents"] > 0
    assert "NaN" not in shown.stdout and "Infinity" not in shown.stdout
    assert "score: done" in shown.stderr


def test_quiet_is_silent(small_pool: Path, math: str, tmp_path: Path) -> None:
    shown = run("select", small_pool, "-t", math, "-o", tmp_path / "out", "--quiet")
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, "", "")


def test_the_default_folder(
    small_pool: Path, math: str, tmp_path: Path, dw: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = dw("select", small_pool, "-t", math, "--quiet")
    assert shown.exit_code == 0, shown.stderr
    assert (tmp_path / "dataworth-out" / "report.html").is_file()


def test_score_then_choose_is_select(
    small_pool: Path, math: str, tmp_path: Path, done: Path, dw: Invoke
) -> None:
    out, data = tmp_path / "scored", tmp_path / "chosen"
    words = ("score", small_pool, "-t", math, "-o", out, "--id-field", "id", "-g", "domain")
    shown = dw(*words)
    assert shown.exit_code == 0, shown.output
    assert "dsir:math" in shown.stdout and "dataworth choose" in shown.stdout
    assert not (out / "data").exists()
    facts = json.loads(dw(*words, "--json").stdout)
    assert facts["eligible"] == facts["documents"] > 2_000
    report = tmp_path / "chosen.html"
    chosen = ("choose", out, "-b", "10%", "--write", data, "--format", "jsonl", "--report", report)
    shown = dw(*chosen)
    assert shown.exit_code == 0, shown.output
    assert report.is_file()
    own = {name: said for name, said in fingerprint(done).items() if name != "rows"}
    assert fingerprint(data) == own


def test_choose_again(done: Path, dw: Invoke) -> None:
    shown = dw("choose", done, "-b", "5%", "--mechanism", "top_k", "--json")
    assert shown.exit_code == 0, shown.output
    kept = json.loads(shown.stdout)["accounting"]["kept"]
    assert 0 < kept["documents"] < len(rows_of(done))
    assert dw("choose", done, "-b", "5%", "--mechanism", "top_k", "--quiet").output == ""


def test_explain_by_every_name(done: Path, dw: Invoke) -> None:
    row = rows_of(done)[0]
    shown = dw("explain", done, row["id"], "--json")
    assert shown.exit_code == 0, shown.output
    told = json.loads(shown.stdout)
    assert told["kept"] and told["document"]["id"] == row["id"]
    document = told["document"]
    place = f"{document['file']}:{document['offset']}"
    for name in (document["uid"], place, row["text"]):
        again = dw("explain", done, name, "--json")
        assert json.loads(again.stdout)["document"]["uid"] == document["uid"], name
    text = dw("explain", done, document["uid"]).stdout
    assert "kept" in text and "What drove the score" in text


def test_explain_another_choice(done: Path, dw: Invoke) -> None:
    uid = json.loads(dw("explain", done, rows_of(done)[0]["id"], "--json").stdout)["document"][
        "uid"
    ]
    dw("choose", done, "-b", "1-docs", "--mechanism", "top_k", "--quiet")
    name = max((done / "selections").iterdir(), key=lambda place: place.stat().st_mtime).name
    told = json.loads(dw("explain", done, uid, "--choice", name[:8], "--json").stdout)
    assert told["chosen"] == 1


def test_explain_needs_a_choice(small_pool: Path, math: str, tmp_path: Path, dw: Invoke) -> None:
    out = tmp_path / "out"
    assert dw("score", small_pool, "-t", math, "-o", out, "--quiet").exit_code == 0
    shown = dw("explain", out, "0123456789abcdef")
    assert shown.exit_code == 1
    assert "dataworth choose" in shown.stderr


def test_inspect_tells_what_is_there(data: Path, dw: Invoke) -> None:
    shown = dw("inspect", data / "pool", "--json", "--quiet")
    assert shown.exit_code == 0, shown.output
    found = json.loads(shown.stdout)
    rows = [
        row for path in (data / "pool").iterdir() if path.suffix != ".md" for row in read_rows(path)
    ]
    sizes = sorted(len(row["text"].encode()) for row in rows)
    assert found["documents"] == len(rows)
    assert found["text_bytes"] == sum(sizes)
    assert found["lengths"]["0"] == sizes[0]
    assert found["lengths"]["1"] == pytest.approx(sizes[-1], rel=1e-3)
    assert found["lengths"]["0.5"] == pytest.approx(sizes[len(sizes) // 2], rel=2e-3)
    assert {"id", "text", "domain"} <= {item["name"] for item in found["fields"]}
    assert sum(item["files"] for item in found["files"]) == 20
    assert found["bad"] == {} and found["suggestion"] is None
    shown = dw("inspect", data / "pool", "--quiet")
    assert "domain" in shown.stdout and "median" in shown.stdout


def test_inspect_names_bad_lines(tmp_path: Path, dw: Invoke) -> None:
    path = tmp_path / "pool.jsonl"
    good = b'{"text": "some words"}\n'
    path.write_bytes(good * 3 + b"{broken\n" + good + b'{"text": 5}\n\n' + b'{"text": ""}\n')
    found = json.loads(dw("inspect", path, "--json", "--quiet").stdout)
    assert (found["documents"], found["blank"]) == (4, 1)
    assert found["bad"] == {"invalid_json": 1, "text_not_a_string": 1, "empty_text": 1}
    lines = {reason: said[0]["line"] for reason, said in found["examples"].items()}
    assert lines == {"invalid_json": 4, "text_not_a_string": 6, "empty_text": 8}
    assert f"{path}:4" in dw("inspect", path, "--quiet").stdout


def test_inspect_numbers_lines_across_units(tmp_path: Path, dw: Invoke) -> None:
    path = tmp_path / "large.jsonl"
    line = b'{"text": "' + b"word " * 2_000 + b'"}\n'
    path.write_bytes(line * 4_000 + b"{broken\n")  # 40 MB: three units
    found = json.loads(dw("inspect", path, "--json", "--quiet").stdout)
    assert found["units"] == 3
    assert found["examples"]["invalid_json"][0]["line"] == 4_001
    part = json.loads(dw("inspect", path, "--json", "--quiet", "--sample", 100).stdout)
    assert not part["complete"]
    assert 100 <= part["documents"] < 1_000


@pytest.mark.parametrize(
    ("row", "suggestion"),
    [
        ({"id": "a", "content": "a long text " * 20}, "--text-field content"),
        ({"meta": {"body": "a long text " * 20}, "n": 1}, "--text-field meta.body"),
        ({"messages": [{"role": "user", "content": "hello"}]}, "--template plain"),
        ({"prompt": "what?", "completion": "that"}, "--template plain"),
        ({"question": "what?", "response": "that"}, "--template plain"),
        ({"n": 1}, None),
    ],
)
def test_inspect_suggests_the_text_field(
    row: dict[str, Any], suggestion: str | None, tmp_path: Path, dw: Invoke
) -> None:
    path = tmp_path / "pool.jsonl"
    path.write_text((json.dumps(row) + "\n") * 5)
    found = json.loads(dw("inspect", path, "--json", "--quiet").stdout)
    assert found["suggestion"] == suggestion
    assert found["documents"] == (5 if suggestion else 0)
    if suggestion:
        assert suggestion in dw("inspect", path, "--quiet").stdout


def test_inspect_tells_types_and_gaps(tmp_path: Path, dw: Invoke) -> None:
    path = tmp_path / "pool.parquet"
    columns = {"text": ["one", "two", "three"], "n": [1, None, 3], "tags": [["a"], [], None]}
    pq.write_table(pa.table(columns), path)
    found = json.loads(dw("inspect", path, "--json", "--quiet").stdout)
    types = {item["name"]: item["types"] for item in found["fields"]}
    assert types["n"] == {"integer": 2, "null": 1}
    assert types["tags"] == {"list": 2, "null": 1}


def test_methods_lists_and_describes(dw: Invoke) -> None:
    listed = dw("methods").stdout
    assert all(name in listed for name in ("dsir:reference", "length", "gumbel_top_k", "pareto"))
    described = dw("methods", "dsir").stdout
    assert "NeurIPS 2023" in described
    assert "dsir:reference" in described and "smoothing" in described
    found = json.loads(dw("methods", "--json").stdout)
    assert {"step", "mechanism", "mixture"} == {item["kind"] for item in found}
    wrong = dw("methods", "dsri")
    assert wrong.exit_code == 2 and "did you mean 'dsir'" in wrong.stderr


def test_a_closed_pipe_is_no_error() -> None:
    words = subprocess.list2cmdline(command("methods", "dsir"))
    shell = f"{words} | head -1"
    shown = subprocess.run(shell, shell=True, capture_output=True, text=True, check=False)
    assert shown.returncode == 0
    assert "Traceback" not in shown.stderr and "error" not in shown.stderr.lower()


def test_dry_run_writes_nothing(
    small_pool: Path, math: str, tmp_path: Path, dw: Invoke, data: Path
) -> None:
    out = tmp_path / "out"
    words = ["select", data / "pool", "-t", math, "-o", out, "-g", "domain", "--dry-run"]
    shown = dw(*words)
    assert shown.exit_code == 0, shown.output
    assert "a new run" in shown.stdout and "memory" in shown.stdout
    assert files_in(tmp_path) == []
    plan = json.loads(dw(*words, "--json").stdout)
    counted = json.loads(dw("inspect", data / "pool", "--json", "--quiet").stdout)
    assert plan["documents"] == pytest.approx(counted["documents"], rel=0.5)
    assert plan["text_bytes"] == pytest.approx(counted["text_bytes"], rel=0.5)
    assert 0 < plan["seconds"] < 60
    assert plan["memory_bytes"] > 3e8 and plan["disk_bytes"] > 0
    assert plan["settings"]["score"]["fields"]["groups"] == ["domain"]
    assert files_in(tmp_path) == []


def test_dry_run_knows_the_folder(small_pool: Path, math: str, done: Path, dw: Invoke) -> None:
    words = ["select", small_pool, "-t", math, "-b", "10%", "-o", done, "--format", "jsonl"]
    words += ["--id-field", "id", "-g", "domain", "--dry-run", "--json"]
    before = files_in(done)
    assert json.loads(dw(*words).stdout)["state"] == "resumes"
    refused = json.loads(dw(*words, "--seed", 1).stdout)
    assert refused["state"] == "refused"
    assert any("seed" in change for change in refused["changes"])
    assert json.loads(dw(*words, "--seed", 1, "--overwrite").stdout)["state"] == "overwrites"
    assert files_in(done) == before


def test_dry_run_fails_where_the_run_would(small_pool: Path, tmp_path: Path, dw: Invoke) -> None:
    shown = dw("score", small_pool, "-t", tmp_path / "nothing.jsonl", "--dry-run")
    assert shown.exit_code == 1
    assert "no such file" in shown.stderr
