"""Pools from every source, and output that others read."""

from __future__ import annotations

import contextlib
import datetime
import decimal
import functools
import json
import logging
import pickle
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dataworth
from dataworth.corpus import corpus as corpus_module
from dataworth.corpus.units import split
from dataworth.errors import ConfigError, DataworthError, InputError
from dataworth.flow import scores as scores_module
from flow.pools import chosen, document, scatter, texts, utilities, write, written

datasets = pytest.importorskip("datasets")


@pytest.fixture(scope="module")
def wanted(math: Path) -> list[str]:
    return list(texts(math.read_bytes().split(b"\n")[:200]))


@pytest.fixture(scope="module")
def few(lines: list[bytes]) -> list[bytes]:
    return lines[:300]


@pytest.fixture(scope="module")
def expected(
    few: list[bytes], wanted: list[str], tmp_path_factory: pytest.TempPathFactory
) -> dict[int, int]:
    pool = write(tmp_path_factory.mktemp("pool") / "pool.jsonl", few)
    return chosen(dataworth.select(pool, wanted, "20%"))


def load_dataset(folder: Path) -> Any:
    """All tests share one cache, as a user's folders do."""
    cache = next(path for path in folder.parents if path.name.startswith("pytest-")) / "cache"
    return datasets.load_dataset(str(folder), split="train", cache_dir=str(cache))


class TestMemory:
    def test_strings(self, few: list[bytes], wanted: list[str], expected: Any):
        assert chosen(dataworth.select(list(texts(few)), wanted, "20%")) == expected
        assert chosen(dataworth.select(tuple(texts(few)), tuple(wanted), "20%")) == expected

    def test_generators(
        self, few: list[bytes], wanted: list[str], expected: Any, caplog: pytest.LogCaptureFixture
    ):
        with caplog.at_level(logging.INFO, logger="dataworth"):
            found = dataworth.select(texts(few), {"wanted": iter(wanted)}, "20%")
        assert chosen(found) == expected
        assert "300 documents given in memory" in caplog.text

    def test_a_generator_again(
        self, few: list[bytes], wanted: list[str], expected: Any, tmp_path: Path
    ):
        """Spooled under a name that comes from the content: the run goes on; others are refused."""
        out = tmp_path / "out"
        for _ in range(2):
            found = dataworth.select(texts(few), wanted, "20%", out=out)
            assert chosen(found) == expected
        assert len(list((out / "spool" / "pool").iterdir())) == 1
        with pytest.raises(DataworthError, match="inputs changed"):
            dataworth.select(texts(few[1:]), wanted, "20%", out=out)
        assert len(load_dataset(out)) == len(expected)

    def test_dictionaries(self, few: list[bytes], wanted: list[str], expected: Any, tmp_path: Path):
        rows = [json.loads(line) for line in few]
        out = tmp_path / "out"
        found = dataworth.select(iter(rows), wanted, "20%", out=out, group_by="domain")
        assert chosen(found) == expected
        ids = {row["id"] for row in rows}
        assert {json.loads(line)["id"] for line in written(out)} <= ids

    def test_tables(self, few: list[bytes], wanted: list[str], expected: Any):
        rows = [json.loads(line) for line in few]
        for table in (
            pandas.DataFrame(rows),
            pa.Table.from_pylist(rows),
            datasets.Dataset.from_list(rows),
            datasets.Dataset.from_list(rows).to_iterable_dataset(),
        ):
            assert chosen(dataworth.select(table, wanted, "20%")) == expected

    def test_nothing_is_left(self, wanted: list[str], monkeypatch: pytest.MonkeyPatch):
        found = dataworth.select(wanted, wanted, "20%")
        folder = found.scores.folder.parent
        assert folder.is_dir()
        assert len(found.table) == len(found)
        del found
        assert not folder.exists()

    def test_kept_in_memory_and_then_written(
        self, few: list[bytes], wanted: list[str], expected: Any, tmp_path: Path
    ):
        found = dataworth.select(list(texts(few)), wanted, "20%")
        found.write(tmp_path / "out")
        found.report(tmp_path / "report.html")
        assert len(load_dataset(tmp_path / "out")) == len(expected)
        assert (tmp_path / "report.html").read_text().startswith("<!")

    @pytest.mark.parametrize("pool", [[], iter([]), 5, {"text": "no"}, b"bytes", [1, 2]])
    def test_no_pool(self, pool: Any, wanted: list[str]):
        with pytest.raises(InputError):
            dataworth.select(pool, wanted)


