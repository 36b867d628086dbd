"""From a finished table: choose again, explain, report, other mechanisms and utilities."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dataworth
from dataworth.corpus.uid import uid_of
from dataworth.errors import ConfigError, DataworthError
from flow.pools import chosen, document, shards, texts, write, written

STEPS = ["length(minimum=8)", "dsir", "dsir(ngrams=1, per=document)"]


@pytest.fixture(scope="module")
def pool(lines: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """700 documents, one of them twice, and five that are too short."""
    short = [document(f"short {number}", id=f"short-{number}") for number in range(5)]
    return write(tmp_path_factory.mktemp("pool") / "pool.jsonl", [*lines, lines[3], *short])


@pytest.fixture(scope="module")
def scores(
    pool: Path, math: Path, code: Path, tmp_path_factory: pytest.TempPathFactory
) -> dataworth.Scores:
    return dataworth.score(
        pool,
        {"math": math, "code": code},
        steps=STEPS,
        id_field="id",
        group_by=["domain", "source"],
        out=tmp_path_factory.mktemp("scores") / "out",
    )


def values(found: dataworth.Selection, name: str) -> np.ndarray[Any, Any]:
    return found.scores.table.column(name)


class TestAgain:
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"mechanism": "top_k"},
            {"seed": 4},
            {"quotas": "domain:20%"},
            {"utility": "dsir + 0.5*dsir_2", "scale": "rank"},
            {"proportions": {"math": 0.7, "code": 0.3}},
            {"duplicates": "keep"},
        ],
        ids=str,
    )
    def test_the_same_as_a_fresh_one(
        self,
        options: dict[str, Any],
        scores: dataworth.Scores,
        pool: Path,
        math: Path,
        code: Path,
        tmp_path: Path,
    ):
        loaded = dataworth.load(scores.folder)
        again = loaded.choose("5%", **options)
        if "seed" in options:  # of the sample and the halves too, when all is done afresh
            return
        fresh = dataworth.select(
            pool,
            {"math": math, "code": code},
            "5%",
            steps=STEPS,
            id_field="id",
            group_by=["domain", "source"],
            out=tmp_path / "out",
            format="jsonl",
            **options,
        )
        assert chosen(again) == chosen(fresh)
        again.write(tmp_path / "again", format="jsonl")
        assert shards(tmp_path / "again") == shards(tmp_path / "out")
        assert again.choice.temperatures == fresh.choice.temperatures
        kept = [f.metrics["accounting"] for f in (again, fresh)]
        assert kept[0] == kept[1]

    def test_seeds(self, scores: dataworth.Scores):
        one, two = (chosen(scores.choose("5%", seed=seed)) for seed in (1, 2))
        assert one != two
        assert one == chosen(scores.choose("5%", seed=1))
        top = [chosen(scores.choose("5%", seed=seed, mechanism="top_k")) for seed in (1, 2)]
        assert top[0] == top[1]

    def test_larger_budgets_hold_smaller_ones(self, scores: dataworth.Scores):
        for mechanism in ("top_k", "random", "gumbel_top_k(temperature=0.1)", "pareto"):
            small, large = (
                set(chosen(scores.choose(budget, mechanism=mechanism)))
                for budget in ("30-docs", "90-docs")
            )
            assert small < large

    def test_kept_in_the_folder(self, scores: dataworth.Scores):
        found = scores.choose("7-docs")
        assert found.folder.parent == scores.folder / "selections"
        choice = json.loads((found.folder / "choice.json").read_text())
        assert choice["budget"] == "7-docs"
        assert choice["resolved"].startswith("per_target")

    def test_the_pool_is_not_needed(self, lines: list[bytes], math: Path, tmp_path: Path):
        pool = write(tmp_path / "pool.jsonl", lines[:100])
        dataworth.select(pool, math, "10%", out=tmp_path / "out")
        pool.unlink()
        scores = dataworth.load(tmp_path / "out")
        assert len(scores.choose("20-docs")) == 20
        with pytest.raises(DataworthError, match=r"pool\.jsonl: no such file"):
            scores.choose("20-docs").write(tmp_path / "written")


class TestMechanisms:
    def test_top_k(self, scores: dataworth.Scores):
        found = scores.choose("50-docs", utility="dsir:math", mechanism="top_k")
        column = values(found, "utility:dsir:math")
        order = np.argsort(-np.where(found.choice.candidates.eligible, column, -np.inf))
        assert set(order[:50]) == set(found.rows)
        (shown,) = found.metrics["utilities"]
        assert shown["threshold"] == pytest.approx(column[order[49]])

    def test_threshold(self, scores: dataworth.Scores):
        column = scores.table.column("utility:dsir:math")
        least = float(np.nanquantile(column, 0.9))
        found = scores.choose("100%", utility="dsir:math", mechanism=f"threshold(at={least})")
        assert (column[found.rows] >= least).all()
        eligible = found.choice.candidates.eligible
        assert len(found) == int((column[eligible] >= least).sum())

    def test_pareto(self, scores: dataworth.Scores):
        found = scores.choose("50-docs", mechanism="pareto", utility="dsir:math")
        assert len(found) == 50

    def test_random(self, scores: dataworth.Scores, pool: Path, math: Path):
        """The same for every utility: it reads none."""
        one = scores.choose("50-docs", mechanism="random")
        assert len(one) == 50
        other = dataworth.score(pool, math, steps=STEPS).choose("50-docs", mechanism="random")
        assert chosen(one) == chosen(other)

    def test_temperatures(self, scores: dataworth.Scores):
        """0 is top-k, a very large one is random."""
        cold = scores.choose("50-docs", mechanism="gumbel_top_k(temperature=0)")
        assert chosen(cold) == chosen(scores.choose("50-docs", mechanism="top_k"))
        hot = scores.choose(
            "50-docs", utility="dsir:math", mechanism="gumbel_top_k(temperature=1e12)"
        )
        assert chosen(hot) == chosen(scores.choose("50-docs", mechanism="random"))
        found = scores.choose("50-docs")
        for column, item in found.choice.temperatures.items():
            assert item.temperature >= 0
            shown = next(u for u in found.metrics["utilities"] if u["column"] == column)
            assert shown["temperature"] == item.temperature

    @pytest.mark.parametrize(
        "mechanism", ["best", "top_k(x=1)", "gumbel_top_k(temperature=-2)", "threshold(at="]
    )
    def test_none(self, mechanism: str, scores: dataworth.Scores):
        with pytest.raises(ConfigError):
            scores.choose("5%", mechanism=mechanism)


class TestUtilities:
    def test_sums(self, scores: dataworth.Scores):
        found = scores.choose("40-docs", utility="2*dsir:math - dsir_2:math", mechanism="top_k")
        first, second = (values(found, f"utility:{s}:math") for s in ("dsir", "dsir_2"))
        total = np.where(found.choice.candidates.eligible, 2 * first - second, -np.inf)
        assert set(np.argsort(-total)[:40]) == set(found.rows)
        (name,) = found.choice.view.utilities
        assert name.endswith(":math")

    @pytest.mark.parametrize("scale", ["raw", "rank", "z"])
    def test_scales(self, scale: str, scores: dataworth.Scores):
        for utility in (None, "dsir + dsir_2"):
            found = scores.choose("40-docs", utility=utility, scale=scale)
            assert len(found) == 40
            assert found.metrics["utilities"]

    @pytest.mark.parametrize("utility", ["dsir_3", "math", "dsir +", "dsir:history", ""])
    def test_none(self, utility: str, scores: dataworth.Scores):
        with pytest.raises(ConfigError):
            scores.choose("40-docs", utility=utility)

    def test_names(self, scores: dataworth.Scores):
        assert set(scores.utility_names()) == {
            f"{step}:{target}" for step in ("dsir", "dsir_2") for target in ("math", "code")
        }
        assert set(scores.steps) == {"length", "dsir", "dsir_2"}


class TestExplain:
    def test_all_ways_to_name_it(self, scores: dataworth.Scores, lines: list[bytes], pool: Path):
        found = scores.choose("20%")
        line = lines[17]
        row = json.loads(line)
        offset = sum(len(other) + 1 for other in lines[:17])
        uid = f"{uid_of(row['text']):016x}"
        told = [
            found.explain(name)
            for name in (
                uid,
                uid.upper(),
                row["id"],
                f"{pool}:{offset}",
                f"pool.jsonl:{offset}",
                row["text"],
            )
        ]
        assert all(item == told[0] for item in told)
        shown = told[0]["document"]
        assert shown["text"] == row["text"][:4000]
        assert (shown["uid"], shown["id"], shown["offset"]) == (uid, row["id"], offset)
        assert shown["groups"] == {"domain": row["domain"], "source": row["source"]}
        assert told[0]["kept"] == (shown["copies"] > 0) == (uid_of(row["text"]) in chosen(found))
        assert shown["rank"] >= 1

    def test_what_drove_it(self, scores: dataworth.Scores, lines: list[bytes]):
        for utility in (None, "dsir:math", "0.5*dsir:math - 2*dsir_2:code"):
            found = scores.choose("20%", utility=utility, mechanism="top_k")
            for line in lines[:20]:
                shown = found.explain(json.loads(line)["id"])["document"]
                parts = sum(driver["contribution"] for driver in shown["why"]) + shown["rest"]
                assert parts == pytest.approx(shown["utility"], rel=1e-9, abs=1e-12)

    def test_dropped_ones(self, scores: dataworth.Scores, lines: list[bytes], pool: Path):
        found = scores.choose("20%")
        told = found.explain("short-3")
        assert not told["kept"]
        assert told["document"]["drop"] == "shorter than 8 words"
        assert told["document"]["rank"] is None
        twice = found.explain(f"{pool}:{sum(len(line) + 1 for line in lines)}")
        assert not twice["kept"]
        assert twice["document"]["drop"].startswith("duplicate")

    @pytest.mark.parametrize(
        "name", ["nobody", "0123456789abcdef", "pool.jsonl:3", "other.jsonl:0", "", "\udcff"]
    )
    def test_unknown(self, name: str, scores: dataworth.Scores):
        with pytest.raises(DataworthError, match="no document"):
            scores.choose("20%").explain(name)

    def test_after_loading(self, scores: dataworth.Scores, lines: list[bytes]):
        name = json.loads(lines[0])["id"]
        one = scores.choose("20%").explain(name)
        assert dataworth.load(scores.folder).choose("20%").explain(name) == one

    def test_ranks_follow_the_order(self, scores: dataworth.Scores):
        found = scores.choose("20-docs", mechanism="top_k", utility="dsir:math")
        ranks = found.choice.ranks(found.rows)
        assert sorted(ranks) == [*range(1, 21)]


class TestReport:
    def test_written_by_the_run(self, lines: list[bytes], math: Path, tmp_path: Path):
        """One file that fetches nothing; documents in it are text, not markup."""
        evil = "<script>alert('x')</script> <img src=x onerror=alert(1)> " * 20
        pool = write(tmp_path / "pool.jsonl", [*lines[:200], document(evil, domain="<b>evil</b>")])
        out = tmp_path / "out"
        dataworth.select(pool, math, "100%", group_by="domain", out=out, mechanism="top_k")
        page = (out / "report.html").read_text("utf-8")
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "<b>evil" not in page
        assert not re.findall(r'(?:src|href)="https?://', page)
        metrics = json.loads(next(out.glob("selections/*/metrics.json")).read_text())
        assert metrics["accounting"]["documents"] == 201
        card = (out / "README.md").read_text()
        assert "201 of 201 documents" in card

    def test_of_any_choice(self, scores: dataworth.Scores, tmp_path: Path):
        path = scores.choose("3%").report(tmp_path / "report.html")
        assert path.stat().st_size < 2_000_000
        with pytest.raises(DataworthError, match="cannot be written"):
            scores.choose("3%").report(path / "deep" / "report.html")

    def test_composition_adds_up(self, scores: dataworth.Scores):
        found = scores.choose("10%")
        whole = found.metrics["accounting"]
        for field in found.metrics["composition"]:
            parts = list(field["parts"]) + ([field["rest"]] if "rest" in field else [])
            for side, total in (("pool", whole["pool"]), ("selection", whole["kept"])):
                for unit in ("documents", "tokens"):
                    assert sum(part[side][unit] for part in parts) == total[unit]


class TestTable:
    def test_columns(self, scores: dataworth.Scores, lines: list[bytes]):
        table = scores.to_arrow()
        names = [
            "uid",
            "check",
            "file",
            "offset",
            "bytes",
            "text_bytes",
            "tokens",
            "id",
            "domain",
            "source",
        ]
        assert set(names) < set(table.column_names)
        rows = [json.loads(line) for line in lines]
        assert table["id"].to_pylist()[:700] == [row["id"] for row in rows]
        assert table["uid"].to_pylist()[:700] == [uid_of(text) for text in texts(lines)]
        sizes = [len(text.encode()) for text in texts(lines)]
        assert table["text_bytes"].to_pylist()[:700] == sizes
        assert table["bytes"].to_pylist()[:700] == [len(line) for line in lines]
        dropped = table["drop"].to_pylist()
        assert dropped[701:] == ["shorter than 8 words"] * 5
        for name in scores.table.utilities:
            column = table[name].to_pylist()
            assert [value is None for value in column] == [reason is not None for reason in dropped]

    def test_selection_table(self, scores: dataworth.Scores):
        found = scores.choose("10%")
        assert found.table.num_rows == len(found)
        assert set(found.table["drop"].to_pylist()) == {None}

    def test_written_rows_are_the_chosen_ones(
        self, scores: dataworth.Scores, lines: list[bytes], tmp_path: Path
    ):
        found = scores.choose("10%")
        found.write(tmp_path, format="jsonl.gz")
        kept = written(tmp_path)
        assert len(set(kept)) == len(kept) == len(found)
        assert set(kept) <= set(lines)
        assert {uid_of(text) for text in texts(kept)} == set(chosen(found))
