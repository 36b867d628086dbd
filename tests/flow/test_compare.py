"""Whole comparisons on a small world, trained in this process."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import dataworth
from dataworth import Comparison, Engine
from dataworth.comparing import bench
from dataworth.comparing.bank import TextBank
from dataworth.comparing.choices import load_documents
from dataworth.comparing.comparison import load_comparison
from dataworth.comparing.held_out import load_excluded
from dataworth.corpus.uid import uid_of
from dataworth.errors import ConfigError, DataworthError, InputError, RunError
from dataworth.flow import annotating
from dataworth.methods.fitted import Fitted
from flow.comparing import NAMES, lines_of, plan_of, world
from flow.pools import write

HERE = Engine(1, "threads")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def first(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return compare(plan_of(place), tmp_path_factory.mktemp("first") / "out")


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of what is trained."""
    names: list[str] = []
    before = bench.Bench.train

    def note(self: bench.Bench, unit: Any) -> dict[str, Any]:
        names.append(unit.name)
        return before(self, unit)

    monkeypatch.setattr(bench.Bench, "train", note)
    yield names


def compare(plan: Any, out: Path, **options: Any) -> Comparison:
    return dataworth.compare(plan, out=out, engine=HERE, **options)


def numbers(facts: Any) -> dict[str, Any]:
    """All facts but those of time."""
    found = json.loads(json.dumps(facts))
    found.pop("seconds")
    for training in found["trainings"]:
        training.pop("seconds"), training.pop("core_seconds")
    for selection in found["selections"]:
        selection.pop("core_seconds", None)
    return dict(found)


def value(facts: Any, selection: str, target: str, seed: int, measure: str = "loss") -> float:
    (found,) = [
        item["value"]
        for item in facts["results"]
        if (item["selection"], item["target"], item["seed"], item["measure"])
        == (selection, target, seed, measure)
    ]
    return float(found)


def without(facts: Any, plan: Any) -> dict[str, Any]:
    """The results of a plan's seeds and tokens alone."""
    results = [
        item
        for item in facts["results"]
        if item["seed"] < plan["seeds"] and item["tokens"] in plan["tokens"]
    ]
    return {**facts, "results": results}


class TestFacts:
    def test_everything_is_there(self, first: Comparison) -> None:
        facts = first.facts
        assert facts["targets"] == sorted(NAMES)
        assert [item["name"] for item in facts["selections"]] == ["random", "sampled", "best"]
        assert [item["needs_target"] for item in facts["selections"]] == [False, True, True]
        # random once a seed, the others for each target.
        assert len(facts["trainings"]) == 2 * (1 + 2 * 2)
        measures = {"loss", "bits_per_byte", "pool_loss", "pool_bits_per_byte"}
        assert {item["measure"] for item in facts["results"]} == measures
        assert len(facts["results"]) == 3 * 2 * 2 * len(measures)
        assert facts["gave_up"] == []
        assert json.loads((first.folder / "comparison.json").read_text())["results"]
        assert "<html" in (first.folder / "report.html").read_text()
        assert load_comparison(first.folder).facts["results"] == facts["results"]

    def test_the_right_documents_are_better_than_random_ones(self, first: Comparison) -> None:
        for target in NAMES:
            for seed in range(2):
                better = value(first.facts, "best", target, seed)
                assert better < value(first.facts, "random", target, seed) - 0.02
        board = first.facts["leaderboards"][0]
        assert board["target"] is None and board["rows"][-1]["selection"] == "random"
        assert "has the lowest loss on the mean over 2 targets" in first.findings[0]

    def test_leaderboards_are_paired_differences(self, first: Comparison) -> None:
        facts = first.facts
        for board in facts["leaderboards"]:
            of = [board["target"]] if board["target"] is not None else list(NAMES)
            for row in board["rows"]:
                own = [
                    np.mean([value(facts, row["selection"], t, s, board["measure"]) for t in of])
                    for s in range(2)
                ]
                base = [
                    np.mean([value(facts, "random", t, s, board["measure"]) for t in of])
                    for s in range(2)
                ]
                assert row["mean"] == pytest.approx(np.mean(own))
                if row["selection"] != "random":
                    assert row["points"] == pytest.approx(np.subtract(own, base))
                    assert row["difference"] == pytest.approx(np.mean(own) - np.mean(base))

    def test_cheap_numbers(self, first: Comparison) -> None:
        found = {
            (item["selection"], item["target"], item["metric"]): item["value"]
            for item in first.facts["cheap"]
            if item["seed"] == 0
        }
        for target in NAMES:
            assert found["best", target, "right_share"] == 1.0
            assert 0.3 < found["random", target, "right_share"] < 0.7
            best = found["best", target, "kl_reduction"]
            assert best > found["random", target, "kl_reduction"] + 0.1
            assert found["best", target, "duplicates"] == 0

    def test_composition_and_overlap(self, first: Comparison) -> None:
        for item in first.facts["composition"]:
            assert sum(part["share"] for part in item["parts"]) == pytest.approx(1)
        (whole,) = [i for i in first.facts["composition"] if i["selection"] is None]
        assert {part["value"] for part in whole["parts"]} == set(NAMES)
        for item in first.facts["overlap"]:
            matrix = np.array(item["jaccard"], np.float64)
            assert np.array_equal(matrix, matrix.T) and (np.diag(matrix) == 1).all()
            # Both go by one utility.
            assert item["rank"][1][2] == pytest.approx(1)
            assert item["rank"][0][1] is None

    def test_the_table(self, first: Comparison) -> None:
        table = first.table().to_pylist()
        assert len(table) == sum(len(b["rows"]) for b in first.facts["leaderboards"])
        assert {row["verdict"] for row in table if row["selection"] == "random"} == {None}

    def test_no_selection_holds_what_it_is_measured_on(self, first: Comparison) -> None:
        excluded = load_excluded(first.folder / "held_out")
        assert len(excluded) > 40
        texts = TextBank(first.folder / "bank" / "text")
        assert not np.isin(texts.uid, excluded).any()