class TestRemote:
    @pytest.fixture(scope="class")
    @classmethod
    def options(cls) -> Iterator[dict[str, Any]]:
        """A server that speaks S3, on loopback."""
        pytest.importorskip("s3fs")
        server_module = pytest.importorskip("moto.server")
        with contextlib.closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server = server_module.ThreadedMotoServer("127.0.0.1", port, verbose=False)
        server.start()
        yield {
            "key": "someone",
            "secret": "something",
            "client_kwargs": {"endpoint_url": f"http://127.0.0.1:{port}"},
        }
        server.stop()

    def test_from_a_bucket(
        self,
        options: dict[str, Any],
        few: list[bytes],
        wanted: list[str],
        expected: Any,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ):
        """A folder of all forms; the run is the same as on local files, and goes on."""
        names = ["a.jsonl", "b/a.jsonl.gz", "b/c.jsonl.zst", "d.parquet"]
        local = scatter(tmp_path / "local", few, names)
        system = fsspec.filesystem("s3", **options)
        system.mkdir("texts")
        system.put(f"{local}/", "texts/pool/", recursive=True)
        system.pipe("texts/target.jsonl", b"\n".join(document(text) for text in wanted))
        places: dict[str, Any] = {"storage_options": options, "format": "jsonl"}
        places |= {"steps": "dsir(raw=all)", "out": tmp_path / "out"}
        tiny = functools.partial(split, target_bytes=30_000)
        monkeypatch.setattr(corpus_module, "split", tiny)
        monkeypatch.setattr(scores_module, "split", tiny)
        for _ in range(2):
            found = dataworth.select("s3://texts/pool", "s3://texts/target.jsonl", "20%", **places)
            assert chosen(found) == expected
        assert len(written(tmp_path / "out")) == len(expected)
        assert len(found.scores.scored.corpus.units) > 6
        paths = [file.path for file in found.scores.scored.corpus.files]
        assert paths == [f"s3://texts/pool/{name}" for name in names]
        again = dataworth.load(tmp_path / "out", storage_options=options)
        assert again.choose("20%").explain(f"{paths[0]}:0")["document"]["text"]
        excluded = again.choose("100%", exclude="s3://texts/pool/b/c.jsonl.zst")
        assert len(excluded) == 225
        system.pipe("texts/pool/a.jsonl", b'{"text": "another"}\n')
        with pytest.raises(DataworthError, match=r"s3://texts/pool/a\.jsonl: changed"):
            dataworth.select("s3://texts/pool", "s3://texts/target.jsonl", "20%", **places)


