"""The result does not depend on how it was run: workers, files, formats, unit sizes."""

from __future__ import annotations

import functools
import random
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import dataworth
from dataworth.corpus import corpus as corpus_module
from dataworth.corpus.units import split
from dataworth.engine.local import Engine
from flow.pools import chosen, document, scatter, shards, texts, utilities, write

OPTIONS: dict[str, Any] = {
    "id_field": "id",
    "group_by": "domain",
    "quotas": "domain:40%",
    "format": "jsonl",
    "shard_bytes": 30_000,
}


def run(pool: Any, target: Any, out: Path, **options: Any) -> dataworth.Selection:
    return dataworth.select(pool, target, "20%", out=out, **{**OPTIONS, **options})


@pytest.fixture(scope="module")
def plain(
    lines: list[bytes], math: Path, code: Path, tmp_path_factory: pytest.TempPathFactory
) -> dataworth.Selection:
    """A run of one worker on one file."""
    place = tmp_path_factory.mktemp("plain")
    pool = write(place / "pool.jsonl", lines)
    found = run(pool, {"math": math, "code": code}, place / "out", engine=1)
    assert len(shards(place / "out")) > 3
    return found


@pytest.fixture
def expected(
    plain: dataworth.Selection, tmp_path: Path
) -> tuple[dict[int, int], dict[int, tuple[float, ...]]]:
    """What that run chooses; its folder is `expected`."""
    (tmp_path / "expected").symlink_to(plain.scores.folder)
    return chosen(plain), utilities(plain.scores)