class TestAgain:
    def test_the_same_plan_gives_the_same_numbers(
        self, first: Comparison, place: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan_of(place), sort_keys=False))
        again = compare(tmp_path / "plan.yaml", tmp_path / "again")
        assert numbers(again.facts) == numbers(first.facts)
        # The record of a comparison is a plan, with every value resolved.
        replayed = compare(first.folder / "plan.json", tmp_path / "replayed")
        assert numbers(replayed.facts) == numbers(first.facts)

    def test_it_goes_on_where_it_stopped(
        self, first: Comparison, place: Path, tmp_path: Path, trained: list[str]
    ) -> None:
        out = tmp_path / "out"
        shutil.copytree(first.folder, out)
        lost = sorted(path.name for path in (out / "trainings").iterdir())[:2]
        for name in lost:
            shutil.rmtree(out / "trainings" / name)
        for path in sorted((out / "choices").glob("*.json"))[:3]:
            path.unlink()
        shutil.rmtree(out / "bank")
        again = compare(plan_of(place), out)
        assert sorted(trained) == lost
        assert numbers(again.facts) == numbers(first.facts)
        compare(plan_of(place), out)
        assert len(trained) == 2

    def test_another_plan_is_refused_with_the_difference(
        self, first: Comparison, place: Path
    ) -> None:
        with pytest.raises(RunError, match=r"pool_bytes: 4000 → 5000"):
            compare(plan_of(place, pool_bytes=5000), first.folder)

    def test_it_grows_by_selections_seeds_and_tokens(
        self, first: Comparison, place: Path, tmp_path: Path, trained: list[str]
    ) -> None:
        plan = plan_of(place, seeds=3, tokens=[1500, 1200])
        plan["selections"]["bm25"] = {"steps": ["bm25"], "mechanism": "top_k"}
        whole = compare(plan, tmp_path / "whole")
        count = len(trained)
        out = tmp_path / "out"
        shutil.copytree(first.folder, out)
        grown = compare(plan, out)
        assert numbers(grown.facts) == numbers(whole.facts)
        assert len(trained) - count == count - len(first.facts["trainings"])
        # And back again; a selection that only has the name of another is another one.
        again = compare(plan_of(place), out)
        assert again.facts["results"] == first.facts["results"]
        plan = plan_of(place)
        plan["selections"]["best"] = {"steps": ["bm25"], "mechanism": "top_k"}
        renamed = compare(plan, out).facts
        assert len(trained) - count == count - len(first.facts["trainings"])
        both = [
            [item["value"] for item in facts["results"] if item["selection"] == name]
            for facts, name in ((renamed, "best"), (without(grown.facts, plan), "bm25"))
        ]
        assert len(both[0]) == 2 * 2 * 4 and both[0] == both[1]

    def test_labels_make_no_other_plan(
        self, first: Comparison, place: Path, tmp_path: Path, trained: list[str]
    ) -> None:
        out = tmp_path / "out"
        shutil.copytree(first.folder, out)
        plan = plan_of(place, title="With a bound")
        plan["selections"]["best"]["bound"] = True
        made = compare(plan, out)
        assert trained == [] and made.facts["title"] == "With a bound"
        bounds = [item["name"] for item in made.facts["selections"] if item.get("bound")]
        assert bounds == ["best"]
        assert made.facts["results"] == first.facts["results"]
        assert made.findings[0].startswith("sampled has the lowest loss")
        # The record knows the labels, and is a plan for its own folder.
        again = compare(out / "plan.json", out)
        assert trained == [] and numbers(again.facts) == numbers(made.facts)
        without = compare(plan_of(place), out)
        assert numbers(without.facts) == numbers(first.facts)

    def test_changed_validation_is_refused(self, place: Path, tmp_path: Path) -> None:
        copy = world(tmp_path / "copy")
        plan = plan_of(copy, seeds=1, targets={"red": plan_of(copy)["targets"]["red"]}, right={})
        compare(plan, tmp_path / "out")
        write(copy / "red.val.jsonl", lines_of("red", 21, 5))
        with pytest.raises(RunError, match="validation red"):
            compare(plan, tmp_path / "out")
        compare(plan, tmp_path / "out", overwrite=True)

    def test_a_folder_that_is_none_of_ours(self, place: Path, tmp_path: Path) -> None:
        (tmp_path / "thesis.tex").write_text("x")
        with pytest.raises(RunError, match="holds no comparison"):
            compare(plan_of(place), tmp_path)

    def test_equal_scores_and_trainings_of_another_comparison_are_taken_over(
        self,
        first: Comparison,
        place: Path,
        tmp_path: Path,
        trained: list[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        scored: list[int] = []
        before = annotating.Annotate.__call__

        def note(self: annotating.Annotate, unit: Any, tick: Any) -> Any:
            scored.append(unit.index)
            return before(self, unit, tick)

        monkeypatch.setattr(annotating.Annotate, "__call__", note)
        plan = plan_of(
            place,
            tokens=[1000, 1500],
            selections={"top": {"steps": ["dsir"], "mechanism": "top_k"}},
        )
        # One that was stopped before its table was done comes first, and is not taken.
        begun = tmp_path / "begun"
        shutil.copytree(first.folder, begun)
        parts = [*begun.glob("scores/table/*/*.parquet")]
        assert parts
        for path in parts:
            path.unlink()
        made = compare(plan, tmp_path / "out", reuse=[begun, first.folder])
        assert scored == []
        # The new number of tokens alone, for random and for both targets, with two seeds.
        assert len(trained) == 3 * 2
        assert value_at(made.facts, "top", "red", 1, 1500) == value(first.facts, "best", "red", 1)
        law = made.facts["scaling"][0]
        assert law["axis"] == "tokens" and {x for x, _, _ in law["points"]} == {1000.0, 1500.0}
        with pytest.raises(DataworthError, match="holds no comparison"):
            compare(plan, tmp_path / "other", reuse=[tmp_path])

    def test_so_far(self, place: Path, tmp_path: Path, trained: list[str]) -> None:
        made = compare(plan_of(place), tmp_path / "out", so_far=True)
        assert trained == [] and made.facts["results"] == []
        assert "10 of 10 trainings are not done yet." in made.facts["warnings"]


def value_at(facts: Any, selection: str, target: str, seed: int, tokens: int) -> float:
    (found,) = [
        item["value"]
        for item in facts["results"]
        if (item["selection"], item["target"], item["seed"], item["measure"], item["tokens"])
        == (selection, target, seed, "loss", tokens)
    ]
    return float(found)


def test_a_method_alone_in_its_table_is_asked_once_about_each_document(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it drops too many for others matters only where there are others."""
    asked: list[int] = []
    before = Fitted.compute

    def note(self: Fitted, documents: Any) -> Any:
        asked.append(len(documents))
        return before(self, documents)

    monkeypatch.setattr(Fitted, "compute", note)
    plan = plan_of(place, selections={"words": {"steps": ["bm25"]}})
    compare(plan, tmp_path / "out", so_far=True)
    assert sum(asked) == 240


class TestModels:
    def test_models_are_kept_if_asked_for(
        self, first: Comparison, place: Path, tmp_path: Path, trained: list[str]
    ) -> None:
        """A finished comparison is trained again for them, and its numbers stay the same."""
        out = tmp_path / "out"
        shutil.copytree(first.folder, out)
        again = compare(plan_of(place, keep_models=True), out)
        assert len(trained) == len({one["id"] for one in first.facts["trainings"]})
        plans = ("plan", "title")
        assert {k: v for k, v in numbers(again.facts).items() if k not in plans} == {
            k: v for k, v in numbers(first.facts).items() if k not in plans
        }
        one = again.facts["trainings"][0]
        kept = out / "trainings" / one["id"] / "model"
        found = dataworth.attribute(kept, place / "pool.jsonl", ["redaa redbh"], solver="identity")
        assert found.facts["parameters"] == one["parameters"]
        trained.clear()
        other = compare(plan_of(place, keep_models=True), tmp_path / "other", reuse=[out])
        assert not trained and (other.folder / "trainings" / one["id"] / "model").is_dir()
        compare(plan_of(place), out)
        assert not trained

    def test_what_scoring_took_is_told(self, first: Comparison) -> None:
        costs = {one["name"]: one.get("core_seconds") for one in first.facts["selections"]}
        assert costs["random"] == 0
        # A coarse clock may say 0: that it is counted is shown in test_costs.py.
        assert costs["best"] == costs["sampled"] and 0 <= float(costs["best"]) < 60
        assert all(one["core_seconds"] >= 0 for one in first.facts["trainings"])


class TestSelections:
    def one(self, place: Path, **changes: Any) -> dict[str, Any]:
        targets = {"red": plan_of(place)["targets"]["red"]}
        return plan_of(place, **{"targets": targets, "right": {}, "seeds": 1, **changes})

    def test_equal_documents_are_trained_on_once(
        self, place: Path, tmp_path: Path, trained: list[str]
    ) -> None:
        chosen = dataworth.select(
            place / "pool.jsonl",
            {"red": place / "red.jsonl"},
            "2k",
            mechanism="top_k",
            out=tmp_path / "run",
        )
        selections = {
            "steps": {"steps": ["dsir"], "mechanism": "top_k"},
            "run": {"from": str(tmp_path / "run")},
            "files": {"from": str(tmp_path / "run" / "data" / "*.jsonl.zst")},
            "rows": {"from": str(chosen.folder)},
        }
        # Nothing of the pool is held out here that the run chose, or they would not be equal.
        made = compare(self.one(place, selections=selections, pool_bytes=200), tmp_path / "out")
        excluded = load_excluded(tmp_path / "out" / "held_out")
        assert not np.isin(excluded, chosen.table["uid"].to_numpy()).any()
        assert len(trained) == 2
        same = {value(made.facts, name, "red", 0) for name in selections}
        assert len(same) == 1
        kinds = {item["name"]: item["kind"] for item in made.facts["selections"]}
        assert kinds == {"random": "baseline", "steps": "steps", "run": "finished"} | dict.fromkeys(
            ("files", "rows"), "finished"
        )

    def test_finished_documents_from_elsewhere(self, place: Path, tmp_path: Path) -> None:
        write(tmp_path / "theirs-0.jsonl", lines_of("red", 60, 7))
        held = lines_of("red", 20, 2)[:5]  # of the validation set: not trained on
        write(tmp_path / "held-0.jsonl", [*lines_of("red", 60, 7), *held])
        selections = {
            name: {"from": str(tmp_path / f"{name}-{{seed}}.jsonl")} for name in ("theirs", "held")
        }
        made = compare(self.one(place, selections=selections), tmp_path / "out")
        assert value(made.facts, "theirs", "red", 0) == value(made.facts, "held", "red", 0)
        assert value(made.facts, "theirs", "red", 0) < value(made.facts, "random", "red", 0)
        assert any("not in the pool" in text for text in made.facts["warnings"])
        with pytest.raises(InputError):
            compare(
                self.one(place, selections={"x": {"from": str(tmp_path / "nothing.jsonl")}}),
                tmp_path / "other",
            )

    def test_filters_utilities_and_quotas(self, place: Path, tmp_path: Path) -> None:
        selections = {
            "long": {"steps": ["length(minimum=30)"], "mechanism": "random"},
            "both": {
                "steps": ["length(minimum=2)", "dsir(ngrams=1)", "dsir"],
                "utility": "0.5*dsir + dsir_2",
                "scale": "rank",
                "mechanism": "top_k",
            },
            "worst": {"steps": ["dsir"], "utility": "-1*dsir", "mechanism": "top_k"},
            "capped": {"steps": ["dsir"], "mechanism": "top_k", "quotas": ["domain=red:50%"]},
        }
        made = compare(self.one(place, selections=selections), tmp_path / "out", so_far=True)
        needs = {item["name"]: item["needs_target"] for item in made.facts["selections"]}
        assert needs == {
            "random": False,
            "long": False,
            "both": True,
            "worst": True,
            "capped": True,
        }
        shares = {
            item["selection"]: {part["value"]: part["share"] for part in item["parts"]}
            for item in made.facts["composition"]
        }
        assert shares["both"] == {"red": 1.0} and shares["worst"] == {"blue": 1.0}
        assert shares["capped"]["red"] == pytest.approx(0.5, abs=0.1)
        wrong = {"x": {"steps": ["dsir"], "utility": "dsir_2"}}
        with pytest.raises(ConfigError, match="names 'dsir_2'"):
            compare(self.one(place, selections=wrong), tmp_path / "other")

    def test_decontamination(self, place: Path, tmp_path: Path) -> None:
        red, blue = ([json.loads(x) for x in lines_of(name, 20, 2)] for name in ("red", "blue"))
        rows = [json.loads(line) for line in (place / "pool.jsonl").read_text().splitlines()]
        # A document around a validation document, one around twelve words of it, and one of blue.
        words = red[0]["text"].split()
        planted = [f"xx {red[0]['text']} yy", " ".join(["zz", *words[:12], "zz"]), blue[0]["text"]]
        rows += [{"id": f"p{i}", "text": text, "domain": "red"} for i, text in enumerate(planted)]
        write(tmp_path / "pool.jsonl", [json.dumps(row).encode() for row in rows])
        plan = self.one(place, pool=str(tmp_path / "pool.jsonl"), decontaminate=True)
        made = compare(plan, tmp_path / "out", so_far=True)
        excluded = load_excluded(tmp_path / "out" / "held_out")
        inside = [bool(np.isin(np.uint64(uid_of(text)), excluded)) for text in planted]
        assert inside == [True, False, False]
        assert any("were kept out of all selections" in text for text in made.findings)
        hits = {i["value"] for i in made.facts["cheap"] if i["metric"] == "contamination"}
        assert hits == {0.0}

    def test_half_of_the_examples_validates(self, place: Path, tmp_path: Path) -> None:
        made = compare(
            self.one(
                place,
                targets={"red": str(place / "red.jsonl")},
                selections={"best": {"steps": ["dsir"], "mechanism": "top_k"}},
            ),
            tmp_path / "out",
        )
        assert value(made.facts, "best", "red", 0) < value(made.facts, "random", "red", 0)

    def test_questions(self, place: Path, tmp_path: Path) -> None:
        rows = [
            {"prompt": "redaa redbh", "options": ["redco", "bluexx"], "answer": 0},
            {"prompt": "redaa redbh", "response": "redco"},
            {"prompt": "which? (A) red (B) blue", "response": "(B) blue"},
        ]
        lines = [json.dumps(row).encode() for row in rows]
        write(tmp_path / "questions.jsonl", lines)
        targets = {
            "red": {
                **plan_of(place)["targets"]["red"],
                "choices": str(tmp_path / "questions.jsonl"),
            }
        }
        made = compare(self.one(place, targets=targets), tmp_path / "out")
        measured = {item["measure"] for item in made.facts["results"]}
        assert {"accuracy", "correct_prob", "exact_match", "response_bits_per_byte"} <= measured
        assert value(made.facts, "best", "red", 0, "accuracy") in (0.0, 0.25, 0.5, 0.75, 1.0)
        # What is asked, with its answer, is in no selection.
        excluded = load_excluded(tmp_path / "out" / "held_out")
        asked = ["redaa redbh redco", "which? (A) red (B) blue (B) blue"]
        assert np.isin([np.uint64(uid_of(text)) for text in asked], excluded).all()
        assert any(text.startswith("Questions: accuracy on red is") for text in made.findings)
        write(tmp_path / "questions.jsonl", [b"{}"])
        with pytest.raises(InputError, match="line 1"):
            compare(self.one(place, targets=targets), tmp_path / "other")

    def test_a_model_is_trained_on(self, place: Path, tmp_path: Path) -> None:
        from dataworth.lm.model import ModelConfig, build, save_model
        from dataworth.lm.tokenizer import train_tokenizer

        tokenizer = train_tokenizer([line.decode() for line in lines_of("red", 30, 0)], 280)
        config = ModelConfig(16, 1, 1, 16, vocabulary=280, context=32)
        save_model(build(config, 3), tmp_path / "model", tokenizer)
        size = {
            "name": "more",
            "model": str(tmp_path / "model"),
            "training": {"learning_rate": 0.02},
        }
        made = compare(self.one(place, sizes=[size]), tmp_path / "out")
        assert made.facts["trainings"][0]["parameters"] == config.parameters
        assert value(made.facts, "best", "red", 0) < value(made.facts, "random", "red", 0)

    def test_a_model_of_transformers_is_trained_on(self, place: Path, tmp_path: Path) -> None:
        from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

        from dataworth.lm.tokenizer import train_tokenizer

        inner = train_tokenizer([line.decode() for line in lines_of("red", 30, 0)], 280)
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|endoftext|>")
        config = LlamaConfig(
            vocab_size=280,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=32,
            bos_token_id=0,
            eos_token_id=0,
        )
        import torch

        torch.manual_seed(1)
        model = LlamaForCausalLM(config)
        model.save_pretrained(tmp_path / "model")
        tokenizer.save_pretrained(tmp_path / "model")
        size = {"model": str(tmp_path / "model"), "training": {"learning_rate": 0.02}}
        plan = self.one(place, sizes=[size])
        made = compare(plan, tmp_path / "out")
        (training, *_) = made.facts["trainings"]
        assert training["size"] == "model" and training["parameters"] == model.num_parameters()
        assert value(made.facts, "best", "red", 0) < value(made.facts, "random", "red", 0)
        assert numbers(compare(plan, tmp_path / "again").facts) == numbers(made.facts)


def test_the_same_documents_whatever_the_seed(first: Comparison) -> None:
    """Top-k does not hang on the seed, sampling does; trainings always do."""
    contents: dict[str, list[str]] = {}
    for path in sorted((first.folder / "choices").glob("*.json")):
        item = json.loads(path.read_text())
        if item["target"] in ("red", None):
            contents.setdefault(item["selection"], []).append(item["content"])
    assert len(set(contents["best"])) == 1
    assert len(set(contents["sampled"])) == len(set(contents["random"])) == 2
    uid, counts = load_documents(first.folder / "choices" / "documents", contents["best"][0])
    assert (np.diff(uid.astype(np.float64)) > 0).all() and (counts == 1).all()
    assert value(first.facts, "best", "red", 0) != value(first.facts, "best", "red", 1)


def test_files_that_were_written_again_are_the_same_until_their_text_is_not(
    first: Comparison, tmp_path: Path, trained: list[str]
) -> None:
    place = world(tmp_path)
    out = tmp_path / "out"
    plan = plan_of(place)
    done = compare(plan, out)
    for path in place.glob("*.jsonl"):
        os.utime(path, (1, 1))
    count = len(trained)
    assert numbers(compare(plan, out).facts) == numbers(done.facts)
    assert len(trained) == count
    path = place / "red.val.jsonl"
    data = path.read_bytes()
    path.write_bytes(data.replace(b"red", b"rad", 1))
    with pytest.raises(RunError, match=r"inputs changed.*\n.*validation red.*red\.val\.jsonl"):
        compare(plan, out)
