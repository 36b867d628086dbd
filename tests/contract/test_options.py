"""An option means the same on the command line, in Python, in a recipe and in a run's record."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

import dataworth
from cli.conftest import Invoke, _compiled, _log_as_it_was, dw  # noqa: F401
from dataworth.engine.local import Engine

PYTHON_ONLY = {
    "progress",  # the command line chooses one; it says --quiet
}
NOT_IN_SETTINGS = ("engine", "storage_options")
"""Options that no plan shows: compared as they reach the function."""
MEASURED = ("seconds", "free_bytes")


@dataclass(frozen=True)
class Way:
    """An option: its value in Python, its words on the command line, and its lines in a recipe.

    `beside`: options without which it cannot be, in the same three forms.
    """

    value: Any
    words: Sequence[str]
    recipe: Mapping[str, Any] | None = None
    beside: Sequence[str] = ()


WAYS: Mapping[str, Way] = {
    "pool": Way(Path("other.jsonl"), ["other.jsonl"], {"pool": "other.jsonl"}),
    "target": Way({"aim": [Path("target.jsonl")]}, ["--target", "aim=target.jsonl"],
                  {"target": {"aim": "target.jsonl"}}),
    "budget": Way("3-docs", ["--budget", "3-docs"]),
    "steps": Way(["length(minimum=2)", {"dsir": {"ngrams": 1}}],
                 ["--step", "length(minimum=2)", "--step", "dsir(ngrams=1)"]),
    "mechanism": Way("top_k", ["--mechanism", "top_k"]),
    "utility": Way("2*dsir", ["--utility", "2*dsir"]),
    "scale": Way("rank", ["--scale", "rank"]),
    "proportions": Way({"one": 0.25, "two": 0.75},
                       ["--proportion", "one=25%", "--proportion", "two=0.75"],
                       {"proportions": {"one": "25%", "two": 0.75}}, ["targets"]),
    "quotas": Way(["domain=web:30%", "id:2-docs"],
                  ["--quota", "domain=web:30%", "--quota", "id:2-docs"]),
    "mixture": Way("uniform(by=domain)", ["--mixture", "uniform(by=domain)"]),
    "max_repeat": Way(3, ["--max-repeat", "3"]),
    "exclude": Way(["other.jsonl", "target.jsonl"],
                   ["--exclude", "other.jsonl", "--exclude", "target.jsonl"]),
    "duplicates": Way("keep", ["--duplicates", "keep"]),
    "format": Way("parquet", ["--format", "parquet"]),
    "shard_bytes": Way(100_000, ["--shard-bytes", "100kB"], {"shard_bytes": "100kB"}),
    "order": Way("rank", ["--order", "rank"]),
    "text_field": Way(["body", "text"], ["--text-field", "body", "--text-field", "text"]),
    "target_text_field": Way("body", ["--target-text-field", "body"]),
    "target_template": Way("tulu", ["--target-template", "tulu"]),
    "id_field": Way("id", ["--id-field", "id"]),
    "group_by": Way(["domain", "id"], ["--group-by", "domain", "--group-by", "id"]),
    "seed": Way(7, ["--seed", "7"]),
    "holdout": Way(0.25, ["--holdout", "25%"], {"holdout": "25%"}),
    "sample_bytes": Way(2**20, ["--sample-bytes", "1MiB"], {"sample_bytes": "1MiB"}),
    "max_bad": Way(0.02, ["--max-bad", "2%"], {"max_bad": "2%"}),
    "tokenizer": Way("tokenizer.json", ["--tokenizer", "tokenizer.json"]),
    "storage_options": Way(
        {"anon": True, "client_kwargs": {"endpoint_url": "http://x"}},
        ["--storage-option", "anon=true",
         "--storage-option", "client_kwargs.endpoint_url=http://x"],
    ),
    "out": Way("elsewhere", ["--out", "elsewhere"]),
    "overwrite": Way(True, ["--overwrite"], None, ["done"]),
    "engine": Way(Engine(2, "processes"), ["--workers", "2", "--engine", "processes"],
                  {"workers": 2, "engine": "processes"}),
    "join": Way(" / ", ["--join", " / "], None, ["text_field"]),
    "template": Way("tulu", ["--template", "tulu"]),
    "split_words": Way(5, ["--split-words", "5"]),
    "txt": Way("line", ["--txt", "line"]),
    "max_line_bytes": Way(2**20, ["--max-line-bytes", "1MiB"], {"max_line_bytes": "1MiB"}),
}  # fmt: skip
BESIDE: Mapping[str, Way] = {
    "targets": Way({"one": Path("target.jsonl"), "two": Path("other.jsonl")},
                   ["--target", "one=target.jsonl", "--target", "two=other.jsonl"],
                   {"target": {"one": "target.jsonl", "two": "other.jsonl"}}),
    "done": Way("done", ["--out", "done"], {"out": "done"}),
}  # fmt: skip
_NAMES = {"targets": "target", "done": "out"}


@dataclass
class Asked:
    """What reached `plan`, and its answer as JSON."""

    calls: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, plan: Callable[..., Any]) -> Callable[..., Any]:
        """Return `plan`, which notes what it is asked."""

        def noted(*given: Any, **options: Any) -> Any:
            self.calls.append({name: options.get(name) for name in NOT_IN_SETTINGS})
            return plan(*given, **options)

        return noted


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pool and targets with every field that an option may name, and a finished run."""
    monkeypatch.chdir(tmp_path)
    for name, seed in (("pool", 3), ("other", 4), ("target", 5)):
        rows = []
        for number in range(12):
            said = " ".join(f"w{(number * seed + place) % 17}" for place in range(9))
            turns = [{"role": "user", "content": said}, {"role": "assistant", "content": "yes"}]
            row = {"text": said, "body": f"{said}!", "id": f"{name}{number}", "messages": turns}
            rows.append(json.dumps({**row, "domain": ("web", "book")[number % 2]}) + "\n")
        Path(f"{name}.jsonl").write_text("".join(rows))
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.train_from_iterator(["w1 w2 w3 yes"], trainers.BpeTrainer(vocab_size=300))
    made.save("tokenizer.json")
    return tmp_path