@pytest.mark.usefixtures("small_units")
class TestWorkers:
    @pytest.fixture
    def pool(self, lines: list[bytes], tmp_path: Path) -> Path:
        return scatter(
            tmp_path / "pool", lines, ["a.jsonl", "b.jsonl", "c.jsonl.zst", "d.jsonl", "e.parquet"]
        )

    @pytest.mark.usefixtures("standing_processes")
    def test_threads_and_processes(self, pool: Path, math: Path, code: Path, tmp_path: Path):
        targets = {"math": math, "code": code}
        engines = {
            "one": Engine(1),
            "two": Engine(2),
            "seven": Engine(7),
            "processes": Engine(2, "processes"),
        }
        found = {
            name: run(pool, targets, tmp_path / name, engine=engine)
            for name, engine in engines.items()
        }
        assert len(found["one"].scores.scored.corpus.units) >= 5
        for name in engines:
            assert chosen(found[name]) == chosen(found["one"])
            assert utilities(found[name].scores) == utilities(found["one"].scores)
            assert shards(tmp_path / name) == shards(tmp_path / "one")
            tables = [
                pq.read_table(
                    tmp_path / at / "selections" / found[name].folder.name / "rows.parquet"
                )
                for at in (name, "one")
            ]
            assert tables[0].equals(tables[1])

    def test_the_size_of_units(
        self, pool: Path, math: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        many = run(pool, math, tmp_path / "many")
        whole = functools.partial(split, target_bytes=2**30)
        monkeypatch.setattr(corpus_module, "split", whole)
        few = run(pool, math, tmp_path / "few")
        assert len(few.scores.scored.corpus.units) < len(many.scores.scored.corpus.units)
        assert chosen(few) == chosen(many)
        assert utilities(few.scores) == utilities(many.scores)
        assert shards(tmp_path / "few") == shards(tmp_path / "many")


class TestFiles:
    def test_order_names_and_folders(
        self, lines: list[bytes], math: Path, code: Path, tmp_path: Path, expected: Any
    ):
        mixed = random.Random(1).sample(lines, len(lines))
        pool = scatter(tmp_path / "pool", mixed, ["x/same.jsonl", "y/same.jsonl", "0.jsonl"])
        for name, source in {
            "folder": pool,
            "glob": str(pool / "**" / "*.jsonl"),
            "list": [pool / "y" / "same.jsonl", pool / "0.jsonl", pool / "x" / "same.jsonl"],
        }.items():
            found = run(source, {"code": code, "math": math}, tmp_path / name)
            assert (chosen(found), utilities(found.scores)) == expected
            # Also the order of the rows: it is a hash of their texts.
            assert shards(tmp_path / name) == shards(tmp_path / "expected")

    @pytest.mark.parametrize("form", ["jsonl.gz", "jsonl.zst", "parquet"])
    def test_formats(
        self,
        form: str,
        lines: list[bytes],
        math: Path,
        code: Path,
        tmp_path: Path,
        expected: Any,
    ):
        pool = scatter(tmp_path / "pool", lines, [f"a.{form}", f"b.{form}"])
        found = run(pool, {"math": math, "code": code}, tmp_path / "out")
        assert (chosen(found), utilities(found.scores)) == expected
        if form != "parquet":
            assert shards(tmp_path / "out") == shards(tmp_path / "expected")

    def test_rows_as_they_stand(self, lines: list[bytes], math: Path, tmp_path: Path):
        """The bytes of a kept line are its own: spaces, escapes, field order, unknown fields."""
        odd = [
            line.replace(b'{"id"', b'{  "n":1e5 , "\\u0069\\u0064x": [1,  2],"id"')
            for line in lines
        ]
        for form in ("jsonl", "jsonl.gz", "jsonl.zst"):
            pool = scatter(tmp_path / form, odd, [f"a.{form}", f"b.{form}"])
            run(pool, math, tmp_path / f"out-{form}", shard_bytes=10**9)
            kept = [
                line for data in shards(tmp_path / f"out-{form}").values() for line in data.split()
            ]
            assert kept
            lines_kept = b"".join(shards(tmp_path / f"out-{form}").values()).split(b"\n")[:-1]
            assert set(lines_kept) <= set(odd)


class TestSample:
    """The same for pools so large that only part of them is looked at first."""

    BYTES = 1 << 16

    @pytest.fixture
    def many(self, small_pool: Path) -> list[bytes]:
        return small_pool.read_bytes().split(b"\n")[:-1]

    @pytest.mark.usefixtures("small_units")
    def test_workers_and_names(self, many: list[bytes], math: Path, tmp_path: Path):
        pool = scatter(tmp_path / "pool", many, ["a.jsonl", "b.jsonl", "c.jsonl.zst"])
        renamed = tmp_path / "renamed"
        (renamed / "deep").mkdir(parents=True)
        for old, new in {"a": "z.jsonl", "b": "deep/z.jsonl", "c": "deep/a.jsonl.zst"}.items():
            path = next(pool.glob(f"{old}.*"))
            (renamed / new).write_bytes(path.read_bytes())
        runs = {
            "one": run(pool, math, tmp_path / "one", engine=1, sample_bytes=self.BYTES),
            "seven": run(pool, math, tmp_path / "seven", engine=7, sample_bytes=self.BYTES),
            "named": run(renamed, math, tmp_path / "named", engine=2, sample_bytes=self.BYTES),
        }
        survey = runs["one"].scores.scored.survey
        assert not survey.whole
        assert survey.documents < len(many)
        for name, found in runs.items():
            assert chosen(found) == chosen(runs["one"])
            assert utilities(found.scores) == utilities(runs["one"].scores)
            assert shards(tmp_path / name) == shards(tmp_path / "one")

    @pytest.mark.usefixtures("small_units")
    def test_a_sample_smaller_than_the_pool(self, lines: list[bytes], math: Path, tmp_path: Path):
        """Read whole, but too large for the sample: the order of the files must not count."""
        few = lines[:200]
        found = []
        for number in range(3):
            mixed = random.Random(number).sample(few, len(few))
            pool = scatter(tmp_path / str(number), mixed, ["a.jsonl.zst", "b.jsonl", "c.parquet"])
            made = dataworth.score(pool, math, sample_bytes=self.BYTES, engine=1 + number)
            survey = made.scored.survey
            assert survey.whole
            assert 0 < len(survey.sample) < len(few)
            found.append((survey.sample.uid.tolist(), utilities(made)))
        assert found[0] == found[1] == found[2]


class TestSteps:
    """Every method, on files in another order and form, gives the same bits."""

    @pytest.mark.parametrize(
        "step",
        [
            "dsir",
            "dsir(ngrams=3, raw=all, minimum=20)",
            "dsir(tokens=TOKENIZER)",
            "dsir:reference",
            "dsir_discriminative",
        ],
    )
    def test_step(
        self,
        step: str,
        tokenizer: Path,
        lines: list[bytes],
        math: Path,
        tmp_path: Path,
        request: pytest.FixtureRequest,
    ):
        step = step.replace("TOKENIZER", f'"{tokenizer}"')
        examples = [document(text) for text in texts(read(math)[:200])]
        one = write(tmp_path / "one.jsonl", lines)
        target = write(tmp_path / "target.jsonl", examples)
        expected = dataworth.select(one, target, "20%", steps=step, engine=1)
        request.getfixturevalue("small_units")
        mixed = random.Random(2).sample(lines, len(lines))
        pool = scatter(tmp_path / "pool", mixed, ["b.jsonl.gz", "a.jsonl", "c.parquet"])
        examples = random.Random(3).sample(examples, len(examples))
        target = scatter(tmp_path / "targets", examples, ["b.jsonl", "a.jsonl"])
        found = dataworth.select(pool, {"target": target}, "20%", steps=step, engine=3)
        assert utilities(found.scores) == utilities(expected.scores)
        assert chosen(found) == chosen(expected)

    @pytest.fixture(scope="class")
    def both(
        self,
        lines: list[bytes],
        math: Path,
        code: Path,
        tmp_path_factory: pytest.TempPathFactory,
    ) -> tuple[dataworth.Scores, dataworth.Scores]:
        """Scores of the same documents in two orders and forms."""
        targets, place = {"math": math, "code": code}, tmp_path_factory.mktemp("both")
        one = dataworth.score(write(place / "one.jsonl", lines), targets)
        mixed = random.Random(4).sample(lines, len(lines))
        two = dataworth.score(scatter(place / "two", mixed, ["a.jsonl", "b.parquet"]), targets)
        return one, two

    @pytest.mark.parametrize("scale", ["raw", "rank", "z"])
    @pytest.mark.parametrize("mechanism", ["top_k", "pareto", "random", "gumbel_top_k"])
    def test_mechanism(
        self, scale: str, mechanism: str, both: tuple[dataworth.Scores, dataworth.Scores]
    ):
        one, two = both
        options: dict[str, Any] = {"mechanism": mechanism, "scale": scale, "seed": 5}
        assert chosen(one.choose("7%", **options)) == chosen(two.choose("7%", **options))


def read(path: Path) -> list[bytes]:
    return path.read_bytes().split(b"\n")[:-1]