class TestOutput:
    @pytest.mark.parametrize("form", ["jsonl", "jsonl.gz", "jsonl.zst", "parquet"])
    @pytest.mark.parametrize("order", ["shuffled", "pool", "rank"])
    def test_opened_by_others(
        self,
        form: str,
        order: str,
        few: list[bytes],
        wanted: list[str],
        tmp_path: Path,
    ):
        few = [line for line in few if b'"lang":' not in line]
        pool = write(tmp_path / "pool.jsonl", few)
        found = dataworth.select(
            pool, wanted, "20%", format=form, order=order, shard_bytes=20_000, out=tmp_path / "out"
        )
        names = sorted(path.name for path in (tmp_path / "out" / "data").iterdir())
        assert len(names) > 2
        assert names[0] == f"train-00000-of-{len(names):05d}.{form}"
        rows = list(load_dataset(tmp_path / "out"))
        assert len(rows) == len(found)
        by_text = {json.loads(line)["text"]: json.loads(line) for line in few}
        for row in rows:
            original = by_text[row["text"]]
            assert all(row[name] == value for name, value in original.items())
        if order == "pool":
            places = {text: place for place, text in enumerate(by_text)}
            at = [places[row["text"]] for row in rows]
            assert at == sorted(at)
        elif order == "rank":
            ranks = found.choice.ranks(found.rows)
            best = found.explain(rows[0]["text"])["document"]
            assert best["rank"] == min(ranks) == 1

    @pytest.mark.parametrize("form", ["jsonl", "jsonl.zst", "parquet"])
    def test_never_the_rows_of_another_run(
        self, form: str, few: list[bytes], wanted: list[str], tmp_path: Path
    ):
        """Not even where folders have one name, and their cards would be equal."""
        for place, rows in {"one": few[:50], "two": few[100:150]}.items():
            out = tmp_path / place / "same"
            dataworth.select(list(texts(rows)), wanted, "20-docs", out=out, format=form)
            assert {row["text"] for row in load_dataset(out)} <= set(texts(rows))
        for seed in (1, 2):
            found = dataworth.select(
                list(texts(few)), wanted, "9-docs", out=out, overwrite=True, seed=seed, format=form
            )
            found_texts = {
                found.explain(f"{uid:016x}")["document"]["text"] for uid in chosen(found)
            }
            assert {row["text"] for row in load_dataset(out)} == found_texts

    def test_parquet_to_parquet(self, few: list[bytes], wanted: list[str], tmp_path: Path):
        """All columns with their types, bit for bit."""
        rows = [json.loads(line) for line in few]
        n = len(rows)
        table = pa.table(
            {
                "id": pa.array([row["id"] for row in rows]),
                "text": pa.array([row["text"] for row in rows], pa.large_string()),
                "small": pa.array(np.arange(n) % 100, pa.int8()),
                "half": pa.array(np.arange(n).astype(np.float16)),
                "when": pa.array(
                    [datetime.datetime(2020, 1, 1) + datetime.timedelta(i) for i in range(n)],
                    pa.timestamp("us", "UTC"),
                ),
                "price": pa.array(
                    [decimal.Decimal(i) / 100 for i in range(n)], pa.decimal128(9, 2)
                ),
                "raw": pa.array([bytes([i % 256]) * 3 for i in range(n)], pa.binary()),
                "kind": pa.array([row["domain"] for row in rows]).dictionary_encode(),
                "tags": pa.array([[str(i), None] for i in range(n)], pa.list_(pa.string())),
                "meta": pa.array([{"a": i, "b": {"c": None if i % 3 else "x"}} for i in range(n)]),
                "none": pa.nulls(n, pa.int32()),
            }
        )
        for part in range(2):
            pq.write_table(
                table.slice(part * 150, 150), tmp_path / f"p{part}.parquet", row_group_size=40
            )
        pool = str(tmp_path / "p*.parquet")
        found = dataworth.select(pool, wanted, "20%", group_by="meta.b.c", out=tmp_path / "out")
        files = sorted((tmp_path / "out" / "data").iterdir())
        assert [path.suffix for path in files] == [".parquet"]
        kept = pa.concat_tables([pq.read_table(path) for path in files])
        assert kept.schema.equals(table.schema)
        place = {row["id"]: n for n, row in enumerate(rows)}
        original = table.take([place[i] for i in kept["id"].to_pylist()])
        assert kept.equals(original)
        assert len(kept) == len(found) == len(load_dataset(tmp_path / "out"))
        # Bytes do not fit into JSON, and that is said.
        with pytest.raises(InputError, match="'raw'"):
            found.write(tmp_path / "json", format="jsonl")
        assert not list(tmp_path.glob("json/data/*"))

    def test_text_files(self, few: list[bytes], wanted: list[str], expected: Any, tmp_path: Path):
        folder = tmp_path / "pool"
        folder.mkdir()
        for number, text in enumerate(texts(few)):
            (folder / f"{number:03d}.txt").write_bytes(text.encode())
        found = dataworth.select(folder, wanted, "20%", out=tmp_path / "out", format="jsonl")
        assert chosen(found) == expected
        by_text = {text: f"{number:03d}.txt" for number, text in enumerate(texts(few))}
        for line in written(tmp_path / "out"):
            row = json.loads(line)
            assert Path(row["source"]).name == by_text[row["text"]]

    @pytest.mark.usefixtures("small_units")
    def test_lines_of_text(self, few: list[bytes], wanted: list[str], tmp_path: Path):
        one_line = [" ".join(text.split()) for text in texts(few)]
        (tmp_path / "pool.txt").write_text("\n".join(one_line), "utf-8")
        found = dataworth.select(
            tmp_path / "pool.txt", wanted, "20%", txt="line", out=tmp_path / "out", format="jsonl"
        )
        same = dataworth.select(one_line, wanted, "20%")
        assert chosen(found) == chosen(same)
        assert {json.loads(line)["text"] for line in written(tmp_path / "out")} <= set(one_line)

    @pytest.mark.parametrize("form", ["jsonl", "jsonl.zst", "parquet"])
    def test_pieces(self, form: str, few: list[bytes], wanted: list[str], tmp_path: Path):
        pool = write(tmp_path / f"pool.{form}", few)
        out = tmp_path / "out"
        found = dataworth.select(pool, wanted, "20%", split_words=50, group_by="domain", out=out)
        rows = list(load_dataset(out))
        assert len(rows) == len(found)
        assert len(found.scores.table) > 1_000
        whole = list(texts(few))
        for row in rows:
            assert len(row["text"].split()) <= 50
            assert any(row["text"] in text for text in whole)
        pieces = found.scores.to_arrow()
        total = sum(len(text.split()) for text in whole)
        assert sum(1 for _ in pieces["piece"].to_pylist()) >= total / 50
        one = found.table.slice(0, 1).to_pylist()[0]
        assert found.explain(f"{one['uid']:016x}")["document"]["text"]
        with pytest.raises(ConfigError, match="pieces"):
            found.write(tmp_path / "more", format="parquet")

    def test_chats(self, data: Path, tmp_path: Path):
        """Messages and prompt and response pairs flattened; rows are written as they were."""
        chats = [
            {
                "messages": [
                    {"role": "user", "content": f"What is {n} plus {n}?"},
                    {"role": "assistant", "content": f"It is {2 * n}, of course."},
                ],
                "n": n,
            }
            for n in range(60)
        ]
        lines = [json.dumps(chat).encode() for chat in chats]
        pool = write(tmp_path / "chats.jsonl", lines)
        out = tmp_path / "out"
        found = dataworth.select(
            pool,
            pool,
            "20-docs",
            text_field="messages",
            template="chatml",
            out=out,
            format="jsonl",
        )
        assert len(found) == 20
        assert set(written(out)) <= set(lines)
        row = json.loads(written(out)[0])
        text = found.explain(f"{found.table['uid'][0].as_py():016x}")["document"]["text"]
        assert "assistant" in text
        assert "plus" in text
        assert row["n"] in range(60)