def forms(name: str) -> tuple[dict[str, Any], list[str], dict[str, Any]]:
    """The option with what it needs: keyword arguments, words, lines of a recipe."""
    ways = [(name, WAYS[name])]
    ways += [(other, WAYS.get(other) or BESIDE[other]) for other in WAYS[name].beside]
    python: dict[str, Any] = {"pool": Path("pool.jsonl"), "target": Path("target.jsonl")}
    python["out"] = "out"
    recipe: dict[str, Any] = {"pool": "pool.jsonl", "target": "target.jsonl", "out": "out"}
    words: list[str] = []
    for known, way in ways:
        known = _NAMES.get(known, known)
        python[known] = way.value
        recipe |= {known: way.value} if way.recipe is None else way.recipe
        words += way.words
    named = {word for word in words if word.startswith("--")}
    words += [] if "pool" in (known for known, _ in ways) else ["pool.jsonl"]
    words += [] if "--target" in named else ["--target", "target.jsonl"]
    words += [] if "--out" in named else ["--out", "out"]
    return python, words, recipe


def without(plan: Mapping[str, Any]) -> dict[str, Any]:
    """A plan without what was measured."""
    return {name: value for name, value in plan.items() if name not in MEASURED}


def test_every_option_is_tested() -> None:
    parameters = inspect.signature(dataworth.select).parameters.values()
    names = {p.name for p in parameters if p.kind is not p.VAR_KEYWORD}
    assert names - PYTHON_ONLY <= set(WAYS)
    for way in WAYS:
        forms(way)


@pytest.mark.parametrize("name", WAYS)
def test_command_line_python_and_recipe(
    name: str,
    folder: Path,
    dw: Invoke,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    python, words, recipe = forms(name)
    if "done" in WAYS[name].beside:
        dataworth.score("pool.jsonl", "target.jsonl", steps="length", out="done")
    Path("recipe.yaml").write_text(yaml.safe_dump(recipe))
    asked = Asked()
    monkeypatch.setattr(dataworth, "plan", asked(dataworth.plan))
    expected = json.loads(json.dumps(dataworth.plan(**python).as_dict()))
    default = dict(forms("pool")[0], pool=Path("pool.jsonl"), out=python["out"])
    plain = json.loads(json.dumps(dataworth.plan(**default).as_dict()))
    if name not in (*NOT_IN_SETTINGS, "out"):
        assert without(plain) != without(expected)  # or the option would be lost in all ways
    for line in (["select", *words], ["run", "recipe.yaml"]):
        shown = dw(*line, "--dry-run", "--json", "--quiet")
        assert shown.exit_code == 0, shown.output
        assert without(json.loads(shown.stdout)) == without(expected), line
        if name in NOT_IN_SETTINGS:
            assert asked.calls[-1][name] == asked.calls[0][name] == python[name]


def resumes(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise unless the run's record, read from another working folder, goes on with the run."""
    (run / "empty").mkdir()
    monkeypatch.chdir(run / "empty")
    planned = dataworth.plan(**dataworth.read_recipe(run / "run.json").options)
    assert (planned.state, planned.changes) == ("resumes", [])


def test_the_record_of_a_run_is_its_recipe(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left_out = {"pool", "target", "out", "overwrite", "storage_options", "engine", "template"}
    left_out |= {"target_template", "proportions", "split_words"}
    options = {name: way.value for name, way in WAYS.items() if name not in left_out}
    dataworth.select("pool.jsonl", {"a": "target.jsonl"}, out="out", **options)
    resumes(folder / "out", monkeypatch)


@pytest.mark.parametrize("name", ["template", "target_template", "split_words"])
def test_the_record_of_a_run_on_chats_or_pieces(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = {"one": "target.jsonl", "two": "other.jsonl"}
    shares, options = WAYS["proportions"].value, {name: WAYS[name].value}
    dataworth.select("pool.jsonl", targets, out="out", proportions=shares, **options)
    resumes(folder / "out", monkeypatch)
