"""A selection keeps to a mixture: from a file, a mapping or a name."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import dataworth
from commands import run as command
from dataworth.errors import ConfigError, DataworthError
from dataworth.flow.identity import choice_key
from dataworth.flow.settings import ChoiceSettings, fingerprint
from flow.pools import write

NAMES = ["web"] * 60 + ["books"] * 30 + ["code"] * 10 + [None] * 20
ROWS: list[dict[str, Any]] = [
    {"text": f"row {i:03d} of one length"} | ({"domain": name} if name else {})
    for i, name in enumerate(NAMES)
]


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    return write(tmp_path / "pool.jsonl", [json.dumps(row).encode() for row in ROWS])


def taken(selection: dataworth.Selection) -> dict[str | None, int]:
    counts: Counter[str | None] = Counter()
    table = selection.table
    for name, count in zip(table["domain"].to_pylist(), table["count"].to_pylist(), strict=True):
        counts[name] += count
    return dict(counts)


def choose(pool: Path, mixture: Any, budget: str = "20-docs", **options: Any) -> Any:
    given = {"steps": ["length"], "group_by": "domain", "mechanism": "random", "engine": 1}
    return dataworth.select(pool, budget=budget, mixture=mixture, **{**given, **options})


FILES = {
    "a.yaml": "web: 0.5\nbooks: 30%\ncode: 0.1\n(no group): 0.1\n",
    "a.json": '{"web": 0.5, "books": 0.3, "code": 0.1, "unlisted": 0.1}',
    "a.csv": "group,share\nweb,0.5\nbooks,0.3\ncode,10%\nunlisted,0.1\n",
    "b.CSV": "web,0.5\r\nbooks,0.3\r\ncode,0.1\r\n(no group),0.1\r\n",
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_shares(pool: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(FILES[name], "utf-8")
    made = choose(pool, str(tmp_path / name), out=tmp_path / "out")
    assert taken(made) == {"web": 10, "books": 6, "code": 2, None: 2}
    record = json.loads((tmp_path / "out/run.json").read_text("utf-8"))["configuration"]
    assert "books" in record["choose"]["mixture"] and name not in record["choose"]["mixture"]
    # The content counts: the file may go, and a recipe of the record gives the same.
    (tmp_path / name).unlink()
    again = dataworth.run_recipe(tmp_path / "out" / "run.json", out=tmp_path / "again", engine=1)
    assert taken(again) == taken(made)  # type: ignore[arg-type]
    uid = made.table["uid"].to_pylist()[0]
    assert dataworth.explain(tmp_path / "out", f"{uid:016x}")["kept"]


@pytest.mark.parametrize(
    ("mixture", "counts"),
    [
        ({"web": 0.5, "books": 0.5, "unlisted": 0}, {"web": 10, "books": 10}),
        ({"code": "100%", "unlisted": 0}, {"code": 10}),
        ("uniform", {"web": 5, "books": 5, "code": 5, None: 5}),
        ("natural", {"web": 10, "books": 5, "code": 2, None: 3}),
        ("unimax(by=domain)", {"web": 5, "books": 5, "code": 5, None: 5}),
    ],
)
def test_shares_are_kept(pool: Path, mixture: Any, counts: dict[str | None, int]) -> None:
    assert taken(choose(pool, mixture)) == counts


def test_a_small_group_is_repeated_or_leaves_the_selection_short(pool: Path) -> None:
    mixture = {"code": 0.5, "web": 0.5, "unlisted": 0}
    once = choose(pool, mixture, "40-docs")
    assert taken(once) == {"code": 10, "web": 20}
    assert once.choice.cut.short
    assert taken(choose(pool, mixture, "40-docs", max_repeat=2)) == {"code": 20, "web": 20}


def test_shares_of_tokens_are_kept_to_within_a_document(tmp_path: Path) -> None:
    rows = [{"text": "word " * (5 + i % 40), "domain": "abc"[i % 3]} for i in range(600)]
    pool = write(tmp_path / "pool.jsonl", [json.dumps(row).encode() for row in rows])
    made = choose(pool, {"a": 0.6, "b": 0.3, "c": 0.1}, "5k", duplicates="keep")
    table, cut = made.table, made.choice.cut
    tokens: Counter[str] = Counter()
    for name, size in zip(table["domain"].to_pylist(), table["tokens"].to_pylist(), strict=True):
        tokens[name] += size
    assert not cut.short and abs(cut.amount - 5000) <= 30
    for name, share in {"a": 3000, "b": 1500, "c": 500}.items():
        assert abs(tokens[name] - share) <= 60


def test_choosing_again_from_scores(pool: Path, tmp_path: Path) -> None:
    options = {"steps": ["length"], "group_by": ["domain"], "engine": 1}
    scores = dataworth.score(pool, out=tmp_path / "out", **options)
    made = scores.choose("20-docs", mechanism="random", mixture="uniform", quotas="domain=web:10%")
    assert taken(made) == {"web": 2, "books": 5, "code": 5, None: 5}
    plain = dataworth.score(pool, out=tmp_path / "plain", steps=["length"], engine=1)
    with pytest.raises(ConfigError, match=r"name it \(--group-by domain\)"):
        plain.choose("20-docs", mixture="uniform")
    with pytest.raises(ConfigError, match="the table does not have: score with --group-by lang"):
        scores.choose("20-docs", mixture="uniform(by=lang)")


def test_rounds_keep_to_a_mixture(pool: Path, tmp_path: Path) -> None:
    def train(selection: Any, previous: Any, number: int, folder: Path) -> Path:
        (folder / "model").touch()
        return folder

    options: dict[str, Any] = {"rounds": 2, "train": train, "steps": ["length"], "engine": 1}
    options |= {"group_by": "domain", "mechanism": "random", "budget": "20-docs"}
    made = dataworth.loop(pool, out=tmp_path / "out", mixture="uniform", **options)
    assert [taken(one) for one in made] == [{"web": 5, "books": 5, "code": 5, None: 5}] * 2


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.yaml", "web: 0.5\nbooks: 0.2\n", r"a.yaml: the shares add up to 0.7, not to 1"),
        ("a.yaml", "web: half\n", "a.yaml: the share of 'web' is a number such as 0.3 or 30%"),
        ("a.yaml", "- web\n- books\n", "a.yaml: a mixture has a line for each group"),
        ("a.yaml", "web: [1\n", "a.yaml: is neither YAML nor JSON"),
        ("a.yaml", "web: .nan\nbooks: 1\n", "share of 'web' is between 0 and 1, not nan"),
        ("a.json", '{"web": 0.5, "wbe": 0.5}', "names 'wbe', which domain does not have"),
        ("a.json", '{"web": 1}', "no share for .*'books', 'code' of domain"),
        ("a.csv", "group,share\nweb,0.5\nweb,0.5\n", "line 3: the group 'web' has a share"),
        ("a.csv", "web,0.5,1\n", "line 1: has 3 columns, not two"),
        ("a.csv", "", "a.csv: a mixture has a line for each group"),
    ],
)
def test_a_wrong_file_is_one_line(
    pool: Path, tmp_path: Path, name: str, text: str, said: str
) -> None:
    (tmp_path / name).write_text(text, "utf-8")
    with pytest.raises(DataworthError, match=said) as error:
        choose(pool, str(tmp_path / name))
    assert "\n" not in str(error.value)


def test_on_the_command_line_and_in_a_recipe(pool: Path, tmp_path: Path) -> None:
    (tmp_path / "mix.csv").write_text("web,0.5\nunlisted,0.5\n", "utf-8")
    words = ["select", pool, "--step", "length", "-g", "domain", "-b", "20-docs", "-m", "random"]
    done = command(*words, "--mixture", tmp_path / "mix.csv", "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "pool: pool.jsonl\nsteps: [length]\ngroup_by: [domain]\nbudget: 20-docs\n"
        "mechanism: random\nmixture: mix.csv\n",
        "utf-8",
    )
    counts = taken(dataworth.run_recipe(recipe, engine=1))  # type: ignore[arg-type]
    assert counts["web"] == 10
    assert counts == taken(dataworth.load(tmp_path / "out").choose(
        "20-docs", mechanism="random", mixture=tmp_path / "mix.csv"
    ))  # fmt: skip
    gone = command(*words, "--mixture", tmp_path / "no.csv", "-o", tmp_path / "other")
    assert gone.returncode == 2 and "no.csv: cannot be read" in gone.stderr


def test_what_a_mixture_learns_from_counts_by_its_content(tmp_path: Path) -> None:
    def swarm(name: str, loss: float) -> str:
        (tmp_path / name / "runs").mkdir(parents=True)
        facts = {"swarm": {"field": "domain"}, "domains": []}
        (tmp_path / name / "swarm.json").write_text(json.dumps(facts))
        (tmp_path / name / "runs" / "0.json").write_text(json.dumps({"loss": loss}))
        mixture = f"log_linear(swarm={json.dumps(str(tmp_path / name))})"
        return choice_key(ChoiceSettings("10%", mixture=mixture))

    assert swarm("a", 1.0) == swarm("elsewhere", 1.0) != swarm("b", 2.0)
    assert choice_key(ChoiceSettings("10%")) == fingerprint(ChoiceSettings("10%").as_dict())
