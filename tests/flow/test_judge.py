"""`judge`: the same numbers however a selection is named, read and divided; against plain twins."""

from __future__ import annotations

import functools
import gzip
import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dataworth
from dataworth.corpus import corpus as corpus_module
from dataworth.corpus.uid import uid_of
from dataworth.corpus.units import split
from dataworth.errors import ConfigError
from dataworth.judging import look as look_module
from dataworth.judging.judgement import run_judge
from dataworth.measures.diversity import distinct
from dataworth.measures.gain import gain
from dataworth.measures.overlap import expected_jaccard
from flow.pools import chosen, document, leftovers, texts, write, written
from methods.fitting import docs
from testdata import read_rows


@pytest.fixture(scope="module")
def pool(lines: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """700 documents, one of them twice."""
    return write(tmp_path_factory.mktemp("pool") / "pool.jsonl", [*lines, lines[3]])


@pytest.fixture(scope="module")
def run(
    pool: Path, math: Path, code: Path, tmp_path_factory: pytest.TempPathFactory
) -> dataworth.Selection:
    return dataworth.select(
        pool,
        {"math": math, "code": code},
        "100-docs",
        group_by="domain",
        out=tmp_path_factory.mktemp("run") / "out",
    )


@pytest.fixture(scope="module")
def judged(run: dataworth.Selection, target_file: Callable[..., Path]) -> Any:
    """The judgement of the run's folder."""
    validation = {"math": target_file("math", "val"), "law": target_file("legal", "val")}
    return dataworth.judge(run.scores.folder, validation=validation).metrics


def numbers(metrics: Any, *without: str) -> Any:
    """A judgement without what names its sources."""
    left = {"title", "inputs", "settings", "notes", *without}
    kept = {key: value for key, value in metrics.items() if key not in left}
    for part in ("selection", "pool"):
        if kept.get(part):
            named = ("name", "path", "kind", "chosen_by", "budget")
            kept[part] = {key: v for key, v in kept[part].items() if key not in named}
    return kept


class TestNumbers:
    def test_gain_is_that_of_the_run(self, run: dataworth.Selection, judged: Any) -> None:
        """Same halves, same sample, same text: the very numbers of the run's report."""
        assert len(judged["targets"]) == 2
        for mine, theirs in zip(judged["targets"], run.metrics["targets"], strict=True):
            assert mine["name"] == theirs["name"] and mine["documents"] == theirs["documents"]
            a, b = mine["gain"], dict(theirs["gain"])
            assert {**a, "measured": ""} == {**b, "measured": ""}
            assert a["held_out"] and a["bound"] > a["value"]
        assert judged["targets"][0]["gain"]["value"] > 0.1
        values = [target["gain"]["value"] for target in judged["targets"]]
        assert judged["mean"]["value"] == pytest.approx(np.mean(values))
        assert judged["mean"]["targets"] == 2

    def test_gain_on_validation(
        self,
        run: dataworth.Selection,
        judged: Any,
        target_file: Callable[..., Path],
    ) -> None:
        text = docs([row["text"] for row in read_rows(target_file("math", "val"))])
        # Two targets took turns: each is judged on the documents that it took.
        taken = run.choice.parts["math"]
        assert len(taken) + len(run.choice.parts["code"]) == 100
        whole = docs(list(texts(written(run.scores.folder))))
        of = whole.take(np.flatnonzero(np.isin(whole.uid, run.choice.candidates.uid[taken])))
        sample = run.scores.scored.survey.sample
        known = gain(text, sample, of, seed=0)
        found = {target["name"]: target.get("validation") for target in judged["targets"]}
        assert found["math"]["documents"] == len(text) and found["code"] is None
        assert found["math"]["gain"]["value"] == pytest.approx(known.value, rel=1e-9)

    def test_amounts(self, run: dataworth.Selection, judged: Any) -> None:
        made, text = judged["selection"], list(texts(written(run.scores.folder)))
        size = sum(len(item.encode()) for item in text)
        assert (made["documents"], made["distinct"], made["bytes"]) == (100, 100, size)
        assert made["tokens"] == run.metrics["accounting"]["kept"]["tokens"]
        assert made["kind"] == "selection" and made["budget"] == "100-docs"
        assert judged["pool"]["documents"] == 701
        assert (judged["pool"]["found"], judged["pool"]["found_share"]) == (100, 1.0)
        lengths = judged["lengths"]
        median = np.median([len(item.encode()) for item in text])
        assert lengths["median"]["selection"] == median
        assert (
            sum(lengths["histogram"]["selection"]) + lengths["histogram"]["outside"]["selection"]
            == 100
        )

    def test_composition(self, run: dataworth.Selection, pool: Path, judged: Any) -> None:
        rows = [json.loads(line) for line in written(run.scores.folder)]
        counts = Counter(row["domain"] for row in rows)
        (made,) = judged["composition"]
        assert made["field"] == "domain"
        found = {part["value"]: part["selection"]["documents"] for part in made["parts"]}
        assert {value: n for value, n in found.items() if n} == dict(counts)
        whole = Counter(row["domain"] for row in read_rows(pool))
        assert {part["value"]: part["pool"]["documents"] for part in made["parts"]} == whole
        tokens = sum(part["selection"]["tokens"] for part in made["parts"])
        assert tokens == judged["selection"]["tokens"]

    def test_diversity(self, run: dataworth.Selection, judged: Any) -> None:
        text = list(texts(written(run.scores.folder)))
        made = judged["diversity"]
        assert made["bytes"] == judged["selection"]["bytes"]
        for n in (1, 2, 3):
            assert made["selection"][f"distinct_{n}"] == pytest.approx(distinct(text, n))
        assert made["pool"]["distinct_2"] > made["selection"]["distinct_2"]

    def test_weights_and_lengths(self, run: dataworth.Selection, judged: Any) -> None:
        assert judged["utilities"] == run.metrics["utilities"]
        assert all(utility["effective_sample_size"] for utility in judged["utilities"])

    def test_contamination(self, judged: Any) -> None:
        found = {item["name"]: item for item in judged["contamination"]}
        assert set(found) == {"math", "law"}
        assert found["math"]["documents"] == 400 and found["math"]["held"] == 0
        assert found["math"]["selected"] <= 2
        assert not any("validation set" in text for text in judged["warnings"])

    def test_nothing_that_json_cannot_hold(self, judged: Any) -> None:
        assert json.loads(json.dumps(judged, allow_nan=False)) == judged


class TestNames:
    """The same selection under other names."""

    def test_every_name_of_a_run(
        self, run: dataworth.Selection, judged: Any, target_file: Callable[..., Path]
    ) -> None:
        validation = {"math": target_file("math", "val"), "law": target_file("legal", "val")}
        names = [run, run.scores.folder / "data", run.folder, [str(run.scores.folder)]]
        for name in names:
            found = dataworth.judge(name, validation=validation)
            assert numbers(found.metrics) == numbers(judged), name

    @pytest.mark.parametrize("form", [".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet"])
    def test_files_from_elsewhere(
        self,
        form: str,
        run: dataworth.Selection,
        pool: Path,
        math: Path,
        code: Path,
        judged: Any,
        target_file: Callable[..., Path],
        tmp_path: Path,
    ) -> None:
        """Nothing of the run is known but its rows: only what needs utilities is missing."""
        rows = written(run.scores.folder)[::-1]
        for number in range(2):
            write(tmp_path / "theirs" / f"part-{number}{form}", rows[number::2])
        found = dataworth.judge(
            tmp_path / "theirs",
            {"math": math, "code": code},
            pool=pool,
            validation={"math": target_file("math", "val"), "law": target_file("legal", "val")},
            group_by="domain",
        ).metrics
        assert found["utilities"] == [] and found["selection"]["kind"] == "files"
        # Who took which document is not known either: both targets are judged on all.
        without = ("utilities", "warnings", "targets", "mean")
        assert numbers(found, *without) == numbers(judged, *without)
        for mine, theirs in zip(found["targets"], judged["targets"], strict=True):
            assert mine["bytes"] == theirs["bytes"]
            assert 0 < mine["gain"]["value"] < theirs["gain"]["value"]
        assert found["warnings"] == [w for w in judged["warnings"] if "weights" not in w]
        assert any("held-out half" in note for note in found["notes"])

    def test_documents_in_memory(
        self, run: dataworth.Selection, pool: Path, math: Path, judged: Any
    ) -> None:
        rows = [{"text": text} for text in texts(written(run.scores.folder))]
        made = dataworth.judge(iter(rows), {"math": math}, pool=pool).metrics
        known = judged["targets"][1]
        assert {k: v for k, v in made["targets"][0].items() if k != "gain"} == {
            k: v for k, v in known.items() if k not in ("gain", "validation")
        }
        assert made["selection"]["name"] == "selection"

    def test_a_selection_that_was_not_written(
        self, pool: Path, math: Path, code: Path, judged: Any
    ) -> None:
        selection = dataworth.select(
            pool, {"math": math, "code": code}, "100-docs", group_by="domain"
        )
        without = ("contamination", "targets")
        found = dataworth.judge(selection).metrics
        assert numbers(found, *without) == numbers(judged, *without)
        for mine, theirs in zip(found["targets"], judged["targets"], strict=True):
            assert mine["gain"] == theirs["gain"]

    def test_a_choice_that_was_not_written(self, run: dataworth.Selection) -> None:
        other = run.scores.choose("40-docs", mechanism="top_k")
        found = dataworth.judge(other.folder).metrics
        assert found["selection"]["documents"] == 40 and "top_k" in found["selection"]["chosen_by"]
        assert numbers(found) == numbers(dataworth.judge(other).metrics)
        # The run's own selection is still what its folder means.
        assert dataworth.judge(run.scores.folder).metrics["selection"]["documents"] == 100

    def test_another_pool_and_target(
        self, run: dataworth.Selection, lines: list[bytes], code: Path, tmp_path: Path
    ) -> None:
        part = write(tmp_path / "part.jsonl", lines[:500])
        made = dataworth.judge(run, {"program": code}, pool=part).metrics
        assert [target["name"] for target in made["targets"]] == ["program"]
        inside = {uid_of(text) for text in texts(lines[:500])}
        assert made["pool"]["documents"] == 500
        assert made["pool"]["found"] == len(inside & set(chosen(run)))
        assert any("are in the pool" in text for text in made["warnings"])


class TestInvariance:
    def test_units_and_workers(
        self,
        run: dataworth.Selection,
        pool: Path,
        math: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """One unit or many, one worker or three; where only a sample of the text is kept too."""
        theirs = write(tmp_path / "theirs.jsonl", written(run.scores.folder))
        monkeypatch.setattr(look_module, "SAMPLE_BYTES", 60_000)
        monkeypatch.setattr(look_module, "MOST_SKETCHES", 60)
        options = {"pool": pool, "group_by": "domain", "validation": {"math": math}}
        once = dataworth.judge(theirs, {"math": math}, engine=1, **options).metrics
        small = functools.partial(split, target_bytes=20_000)
        monkeypatch.setattr(corpus_module, "split", small)
        for workers in (1, 3):
            again = dataworth.judge(theirs, {"math": math}, engine=workers, **options).metrics
            assert again == once
        assert once["duplicates"]["near_of"] == 60
        assert "60 of 100 different texts" in once["duplicates"]["measured"]
        measured = once["targets"][0]["gain"]["measured"]
        assert "random documents of 100 of the selection" in measured

    def test_the_seed_moves_the_halves(self, run: dataworth.Selection, math: Path) -> None:
        values = [
            dataworth.judge(run, {"math": math}, seed=seed).metrics["targets"][0]["gain"]
            for seed in (0, 0, 1)
        ]
        assert values[0] == values[1] != values[2]
        whole = dataworth.judge(run, {"math": math}, holdout=0).metrics["targets"][0]
        assert not whole["gain"]["held_out"]
        assert whole["gain"]["documents"] == whole["documents"]


class TestOverlap:
    def test_against_others(self, run: dataworth.Selection, pool: Path, tmp_path: Path) -> None:
        other = run.scores.choose("300-docs", mechanism="top_k")
        rows = written(run.scores.folder)
        theirs = write(tmp_path / "theirs.jsonl.gz", [*rows[:30], document("not in the pool")])
        made = dataworth.judge(run, against=[other, theirs, run.scores.folder]).metrics["overlap"]
        mine, others = set(chosen(run)), set(chosen(other))
        assert [item["documents"] for item in made] == [300, 31, 100]
        assert made[0]["common"] == len(mine & others)
        assert made[0]["jaccard"] == len(mine & others) / len(mine | others)
        assert made[0]["share"] == len(mine & others) / 100
        assert made[0]["expected_jaccard"] == pytest.approx(expected_jaccard(100, 300, 700))
        assert (made[1]["common"], made[1]["jaccard"], made[1]["ranks"]) == (30, 30 / 101, [])
        assert made[2]["jaccard"] == 1

    def test_ranks(self, run: dataworth.Selection) -> None:
        other = run.scores.choose("300-docs", mechanism="top_k")
        ranks = {
            item["what"]: item
            for item in dataworth.judge(run, against=other).metrics["overlap"][0]["ranks"]
        }
        assert set(ranks) == {"order", "math", "code"}
        # The same utilities, over every text that may be chosen; the orders differ by noise.
        assert [ranks[name]["spearman"] for name in ("math", "code")] == pytest.approx([1, 1])
        assert 0.2 < ranks["order"]["spearman"] < 1
        assert {item["documents"] for item in ranks.values()} == {700}
        same = dataworth.judge(run, against=run).metrics["overlap"][0]["ranks"]
        assert [item["spearman"] for item in same] == pytest.approx([1, 1, 1])


class TestSpecial:
    def test_copies(self, run: dataworth.Selection, pool: Path, tmp_path: Path) -> None:
        rows = written(run.scores.folder)
        near = json.loads(rows[0])["text"].split()
        near[len(near) // 2] = "changed"
        theirs = write(
            tmp_path / "theirs.jsonl", [*rows[:50], rows[7], rows[7], document(" ".join(near))]
        )
        found = dataworth.judge(theirs, pool=pool).metrics
        made = found["duplicates"]
        assert (made["exact"], made["largest"], made["intended"]) == (2, 3, False)
        assert made["exact_share"] == 2 / 53 and made["pool_exact_share"] == 1 / 701
        assert (made["near"], made["near_of"]) == (1, 51)
        assert sum("came before" in text for text in found["warnings"]) == 2
        assert found["pool"]["found"] == 50

    def test_copies_that_were_asked_for(self, pool: Path, math: Path, tmp_path: Path) -> None:
        selection = dataworth.select(
            pool,
            {"math": math},
            "1500-docs",
            steps=["length(minimum=100)", "dsir"],
            max_repeat=3,
            group_by="domain",
            out=tmp_path / "out",
        )
        made = dataworth.judge(selection).metrics
        assert made["duplicates"]["intended"] and made["duplicates"]["largest"] == 3
        distinct_texts = selection.choice.cut.distinct
        assert made["selection"]["documents"] == 1500
        assert made["selection"]["distinct"] == distinct_texts
        assert not any("came before in the selection" in text for text in made["warnings"])
        parts = made["composition"][0]["parts"]
        assert sum(part["selection"]["documents"] for part in parts) == 1500
        # Read from the pool, the copies count the same as in the written rows.
        shutil.rmtree(tmp_path / "out" / "data")
        masked = dataworth.judge(tmp_path / "out").metrics
        assert numbers(masked) == numbers(made)

    def test_a_field_that_the_run_did_not_keep(self, run: dataworth.Selection, pool: Path) -> None:
        made = dataworth.judge(run, group_by=["source", "domain"]).metrics
        by = {item["field"]: item for item in made["composition"]}
        rows = [json.loads(line) for line in written(run.scores.folder)]
        found = {
            part["value"]: part["selection"]["documents"]
            for part in by["source"]["parts"]
            if part["selection"]["documents"]
        }
        top = Counter(row["source"] for row in rows)
        assert all(top[value] == count for value, count in found.items())
        whole = sum(part["pool"]["documents"] for part in by["source"]["parts"])
        assert (
            whole + by["source"].get("rest", {"pool": {"documents": 0}})["pool"]["documents"] == 701
        )
        assert by["domain"] == dataworth.judge(run).metrics["composition"][0]

    def test_pieces(self, pool: Path, math: Path, tmp_path: Path) -> None:
        selection = dataworth.select(
            pool, {"math": math}, "50-docs", split_words=60, out=tmp_path / "out"
        )
        found = dataworth.judge(tmp_path / "out").metrics
        assert found["selection"]["documents"] == 50
        shutil.rmtree(tmp_path / "out" / "data")
        assert numbers(dataworth.judge(selection).metrics) == numbers(found)

    def test_planted_validation(
        self,
        run: dataworth.Selection,
        pool: Path,
        math: Path,
        tmp_path: Path,
        target_file: Callable[..., Path],
    ) -> None:
        validation = list(read_rows(target_file("math", "val")))
        rows = written(run.scores.folder)
        long = [row["text"] for row in validation if len(row["text"].split()) > 40][:3]
        theirs = write(
            tmp_path / "theirs.jsonl",
            [*rows, document(long[0]), document("Before. " + long[1].upper() + " After.")],
        )
        found = dataworth.judge(
            theirs, {"math": math}, pool=pool, validation={"math": target_file("math", "val")}
        ).metrics
        (made,) = found["contamination"]
        assert (made["held"], made["exact"]) == (2, 1)
        assert [hit["share"] for hit in made["examples"][:2]] == [1.0, 1.0]
        assert {hit["text"] for hit in made["examples"][:2]} == {t[:500] for t in long[:2]}
        assert any("2 of 400 documents of the validation set math" in w for w in found["warnings"])

    def test_without_target_or_pool(self, run: dataworth.Selection, tmp_path: Path) -> None:
        theirs = write(tmp_path / "theirs.jsonl", written(run.scores.folder))
        found = dataworth.judge(theirs, group_by="domain").metrics
        assert found["targets"] == [] and found["mean"] is None and found["pool"] is None
        assert found["diversity"]["pool"] is None and found["diversity"]["selection"]["distinct_1"]
        assert "pool" not in found["lengths"]["histogram"]
        parts = found["composition"][0]["parts"]
        assert [part["pool"]["documents"] for part in parts] == [0] * len(parts)
        assert parts[0]["selection"]["tokens"] >= parts[-1]["selection"]["tokens"]
        assert len(found["notes"]) == 3

    def test_nothing_was_selected(self, pool: Path, math: Path, tmp_path: Path) -> None:
        selection = dataworth.select(
            pool, {"math": math}, steps="length(minimum=100000)", out=tmp_path / "out"
        )
        assert len(selection) == 0
        judgement = dataworth.judge(selection, validation={"math": math}, against=selection)
        found = judgement.metrics
        assert found["selection"]["documents"] == 0
        assert found["warnings"] == ["Nothing was selected: there is nothing to measure."]
        assert found["targets"][0].get("gain") is None and found["diversity"] is None
        assert found["contamination"][0]["hit"] == 0
        assert found["overlap"][0]["jaccard"] is None
        judgement.save(tmp_path / "judged")

    def test_no_nearer_than_random(self, pool: Path, math: Path) -> None:
        selection = dataworth.select(pool, {"math": math}, "100-docs", mechanism="random")
        found = dataworth.judge(selection).metrics
        made = found["targets"][0]["gain"]
        assert abs(made["value"]) < 5 * made["random_spread"]
        assert any("no nearer than random" in text for text in found["warnings"]) == (
            made["value"] <= 2 * made["random_spread"]
        )


class TestFiles:
    def test_saved_whole_and_the_same_again(
        self, run: dataworth.Selection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        out = tmp_path / "judged"
        made = dataworth.judge(run, out=out)
        first = {path.name: path.read_bytes() for path in out.iterdir()}
        assert set(first) == {"metrics.json", "report.html"} and not leftovers(out)
        assert json.loads(first["metrics.json"]) == made.metrics
        page = first["report.html"].decode()
        assert "math" in page and "<script" not in page and len(page) < 2_000_000

        class KilledError(BaseException):
            pass

        def stop(*_: object) -> None:
            raise KilledError

        with monkeypatch.context() as patch:
            patch.setattr("dataworth.report.judgement_page.write", stop)
            with pytest.raises(KilledError):
                dataworth.judge(run, out=out)
        dataworth.judge(run, out=out)
        assert {path.name: path.read_bytes() for path in out.iterdir()} == first

    def test_the_object(self, run: dataworth.Selection, tmp_path: Path) -> None:
        made = dataworth.judge(run)
        assert repr(made).startswith("Judgement(100 documents, gain 0.")
        assert made.report(tmp_path / "page.html").read_text("utf-8").startswith("<!")
        assert isinstance(made, dataworth.Judgement)

    def test_the_name_is_the_function_whatever_was_imported(self, run: dataworth.Selection) -> None:
        import inspect as looks

        import dataworth.measures.kl as kl

        assert kl.DRAWS == 5
        assert dataworth.judge(run).metrics["selection"]["documents"] == 100
        assert "against" in looks.signature(dataworth.judge).parameters
        with pytest.raises(ConfigError, match="judge has no option 'split_words'"):
            dataworth.judge(run, split_words=5)
        assert callable(run_judge)

    def test_compressed_by_hand(self, run: dataworth.Selection, tmp_path: Path) -> None:
        """A file whose rows have the text elsewhere."""
        rows = [json.dumps({"meta": {"body": t}}) for t in texts(written(run.scores.folder))]
        path = tmp_path / "theirs.jsonl.gz"
        path.write_bytes(gzip.compress("\n".join(rows).encode()))
        found = dataworth.judge(path, text_field="meta.body").metrics
        assert found["selection"]["documents"] == 100