class TestFields:
    def test_joined_and_nested(self, few: list[bytes], wanted: list[str], tmp_path: Path):
        rows = [json.loads(line) for line in few]
        lines = [
            json.dumps({"title": row["id"], "body": {"text": row["text"]}}).encode() for row in rows
        ]
        pool = write(tmp_path / "pool.jsonl", lines)
        options: dict[str, Any] = {"target_text_field": "text"}
        found = dataworth.select(pool, wanted, "20%", text_field=["title", "body.text"], **options)
        same = dataworth.select([f"{row['id']}\n\n{row['text']}" for row in rows], wanted, "20%")
        assert chosen(found) == chosen(same)

    def test_one_of_another_name(
        self, few: list[bytes], wanted: list[str], expected: Any, tmp_path: Path
    ):
        lines = [line.replace(b'"text":', b'"content":') for line in few]
        pool = write(tmp_path / "pool.jsonl.gz", lines)
        target = write(tmp_path / "target.jsonl", [document(text) for text in wanted])
        out = tmp_path / "out"
        found = dataworth.select(
            pool, target, "20%", text_field="content", target_text_field="text", out=out
        )
        assert chosen(found) == expected
        assert set(written(out)) <= set(lines)


class TestSteps:
    """A fitted step outlives its run."""

    @pytest.fixture(scope="class")
    @classmethod
    def scores(
        cls, few: list[bytes], wanted: list[str], tmp_path_factory: pytest.TempPathFactory
    ) -> dataworth.Scores:
        folder = tmp_path_factory.mktemp("steps")
        pool = write(folder / "pool.jsonl", few)
        steps = ["length(minimum=5)", "dsir", "dsir(ngrams=1)"]
        return dataworth.score(pool, wanted, steps=steps, out=folder / "out")

    def test_on_the_same_documents(self, scores: dataworth.Scores, few: list[bytes]):
        step = scores.steps["dsir"]
        found = step({"text": list(texts(few))})
        (column,) = found
        assert column == "utility:dsir:target"
        assert found[column] == scores.to_arrow()[column].to_pylist()

    def test_in_datasets_map(self, scores: dataworth.Scores, lines: list[bytes]):
        rows = [json.loads(line) for line in lines[300:400]]
        loaded = dataworth.load(scores.folder)
        for label in ("dsir", "dsir_2"):
            data = datasets.Dataset.from_list(rows)
            mapped = data.map(loaded.steps[label], batched=True, batch_size=7)
            by_hand = loaded.steps[label]({"text": [row["text"] for row in rows]})
            assert mapped[f"utility:{label}:target"] == by_hand[f"utility:{label}:target"]
            assert mapped["text"] == [row["text"] for row in rows]
        dropped = datasets.Dataset.from_list([{"text": "short"}, rows[0]])
        kept = dropped.map(loaded.steps["length"], batched=True)["drop"]
        assert kept == ["shorter than 5 words", None]

    def test_travels(self, scores: dataworth.Scores):
        step = pickle.loads(pickle.dumps(scores.steps["dsir"]))
        assert step({"text": ["a text"]}) == scores.steps["dsir"]({"text": ["a text"]})

    def test_again_from_disk(self, scores: dataworth.Scores):
        assert utilities(dataworth.load(scores.folder)) == utilities(scores)
