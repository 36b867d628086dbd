"""Parts of a comparison against direct computation: packed losses, banks, the grid, workers."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import dataworth
from dataworth import Engine, Progress
from dataworth.comparing import bank as banks
from dataworth.comparing import losses
from dataworth.comparing.bench import Task, Work
from dataworth.comparing.choices import Chosen, load_documents, rows_of, save_documents
from dataworth.comparing.grid import covers, units_of
from dataworth.comparing.questions import as_question
from dataworth.comparing.reading import read_plan
from dataworth.comparing.results import leaderboards, predictions, scaling
from dataworth.comparing.sizes import resolve
from dataworth.errors import DataworthError, RunError
from dataworth.flow.trainings import trainings
from dataworth.lm.evaluation import document_losses
from dataworth.lm.model import ModelConfig, build
from dataworth.lm.tokenizer import train_tokenizer
from dataworth.measures.statistics import paired
from flow.comparing import lines_of, plan_of, sentence, world

CONFIG = ModelConfig(16, 1, 1, 16, vocabulary=300, context=32)


def texts(count: int) -> list[str]:
    random = np.random.default_rng(3)
    return [sentence("red", random, int(random.integers(1, 60))) for _ in range(count)]


class TestLosses:
    def test_the_same_as_one_document_at_a_time(self) -> None:
        some = [*texts(30), "a"]
        tokenizer = train_tokenizer(some, 300)
        model = build(CONFIG, 1)
        ids = [item.ids for item in tokenizer.encode_batch(some)]
        packed = losses.pack(ids, 0, CONFIG.context, 1)
        assert packed.inputs.shape[1:] == (losses.ROWS, CONFIG.context)
        exact = document_losses(model, tokenizer, some, overlap=losses.OVERLAP)
        assert packed.tokens == int(exact.tokens.sum())
        found = losses.loss_of(model, packed, torch.float32, compiled=False)
        assert found == pytest.approx(float(exact.nats.sum()), rel=1e-6)

    @given(st.lists(st.integers(0, 90), min_size=1, max_size=12), st.integers(4, 33))
    @settings(max_examples=60, deadline=None)
    def test_each_token_is_asked_for_once(self, lengths: list[int], context: int) -> None:
        documents = [[number + 1] * length for number, length in enumerate(lengths)]
        packed = losses.pack(documents, 0, context, 1)
        asked = packed.targets.numpy().ravel()
        assert packed.tokens == (asked >= 0).sum() == sum(lengths) + len(lengths)
        for number, length in enumerate(lengths):
            assert (asked == number + 1).sum() == length
        # A target is what follows its input within its window, and windows are known apart.
        inputs, targets = packed.inputs.numpy(), packed.targets.numpy()
        segments = packed.segments.numpy()
        inside = (segments[..., :-1] == segments[..., 1:]) & (targets[..., :-1] >= 0)
        assert (inputs[..., 1:][inside] == targets[..., :-1][inside]).all()


class TestBank:
    def made(self, folder: Path, some: list[str]) -> tuple[banks.TextBank, banks.TokenBank, Any]:
        (folder / "pool.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in some))
        scores = dataworth.score(folder / "pool.jsonl", steps=[], out=folder / "run")
        uid = np.unique(scores.table.column("uid"))
        banks.build_texts(folder / "text", uid, scores.scored, [])
        bank = banks.TextBank(folder / "text")
        tokenizer = train_tokenizer(some, 300)
        banks.build_tokens(folder / "tokens", bank, tokenizer, 0)
        return bank, banks.TokenBank(folder / "tokens", bank), tokenizer

    def test_streams_hold_the_documents_with_their_copies(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(banks, "_BATCH_BYTES", 500)  # several batches
        some = list(dict.fromkeys(texts(40)))
        bank, tokens, tokenizer = self.made(tmp_path, some)
        assert sorted(bank.documents(bank.uid).texts()) == sorted(some)
        uid = bank.uid[::3]
        counts = np.arange(len(uid), dtype=np.int64) % 3 + 1
        ids, starts, sizes = tokens.stream(uid, counts, 7, 10**9)
        assert len(starts) == counts.sum() + 1 == len(sizes) + 1
        found = [tokenizer.decode(ids[a:b][:-1].tolist()) for a, b in itertools.pairwise(starts)]
        chosen = bank.documents(uid).texts()
        assert sorted(found) == sorted(
            t for t, n in zip(chosen, counts, strict=True) for _ in range(n)
        )
        assert (ids[starts[1:] - 1] == 0).all()
        assert [len(text.encode()) for text in found] == sizes.tolist()
        assert tokens.count(uid, counts) == len(ids)
        # Another seed, another order; a part is the beginning of it.
        other = tokens.stream(uid, counts, 8, 10**9)[0]
        assert not np.array_equal(ids, other) and len(ids) == len(other)
        few = tokens.stream(uid, counts, 7, 100)
        assert 0 < len(few[0]) - 100 < 300 and np.array_equal(few[0], ids[: len(few[0])])

    def test_the_order_does_not_hang_on_what_else_was_chosen(self, tmp_path: Path) -> None:
        bank, tokens, tokenizer = self.made(tmp_path, list(dict.fromkeys(texts(30))))

        def order(uid: Any) -> list[str]:
            ids, starts, _ = tokens.stream(uid, np.ones(len(uid), np.int64), 1, 10**9)
            pairs = itertools.pairwise(starts)
            return [tokenizer.decode(ids[a:b][:-1].tolist()) for a, b in pairs]

        some = set(order(bank.uid[::2]))
        assert [text for text in order(bank.uid) if text in some] == order(bank.uid[::2])

    def test_what_is_gone_is_told(self, tmp_path: Path) -> None:
        bank, _, _ = self.made(tmp_path, ["one text", "another text"])
        with pytest.raises(RunError):
            bank.rows(np.array([1], np.uint64))
        scores = dataworth.load(tmp_path / "run")
        with pytest.raises(RunError, match="no longer where they were"):
            banks.build_texts(tmp_path / "x", np.array([1], np.uint64), scores.scored, [])


@given(st.lists(st.integers(0, 30), max_size=20), st.lists(st.integers(0, 30), max_size=8))
@settings(max_examples=60, deadline=None)
def test_rows_of(column: list[int], wanted: list[int]) -> None:
    known, rows = rows_of(np.array(column, np.uint64), np.array(wanted, np.uint64))
    assert known.tolist() == [uid in column for uid in wanted]
    assert rows.tolist() == [column.index(uid) for uid in wanted if uid in column]


def test_documents_are_named_by_what_they_are(tmp_path: Path) -> None:
    uid, counts = np.array([5, 3, 9], np.uint64), np.array([1, 2, 1], np.int64)
    name = save_documents(tmp_path, uid, counts)
    assert save_documents(tmp_path, uid[::-1], counts[::-1]) == name
    assert save_documents(tmp_path, uid, np.array([1, 1, 1], np.int64)) != name
    found = load_documents(tmp_path, name)
    assert found[0].tolist() == [3, 5, 9] and found[1].tolist() == [2, 1, 1]


class TestGrid:
    def plan(self, **changes: Any) -> Any:
        return resolve(read_plan(plan_of(Path("/data"), **changes)))

    def chosens(self) -> list[Chosen]:
        return [
            Chosen("random", None, 0, "r", 1, 1),
            Chosen("sampled", "red", 0, "a", 1, 1),
            Chosen("sampled", "blue", 0, "b", 1, 1),
            Chosen("best", "red", 0, "a", 1, 1),
            Chosen("best", "blue", 0, "r", 1, 1),
        ]

    def test_equal_selections_are_one_training(self) -> None:
        units, grid = units_of(self.plan(seeds=1), self.chosens(), {"micro": "m"})
        assert {unit.content: unit.targets for unit in units} == {
            "r": ("blue", "red"),
            "a": ("red",),
            "b": ("blue",),
        }
        assert len(grid) == 6
        assert grid["best", "blue", 0, "micro", 1500] == grid["random", "red", 0, "micro", 1500]

    def test_a_name_hangs_on_all_that_matters(self) -> None:
        names = set()
        changes: list[dict[str, Any]] = [
            {},
            {"tokens": [1600]},
            {"seeds": [1]},
            {"training": {"precision": "float32", "clip": 0.5}},
            {"vocabulary": 310},
        ]
        for change in changes:
            plan = self.plan(**{"seeds": 1, **change})
            chosens = [Chosen("random", None, plan.seeds[0], "r", 1, 1)]
            plan = plan.__class__(**{**vars(plan), "candidates": plan.candidates[:1]})
            units, _ = units_of(plan, chosens, {"micro": "m"})
            names.add(units[0].name)
        units, _ = units_of(plan, chosens, {"micro": "other tokenizer"})
        names.add(units[0].name)
        assert len(names) == len(changes) + 1

    def test_results_must_have_all_measures(self) -> None:
        (unit, *_), _ = units_of(self.plan(seeds=1), self.chosens(), {"micro": "m"})
        keys = {"": ["p"], "red": ["r"], "blue": ["b"]}
        assert covers({"evaluations": {"p": {}, "r": {}, "b": {}}}, unit, keys)
        assert not covers({"evaluations": {"p": {}, "r": {}}}, unit, keys)


class TestNumbers:
    """Leaderboards, laws and predictions from losses that are known."""

    def values(self, plan: Any) -> dict[Any, float]:
        random = np.random.default_rng(0)
        found = {}
        for selection, gain in (("random", 0.0), ("sampled", 0.3), ("best", 0.05)):
            for target, hard in (("red", 0.0), ("blue", 1.0)):
                for seed in plan.seeds:
                    for tokens in plan.tokens:
                        luck = float(random.normal(0, 0.01))
                        loss = 2.0 + hard + 40 * ((1 + gain) * tokens) ** -0.5 + luck
                        found[selection, target, seed, "micro", tokens, "loss"] = loss
        return found

    def test_the_mean_over_targets_has_a_point_for_each_seed(self) -> None:
        plan = resolve(read_plan(plan_of(Path("/data"), seeds=4, tokens=[1000, 2000, 4000])))
        values = self.values(plan)
        boards = leaderboards(plan, values)
        assert [(b["tokens"], b["target"]) for b in boards[:3]] == [
            (1000, None),
            (1000, "blue"),
            (1000, "red"),
        ]
        rows = {row["selection"]: row for row in boards[0]["rows"]}
        assert boards[0]["rows"][0]["selection"] == "sampled"

        def mean(name: str, seed: int) -> float:
            return float(
                np.mean([values[name, t, seed, "micro", 1000, "loss"] for t in ("red", "blue")])
            )

        expected = paired(
            [mean("sampled", s) for s in range(4)], [mean("random", s) for s in range(4)]
        )
        assert rows["sampled"]["difference"] == pytest.approx(expected.difference)
        assert rows["sampled"]["low"] == pytest.approx(expected.low)
        assert rows["sampled"]["verdict"] == expected.verdict == "better"
        assert len(rows["sampled"]["points"]) == 4
        # A seed that is missing is left out of the pairs.
        del values["sampled", "red", 3, "micro", 1000, "loss"]
        rows = {row["selection"]: row for row in leaderboards(plan, values)[0]["rows"]}
        assert len(rows["sampled"]["points"]) == 3 and len(rows["best"]["points"]) == 4

    def test_multipliers_are_found_again(self) -> None:
        plan = resolve(read_plan(plan_of(Path("/data"), seeds=4, tokens=[1000, 2000, 4000, 8000])))
        laws = scaling(plan, self.values(plan), {"micro": 1000})
        found = {(item["selection"], item["target"]): item for item in laws}
        assert found["random", None]["multiplier"] is None
        multiplier = found["sampled", None]["multiplier"]
        assert multiplier is not None and multiplier["value"] == pytest.approx(1.3, rel=0.1)
        law = found["random", "red"]["law"]
        assert law is not None and law["exponent"] == pytest.approx(0.5, abs=0.15)
        assert {item["axis"] for item in laws} == {"tokens"}

    def test_predictions_are_within_targets(self) -> None:
        plan = resolve(read_plan(plan_of(Path("/data"), seeds=2)))
        values = self.values(plan)
        cheap: list[Any] = [
            {"selection": s, "target": t, "seed": 0, "metric": "kl_reduction", "value": x + shift}
            for s, x in (("random", 0.0), ("sampled", 1.0), ("best", 0.2))
            # A target where all is larger says nothing.
            for t, shift in (("red", 0.0), ("blue", 50.0))
        ]
        (found,) = [item for item in predictions(plan, values, cheap) if item["measure"] == "loss"]
        assert found["n"] == 6 and found["r"] is not None and found["r"] < -0.9
        assert found["decision_accuracy"] == 1.0


class TestQuestions:
    def test_forms(self) -> None:
        assert as_question({"question": "q", "choices": ["a", "b"], "answer": "b"}) == {
            "prompt": "q",
            "options": ["a", "b"],
            "answer": 1,
        }
        assert as_question({"prompt": "q", "completion": "c"}) == {"prompt": "q", "response": "c"}
        listed = {
            "prompt": "What?\nAnswer Choices: (A) one (B) two (C) three",
            "response": "(B) two",
        }
        assert as_question(listed) == {
            "prompt": listed["prompt"],
            "options": ["(A) one", "(B) two", "(C) three"],
            "answer": 1,
        }

    @pytest.mark.parametrize(
        "row",
        [{}, {"prompt": "q"}, {"prompt": "q", "options": ["a"], "answer": 0}, {"response": "r"}]
        + [{"prompt": "q", "options": ["a", "b"], "answer": wrong} for wrong in (2, -1, "c")],
    )
    def test_no_questions(self, row: dict[str, Any]) -> None:
        with pytest.raises((KeyError, ValueError)):
            as_question(row)


class TestWorkers:
    def test_processes_give_the_same_numbers_and_survive_a_kill(self, tmp_path: Path) -> None:
        place = world(tmp_path / "world")
        plan = plan_of(place, seeds=1, tokens=[3000])
        del plan["selections"]["sampled"]
        (tmp_path / "plan.json").write_text(json.dumps(plan))
        out = tmp_path / "out"
        command = [sys.executable, "-m", "dataworth", "compare", str(tmp_path / "plan.json")]
        command += ["--out", str(out), "--workers", "1", "--quiet"]
        process = subprocess.Popen(command, start_new_session=True)
        try:
            deadline = time.monotonic() + 600
            while not list((out / "trainings").glob("*/result.json")):
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.01)
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        before = {
            path.parent.name: path.read_bytes()
            for path in (out / "trainings").glob("*/result.json")
        }
        while True:  # the worker ends by itself when its input does
            try:
                resumed = dataworth.compare(plan, out=out, engine=Engine(1, "threads"))
                break
            except RunError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        for name, content in before.items():
            assert (out / "trainings" / name / "result.json").read_bytes() == content
        fresh = dataworth.compare(plan, out=tmp_path / "fresh", engine=Engine(1, "threads"))
        assert resumed.facts["results"] == fresh.facts["results"]

    def test_errors_of_a_worker_are_told(self, tmp_path: Path) -> None:
        work = Work(tmp_path, "cpu", "none")
        told = trainings(work, [Task(1)], Engine(1), Progress(), name="train", device="cpu")
        with pytest.raises(DataworthError, match=r"plan\.json"):
            list(told)


def test_minutes(tmp_path: Path) -> None:
    place = world(tmp_path / "world")
    plan = plan_of(place, seeds=4, tokens=[1000, 2000])
    del plan["selections"]["sampled"]
    made = dataworth.compare(plan, out=tmp_path / "out", minutes=0.001, engine=Engine(1, "threads"))
    assert made.facts["gave_up"][:2] == ["seed 3", "2,000 tokens"]
    assert {item["seed"] for item in made.facts["results"]} == {0, 1, 2}
    # What it settled on is not settled again.
    again = dataworth.compare(
        plan, out=tmp_path / "out", minutes=0.001, engine=Engine(1, "threads")
    )
    assert again.facts["results"] == made.facts["results"]
    assert lines_of("red", 1, 0) != lines_of("red", 1, 1)
