"""What a budget, quotas, repeats, exclusion and several targets come to, and that it adds up."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

import dataworth
from dataworth.errors import ConfigError, InputError
from flow.pools import chosen, document, texts, write, written


@pytest.fixture(scope="module")
def pool(lines: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """700 documents, 30 of them twice."""
    return write(tmp_path_factory.mktemp("pool") / "pool.jsonl", lines + lines[:30])


@pytest.fixture(scope="module")
def scores(pool: Path, math: Path, code: Path) -> dataworth.Scores:
    return dataworth.score(pool, {"math": math, "code": code}, group_by="domain")


@pytest.fixture(scope="module")
def counted(pool: Path, math: Path, tokenizer: Path) -> dataworth.Scores:
    return dataworth.score(pool, math, tokenizer=tokenizer)


def longest(selection: dataworth.Selection, column: str = "tokens") -> int:
    return max(selection.table[column].to_pylist())


def adds_up(selection: dataworth.Selection) -> None:
    account = selection.metrics["accounting"]
    assert account["documents"] == sum(account["dropped"].values()) + account["eligible"]
    tally = selection.scores.table.tally
    assert sum(tally.lines) == tally.documents + tally.bad.total() + tally.blank
    table = selection.table
    counts = np.array(table["count"].to_pylist())
    kept = account["kept"]
    assert kept["documents"] == len(table)
    assert kept["tokens"] == (np.array(table["tokens"].to_pylist()) * counts).sum()
    assert kept["bytes"] == (np.array(table["text_bytes"].to_pylist()) * counts).sum()


class TestUnits:
    def test_tokens(self, scores: dataworth.Scores):
        found = scores.choose("20k")
        used = sum(found.table["tokens"].to_pylist())
        assert abs(used - 20_000) <= longest(found)
        budget = found.metrics["accounting"]["budget"]
        assert (budget["unit"], budget["amount"], budget["met"]) == ("tokens", 20_000, used)
        assert budget["estimated"]
        adds_up(found)

    def test_documents(self, scores: dataworth.Scores):
        found = scores.choose("100-docs")
        assert len(found) == 100
        adds_up(found)

    def test_share(self, scores: dataworth.Scores):
        whole = sum(dict(zip(*texts_and_tokens(scores), strict=True)).values())
        found = scores.choose("10%")
        used = sum(found.table["tokens"].to_pylist())
        assert abs(used - 0.1 * whole) <= longest(found)
        adds_up(found)

    def test_bytes(self, scores: dataworth.Scores):
        found = scores.choose("100kB")
        used = sum(found.table["text_bytes"].to_pylist())
        assert abs(used - 100_000) <= longest(found, "text_bytes")
        assert found.metrics["accounting"]["budget"]["unit"] == "bytes"
        adds_up(found)

    def test_a_whole_number_is_tokens(self, scores: dataworth.Scores):
        assert chosen(scores.choose(20_000)) == chosen(scores.choose("20k"))

    @pytest.mark.parametrize("budget", ["10B", "100k-docs", "5GB"])
    def test_more_than_there_is(self, budget: str, scores: dataworth.Scores):
        found = scores.choose(budget)
        assert len(found) == 700
        note = found.metrics["accounting"]["budget"]["note"]
        assert "all 700 documents" in note
        adds_up(found)

    def test_all_of_it(self, scores: dataworth.Scores):
        found = scores.choose("100%")
        assert len(found) == 700
        assert found.metrics["accounting"]["budget"]["note"] is None

    @pytest.mark.parametrize("budget", ["", "0", "-5", "10 parsecs", "0%", "1.5-docs", None, True])
    def test_no_budget(self, budget: Any, scores: dataworth.Scores):
        with pytest.raises(ConfigError, match="budget"):
            scores.choose(budget)

    def test_a_tiny_one(self, scores: dataworth.Scores):
        assert len(scores.choose("1")) == 1
        assert len(scores.choose("1-docs")) == 1

    def test_a_wrong_option_is_told_before_any_work(self, pool: Path, math: Path, tmp_path: Path):
        for options in (
            {"budget": "much"},
            {"format": "csv"},
            {"order": "random"},
            {"mechanism": "best"},
            {"mechanism": "gumbel_top_k(temperature=-1)"},
            {"duplicates": "merge"},
            {"scale": "log"},
            {"quotas": "domain"},
            {"steps": "no_such_method"},
            {"steps": "dsir(ngrms=3)"},
            {"holdout": 2},
            {"max_bad": -1},
            {"sample_bytes": 5},
            {"shard_bytes": 0},
            {"engine": -1},
            {"max_repeat": 0},
            {"utility": "dsir +"},
        ):
            with pytest.raises(ConfigError):
                dataworth.select(pool, math, out=tmp_path / "out", **options)
            assert not (tmp_path / "out").exists(), options
        with pytest.raises(ConfigError, match="select has no option 'no_option'"):
            dataworth.select(pool, math, out=tmp_path / "out", no_option=1)


def texts_and_tokens(scores: dataworth.Scores) -> tuple[list[int], list[int]]:
    table = scores.to_arrow()
    return table["uid"].to_pylist(), table["tokens"].to_pylist()


class TestTokenizer:
    def count(self, tokenizer: Path, lines: list[bytes]) -> list[int]:
        made = Tokenizer.from_file(str(tokenizer))
        return [len(made.encode(text, add_special_tokens=False).ids) for text in texts(lines)]

    @pytest.mark.parametrize("budget", [3_000, 50_000])
    def test_within_one_document(
        self, budget: int, counted: dataworth.Scores, tokenizer: Path, tmp_path: Path
    ):
        found = counted.choose(str(budget))
        found.write(tmp_path, format="jsonl")
        counts = self.count(tokenizer, written(tmp_path))
        assert abs(sum(counts) - budget) <= max(counts)
        assert sorted(found.table["tokens"].to_pylist()) == sorted(counts)
        account = found.metrics["accounting"]
        assert not account["budget"]["estimated"]
        assert account["kept"]["tokens"] == sum(counts)
        adds_up(found)

    def test_the_estimate_is_near(self, counted: dataworth.Scores, pool: Path, tokenizer: Path):
        exact = sum(self.count(tokenizer, pool.read_bytes().split(b"\n")[:-1]))
        estimate = sum(counted.to_arrow()["tokens"].to_pylist())
        assert estimate == pytest.approx(exact, rel=0.02)

    def test_down_to_the_cut(self, counted: dataworth.Scores):
        """The chosen ones are the first of the order, by their exact lengths."""
        found = counted.choose("20k", mechanism="top_k")
        order = np.concatenate(list(found.choice.mechanism.order(found.choice.view, 0)))
        assert set(order[: len(found)]) == set(found.rows)

    def test_other_budgets(self, counted: dataworth.Scores, tmp_path: Path, tokenizer: Path):
        found = counted.choose("30-docs")
        found.write(tmp_path / "docs", format="jsonl")
        counts = self.count(tokenizer, written(tmp_path / "docs"))
        assert len(counts) == 30
        assert found.metrics["accounting"]["kept"]["tokens"] == sum(counts)
        found = counted.choose("5%")
        estimate = sum(counted.to_arrow()["tokens"].to_pylist()[:700])
        found.write(tmp_path / "share", format="jsonl")
        counts = self.count(tokenizer, written(tmp_path / "share"))
        assert abs(sum(counts) - 0.05 * estimate) <= max(counts)

    def test_more_than_there_is(self, counted: dataworth.Scores):
        found = counted.choose("10B")
        assert len(found) == 700
        assert "all 700 documents" in found.metrics["accounting"]["budget"]["note"]

    @pytest.mark.parametrize("content", [None, "not a tokenizer"])
    def test_no_tokenizer(self, content: str | None, pool: Path, math: Path, tmp_path: Path):
        path = tmp_path / "tokenizer.json"
        if content is not None:
            path.write_text(content)
        with pytest.raises(ConfigError, match=r"tokenizer\.json"):
            dataworth.select(pool, math, tokenizer=path)


class TestRepeat:
    def test_round_again(self, scores: dataworth.Scores, tmp_path: Path):
        found = scores.choose("1750-docs", max_repeat=4, quotas=None)
        counts = Counter(chosen(found).values())
        assert counts == {2: 350, 3: 350}
        assert found.metrics["accounting"]["copies"] == 1750
        found.write(tmp_path, format="jsonl")
        lines = written(tmp_path)
        assert Counter(Counter(lines).values()) == counts
        assert lines[:700] != sorted(lines[:700])
        adds_up(found)

    def test_copies_are_spread(self, scores: dataworth.Scores, tmp_path: Path):
        """Shuffled, the copies of a document do not stand beside each other."""
        scores.choose("1400-docs", max_repeat=2).write(tmp_path, format="jsonl")
        lines = written(tmp_path)
        assert len(lines) == 1400
        beside = sum(a == b for a, b in itertools.pairwise(lines))
        assert beside < 10

    def test_not_enough(self, scores: dataworth.Scores):
        found = scores.choose("10k-docs", max_repeat=3)
        assert set(chosen(found).values()) == {3}
        assert "3 times over" in found.metrics["accounting"]["budget"]["note"]


class TestQuotas:
    def domains(self, found: dataworth.Selection) -> Counter[str]:
        return Counter(found.table["domain"].to_pylist())

    def test_cap_by_value(self, scores: dataworth.Scores):
        free = self.domains(scores.choose("200-docs"))
        top = free.most_common(1)[0][0]
        held = scores.choose("200-docs", quotas=f"{top}".join(["domain=", ":10-docs"]))
        assert free[top] > 10
        assert self.domains(held)[top] == 10
        assert len(held) == 200
        adds_up(held)

    def test_cap_for_every_value(self, scores: dataworth.Scores):
        found = scores.choose("20k", quotas={"domain": 0.2})
        tokens: Counter[str] = Counter()
        for domain, size in zip(
            found.table["domain"].to_pylist(), found.table["tokens"].to_pylist(), strict=True
        ):
            tokens[domain] += size
        assert max(tokens.values()) <= 4_000
        assert abs(sum(tokens.values()) - 20_000) <= longest(found)

    def test_too_tight(self, scores: dataworth.Scores):
        found = scores.choose("400-docs", quotas="domain:3-docs")
        assert set(self.domains(found).values()) == {3}
        note = found.metrics["accounting"]["budget"]["note"]
        assert "quotas" in note
        assert any("Quotas held back" in said for said in found.metrics["warnings"])
        adds_up(found)

    def test_without_the_field(self, scores: dataworth.Scores):
        with pytest.raises(ConfigError, match=r"'source'.*--group-by source"):
            scores.choose("10-docs", quotas="source:3-docs")
        with pytest.raises(ConfigError, match="nonsense"):
            scores.choose("10-docs", quotas="domain=nonsense:3-docs")

    def test_select_reads_the_field(self, pool: Path, math: Path):
        found = dataworth.select(pool, math, "50-docs", quotas=["source:4-docs", "domain:9-docs"])
        assert max(Counter(found.table["source"].to_pylist()).values()) == 4
        assert max(self.domains(found).values()) <= 9

    def test_a_field_that_some_lack(self, lines: list[bytes], math: Path, tmp_path: Path):
        """What has no value is in no group, and no cap holds it."""
        bare = [line.replace(b'"domain":', b'"other":') for line in lines[:300:2]]
        pool = write(tmp_path / "a.jsonl", lines[1:300:2] + bare)
        found = dataworth.select(pool, math, "200-docs", quotas="domain:1-docs")
        counts = self.domains(found)
        assert counts.pop(None) == 150
        assert set(counts.values()) == {1}


class TestTargets:
    def test_the_order_of_naming(self, pool: Path, math: Path, code: Path):
        one = dataworth.select(pool, {"math": math, "code": code}, "10%")
        two = dataworth.select(pool, {"code": code, "math": math}, "10%")
        assert chosen(one) == chosen(two)

    def test_proportions(self, scores: dataworth.Scores):
        """Shares are of the selection; a target that gets nearly all is nearly alone."""
        kinds = {"math": {"math"}, "code": {"code"}}
        shares = {}
        for weight in (0.1, 0.5, 0.9):
            proportions = {"math": weight, "code": 1 - weight}
            found = scores.choose("60-docs", mechanism="top_k", proportions=proportions)
            domains = Counter(found.table["domain"].to_pylist())
            shares[weight] = sum(domains[name] for name in kinds["math"]) / 60
            assert found.metrics["targets"][1]["proportion"] == pytest.approx(weight)
        assert shares[0.1] < shares[0.5] < shares[0.9]
        turned = {"code": 0.1, "math": 0.9}
        same = scores.choose("60-docs", mechanism="top_k", proportions=turned)
        assert chosen(same) == chosen(found)

    @pytest.mark.parametrize(
        "proportions", [{"math": 1.0}, {"math": 0.5, "cod": 0.5}, {"math": 2, "code": -1}]
    )
    def test_wrong_proportions(self, proportions: dict[str, float], scores: dataworth.Scores):
        with pytest.raises(ConfigError):
            scores.choose("60-docs", proportions=proportions)

    def test_proportions_of_one_target(self, pool: Path, math: Path):
        with pytest.raises(ConfigError, match="several targets"):
            dataworth.select(pool, math, "10%", proportions={"math": 1.0})

    def test_jointly(self, pool: Path, math: Path, code: Path):
        found = dataworth.select(
            pool, {"math": math, "code": code}, "10%", steps="dsir(targets=joint)"
        )
        assert found.scores.table.utilities == ("utility:dsir:joint",)
        adds_up(found)

    def test_no_target(self, pool: Path):
        with pytest.raises(ConfigError, match="needs a target"):
            dataworth.select(pool, None, "10%")
        found = dataworth.select(pool, None, "10%", steps=["length(minimum=30)"])
        assert found.choice.mechanism_text == "random"
        adds_up(found)


class TestExclude:
    def test_a_run(self, pool: Path, math: Path, tmp_path: Path):
        first = dataworth.select(pool, math, "100-docs", out=tmp_path / "first")
        second = dataworth.select(pool, math, "100-docs", exclude=tmp_path / "first")
        assert not set(chosen(first)) & set(chosen(second))
        dropped = second.metrics["accounting"]["dropped"]
        assert next(n for reason, n in dropped.items() if reason.startswith("excluded")) >= 100
        adds_up(second)
        again = first.scores.choose("100-docs", exclude=[tmp_path / "first"])
        assert chosen(again) == chosen(second)
        third = dataworth.select(
            pool, math, "100-docs", exclude=[first.folder, tmp_path / "first" / "data"]
        )
        assert chosen(third) == chosen(second)

    def test_a_run_with_several_choices(self, pool: Path, math: Path, tmp_path: Path):
        scores = dataworth.score(pool, math, out=tmp_path / "run")
        one = scores.choose("50-docs")
        found = scores.choose("50-docs", exclude=tmp_path / "run")
        assert not set(chosen(one)) & set(chosen(found))
        with pytest.raises(ConfigError, match="has 2 selections"):
            scores.choose("50-docs", exclude=tmp_path / "run")
        assert len(scores.choose("900-docs", exclude=[one.folder, found.folder])) == 600

    def test_a_file(self, pool: Path, lines: list[bytes], math: Path, tmp_path: Path):
        seen = [document(text, other=1) for text in texts(lines[100:300])]
        for name in ("seen.jsonl.gz", "seen.parquet"):
            path = write(tmp_path / name, seen)
            found = dataworth.select(pool, math, "100%", exclude=path)
            assert len(found) == 500
            adds_up(found)

    def test_read_as_the_pool_is(self, lines: list[bytes], math: Path, tmp_path: Path):
        """Where the pool's text is in another field, that of the excluded data is too."""
        renamed = [line.replace(b'"text":', b'"content":') for line in lines[:100]]
        pool = write(tmp_path / "pool.jsonl", renamed)
        seen = write(tmp_path / "seen.jsonl", renamed[:40])
        options: dict[str, Any] = {"text_field": "content", "target_text_field": "text"}
        found = dataworth.select(pool, math, "100%", exclude=seen, **options)
        assert len(found) == 60

    @pytest.mark.parametrize("name", ["seen.jsonl", "nowhere.jsonl"])
    def test_nothing_to_exclude(self, name: str, pool: Path, math: Path, tmp_path: Path):
        write(tmp_path / "seen.jsonl", [b'{"content": "another field"}'] * 5)
        with pytest.raises(InputError, match=name):
            dataworth.select(pool, math, "10%", exclude=tmp_path / name)

    def test_all_of_it(self, pool: Path, math: Path, tmp_path: Path):
        found = dataworth.select(pool, math, "10%", exclude=pool, out=tmp_path / "out")
        assert len(found) == 0
        assert any("Nothing was selected" in said for said in found.metrics["warnings"])
        assert written(tmp_path / "out") == []
        adds_up(found)


class TestDuplicates:
    def test_dropped(self, scores: dataworth.Scores):
        found = scores.choose("100%")
        dropped = found.metrics["accounting"]["dropped"]
        assert [n for reason, n in dropped.items() if reason.startswith("duplicate")] == [30]
        assert set(chosen(found).values()) == {1}
        adds_up(found)

    def test_kept(self, scores: dataworth.Scores, tmp_path: Path):
        found = scores.choose("100%", duplicates="keep")
        assert Counter(chosen(found).values()) == {1: 670, 2: 30}
        found.write(tmp_path, format="jsonl")
        assert len(written(tmp_path)) == 730
        adds_up(found)

    def test_the_first_one_stays(self, math: Path, tmp_path: Path):
        """By file and place; other fields are its own."""
        texts = [f"a text of some words, number {number}" for number in range(20)]
        pool = write(
            tmp_path / "a.jsonl", [document(text, n=n) for n, text in enumerate(texts + texts)]
        )
        dataworth.select(pool, math, "100%", out=tmp_path / "out")
        assert sorted(json.loads(line)["n"] for line in written(tmp_path / "out")) == [*range(20)]
