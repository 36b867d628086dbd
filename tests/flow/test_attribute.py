"""`dataworth.attribute`: scores against gradients by hand, the ends, tokens, going on, refusals."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

import dataworth
from dataworth.attributing import attribution as flow
from dataworth.attributing import telling
from dataworth.attributing.scores import QueryScores
from dataworth.corpus.documents import Documents
from dataworth.errors import ConfigError, InputError, RunError
from dataworth.features.gradients import language
from dataworth.features.gradients.language import Reader
from dataworth.flow import annotating
from methods.modelled import POOL, gradient, model_folder, opened, texts, tokens

pytestmark = pytest.mark.usefixtures("swift")
QUERIES = [*texts("sums", 2, 5), *texts("seas", 1, 5)]
LONG = " ".join(texts("seas", 8))  # of several windows
TRAIN = [*POOL, LONG, POOL[0], "Unseen: 東京!"]


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("train") / "train.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TRAIN))
    return path


@pytest.fixture(scope="module")
def done(pool: Path, tmp_path_factory: pytest.TempPathFactory) -> dataworth.Attribution:
    out = tmp_path_factory.mktemp("out") / "attributed"
    return dataworth.attribute(model_folder(), pool, QUERIES, top=4, out=out, engine=1)


def facts(found: dataworth.Attribution) -> dict:
    """What does not hang on time and memory."""
    kept = ("predicted", "used", "train")
    return {name: value for name, value in found.facts.items() if name not in kept}


def test_plain_scores_are_the_products_of_gradients(pool: Path) -> None:
    model, tokenizer = opened()
    found = dataworth.attribute(model_folder(), pool, QUERIES, solver="identity", engine=1)
    ours = [gradient(model, tokenizer, [text]) for text in TRAIN]
    asked = [gradient(model, tokenizer, [q]) / tokens(tokenizer, q) for q in QUERIES]
    truth = np.array([[a @ b for b in asked] for a in ours])
    np.testing.assert_allclose(found.scores, truth, atol=1e-5 * np.abs(truth).max())
    for number, query in enumerate(found.queries):
        best = np.sort(np.unique(truth[:, number]))[::-1][:5]
        told = [doc["score"] for doc in query["helpful"]]
        assert told == pytest.approx(best, rel=1e-4)
        assert query["mean"] == pytest.approx(truth[:, number].mean(), rel=1e-3)
        assert query["share_positive"] == pytest.approx((truth[:, number] > 0).mean())


def test_the_ends_are_of_the_right_topic(done: dataworth.Attribution) -> None:
    for query in done.queries[:2]:
        helpful = ["".join(text for text, _ in doc["pieces"]) for doc in query["helpful"]]
        assert sum(text in POOL[::2] for text in helpful) >= 3
    scores = [doc["score"] for doc in done.queries[0]["helpful"]]
    assert scores == sorted(scores, reverse=True)
    assert all(doc["score"] < 0 for query in done.queries for doc in query["harmful"])


def test_tokens_add_up_to_the_score(done: dataworth.Attribution) -> None:
    seen = 0
    for query in done.queries:
        for doc in query["helpful"] + query["harmful"]:
            text = "".join(piece for piece, _ in doc["pieces"])
            assert text in TRAIN
            total = doc["start"] + sum(value for _, value in doc["pieces"])
            largest = max(abs(value) for _, value in doc["pieces"])
            assert total == pytest.approx(doc["score"], abs=0.01 * largest)
            seen += text == LONG
            if text == POOL[0]:
                assert doc["copies"] == 2
    assert seen  # a document of several windows is among them


def test_what_is_left_in_the_folder(done: dataworth.Attribution) -> None:
    assert done.folder is not None
    names = {path.name for path in done.folder.iterdir() if not path.name.startswith(".")}
    made = {"run.json", "table", "fitted", "lists"}
    assert names == {"attribution.json", "attribution.html", *made}
    assert len(done.store) == len(TRAIN) and done.store.dimension == len(QUERIES)
    _, tokenizer = opened()
    assert done.tokens.tolist() == [tokens(tokenizer, text) for text in TRAIN]
    assert json.loads((done.folder / "attribution.json").read_text())["documents"] == len(TRAIN)
    assert "3 queries" in repr(done)


@pytest.mark.parametrize(
    "lost", ["attribution.json", "table/attribution-*/00000.parquet", "fitted", "table"]
)
def test_interrupted_and_started_again_it_is_the_same(
    done: dataworth.Attribution, pool: Path, tmp_path: Path, lost: str
) -> None:
    assert done.folder is not None
    copy = tmp_path / "copy"
    shutil.copytree(done.folder, copy)
    (path,) = copy.glob(lost)
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    again = dataworth.attribute(model_folder(), pool, QUERIES, top=4, out=copy, engine=2)
    assert facts(again) == facts(done)
    assert np.array_equal(again.scores, done.scores)


def test_what_is_done_is_not_done_again(
    done: dataworth.Attribution, pool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(QueryScores, "fit", forbidden)
    monkeypatch.setattr(QueryScores, "values", forbidden)
    again = dataworth.attribute(model_folder(), pool, QUERIES, top=4, out=done.folder, engine=1)
    assert facts(again) == facts(done)


def test_what_is_done_again_in_a_folder(
    done: dataworth.Attribution, pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other queries and solvers add columns; only these are computed, and none is lost."""
    copy = tmp_path / "copy"
    assert done.folder is not None
    shutil.copytree(done.folder, copy)
    options: dict = {"top": 4, "out": copy, "engine": 1}
    before = {path: path.read_bytes() for path in (copy / "table").rglob("*.parquet")}
    other = dataworth.attribute(model_folder(), pool, QUERIES[:1], solver="diagonal", **options)
    alone = dataworth.attribute(model_folder(), pool, QUERIES[:1], solver="diagonal", engine=1)
    assert other.store.dimension == 1
    assert np.array_equal(other.scores, alone.scores)
    assert all(path.read_bytes() == content for path, content in before.items())
    assert len(list((copy / "table").iterdir())) == len(list((done.folder / "table").iterdir())) + 1
    monkeypatch.setattr(QueryScores, "fit", lambda *_: pytest.fail("fitted again"))
    again = dataworth.attribute(model_folder(), pool, QUERIES, **options)
    assert facts(again) == facts(done) and np.array_equal(again.scores, done.scores)
    monkeypatch.undo()
    options["overwrite"] = True
    new = dataworth.attribute(model_folder(), pool, QUERIES[:1], solver="diagonal", **options)
    assert np.array_equal(new.scores, other.scores)
    assert len(list((copy / "table").iterdir())) == len(list((done.folder / "table").iterdir()))


def test_other_folders_are_refused(done: dataworth.Attribution, pool: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    with pytest.raises(RunError, match="holds no run"):
        dataworth.attribute(model_folder(), pool, QUERIES, out=tmp_path)
    (tmp_path / "other.jsonl").write_text('{"text": "other"}\n')
    with pytest.raises(RunError, match="changed since this run began"):
        dataworth.attribute(model_folder(), tmp_path / "other.jsonl", QUERIES, out=done.folder)


def test_a_folder_of_an_earlier_version(pool: Path, tmp_path: Path) -> None:
    """It is known by its settings, and refused in one line; to start afresh removes it."""
    (tmp_path / "settings.json").write_text('{"configuration": {}, "train": [], "made_by": "0"}')
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / "store.json").write_text("{}")
    options: dict = {"solver": "identity", "engine": 1, "out": tmp_path}
    with pytest.raises(RunError, match=r"earlier version .* afresh with --overwrite") as raised:
        dataworth.attribute(model_folder(), pool, QUERIES[:1], **options)
    assert "\n" not in str(raised.value)
    found = dataworth.attribute(model_folder(), pool, QUERIES[:1], overwrite=True, **options)
    assert not (tmp_path / "scores").exists() and not (tmp_path / "settings.json").exists()
    assert found.scores.shape == (len(TRAIN), 1)


@pytest.mark.parametrize("first", ["select", "attribute"])
def test_a_run_is_selected_and_attributed_in_one_folder(
    pool: Path, tmp_path: Path, first: str
) -> None:
    """Each finds the documents there, and leaves what the other made."""
    out = tmp_path / "run"

    def select() -> dataworth.Selection:
        return dataworth.select(
            pool, {"sums": texts("sums", 5)}, "5-docs", steps=["bm25"], out=out, engine=1
        )

    def attribute() -> dataworth.Attribution:
        options: dict = {"solver": "identity", "out": out, "engine": 1}
        return dataworth.attribute(model_folder(), pool, QUERIES, **options)

    alone = dataworth.attribute(model_folder(), pool, QUERIES, solver="identity", engine=1)
    selection, found = None, None
    for name in (first, "attribute" if first == "select" else "select"):
        if name == "select":
            selection = select()
        else:
            found = attribute()
    assert selection is not None and found is not None
    assert np.array_equal(found.scores, alone.scores)
    assert len(list((out / "table").glob("documents-*"))) == 1
    assert {"report.html", "attribution.html", "data"} <= {path.name for path in out.iterdir()}
    loaded = dataworth.load(out)
    assert loaded.table.utilities == ("utility:bm25:sums",)
    assert np.array_equal(loaded.choose("5-docs").rows, selection.rows)
    dataworth.attribute(
        model_folder(), pool, QUERIES[:1], solver="identity", out=out, engine=1, overwrite=True
    )
    assert dataworth.load(out).table.utilities == ("utility:bm25:sums",)


def test_a_folder_of_attributions_has_nothing_to_choose(done: dataworth.Attribution) -> None:
    assert done.folder is not None
    with pytest.raises(dataworth.DataworthError, match="attributions alone") as raised:
        dataworth.load(done.folder)
    assert "\n" not in str(raised.value)


def test_by_length(pool: Path, done: dataworth.Attribution) -> None:
    found = dataworth.attribute(model_folder(), pool, QUERIES, per="token", engine=1)
    each = done.scores.astype(np.float64) / done.tokens[:, None]
    for number, query in enumerate(found.queries):
        best = np.sort(np.unique(each[:, number]))[::-1][:5]
        assert [doc["score"] for doc in query["helpful"]] == pytest.approx(best, rel=1e-3)
        for doc in query["helpful"]:
            total = doc["start"] + sum(value for _, value in doc["pieces"])
            assert total == pytest.approx(doc["score"], rel=0.02, abs=1e-6)


def test_a_forecast_does_nothing(pool: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    told = dataworth.attribute(model_folder(), pool, QUERIES, dry_run=True, out=out)
    assert not out.exists() and told.queries == []
    assert told.facts["predicted"]["seconds"] > 0 and told.facts["predicted"]["memory"] > 1e8
    with pytest.raises(RunError, match="forecast"):
        _ = told.scores


def test_units_and_workers_do_not_count(tmp_path: Path, done: dataworth.Attribution) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    for part in range(3):
        rows = [json.dumps({"text": text}) + "\n" for text in TRAIN[part::3]]
        (folder / f"{part}.jsonl").write_text("".join(rows))
    found = dataworth.attribute(model_folder(), folder, QUERIES, top=4, engine=3)
    order = done.store.find(found.store.uid)
    expected = done.scores[order]
    np.testing.assert_allclose(found.scores, expected, atol=1e-4 * np.abs(expected).max())


def test_documents_from_memory_go_on_too(tmp_path: Path) -> None:
    options = {"solver": "identity", "out": tmp_path / "out", "engine": 1}
    first = dataworth.attribute(model_folder(), POOL[:6], QUERIES[:1], **options)
    again = dataworth.attribute(model_folder(), POOL[:6], QUERIES[:1], **options)
    assert facts(again) == facts(first) and len(first.scores) == 6


def test_a_document_at_several_ends_is_read_once(
    pool: Path, done: dataworth.Attribution, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tokens are those that it has for each query alone."""
    rows: list[int] = []
    real = telling.extremes.fetch

    def counted(corpus: object, store: object, some: np.ndarray) -> object:
        rows.extend(some.tolist())
        return real(corpus, store, some)  # type: ignore[arg-type]

    monkeypatch.setattr(telling.extremes, "fetch", counted)
    twice = [*QUERIES, QUERIES[0] + " and"]
    together = dataworth.attribute(model_folder(), pool, twice, top=4, engine=1)
    assert (
        len(rows)
        == len(set(rows))
        < sum(len(query["helpful"]) + len(query["harmful"]) for query in together.queries)
    )
    for ours, alone in zip(together.queries, done.queries, strict=False):
        for one, other in zip(ours["helpful"], alone["helpful"], strict=True):
            assert one["uid"] == other["uid"] and one["score"] == pytest.approx(other["score"])
            values = [value for _, value in other["pieces"]]
            largest = max(abs(value) for value in values)
            assert [v for _, v in one["pieces"]] == pytest.approx(values, abs=1e-3 * largest)


def test_slices_are_a_matter_of_work(
    done: dataworth.Attribution, pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However small they are, scores are the same; a kill costs one, and changes none."""
    monkeypatch.setattr(language, "_PIECE_SECONDS", 0.0002)
    monkeypatch.setattr(annotating, "_SLICE", 0.0)
    real, asked = QueryScores.values, []

    def counted(self: QueryScores, documents: Documents, state: object) -> object:
        asked.append(len(documents))
        if len(asked) == 4:
            raise KeyboardInterrupt
        return real(self, documents, state)  # type: ignore[arg-type]

    monkeypatch.setattr(QueryScores, "values", counted)
    with pytest.raises(KeyboardInterrupt):
        dataworth.attribute(model_folder(), pool, QUERIES, top=4, out=tmp_path, engine=1)
    found = dataworth.attribute(model_folder(), pool, QUERIES, top=4, out=tmp_path, engine=1)
    assert len(asked) > 8 and sum(asked) == len(TRAIN) + asked[3]
    np.testing.assert_allclose(found.scores, done.scores, atol=1e-5 * np.abs(done.scores).max())
    assert [q["helpful"][0]["uid"] for q in found.queries] == [
        q["helpful"][0]["uid"] for q in done.queries
    ]
    whole = dataworth.attribute(model_folder(), pool, QUERIES, top=4, engine=3)
    assert np.array_equal(whole.scores, found.scores) and facts(whole) == facts(found)


def test_slices_shrink_with_models_and_queries() -> None:
    reader = Reader(model_folder())
    few = reader.piece(1_000_000)
    assert few < reader.piece(100_000) < reader.piece()


def test_what_has_passed_is_a_part_of_the_forecast(
    pool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = dataworth.attribute(model_folder(), pool, QUERIES, dry_run=True)
    real = flow.check_solver

    def slow(reader: Reader, solver: str) -> None:
        time.sleep(1.5)
        real(reader, solver)

    monkeypatch.setattr(flow, "check_solver", slow)
    late = dataworth.attribute(model_folder(), pool, QUERIES, dry_run=True)
    assert late.facts["predicted"]["seconds"] > 1.5
    assert told.facts["predicted"]["seconds"] > 0


def test_a_query_that_was_trained_on_is_told(pool: Path) -> None:
    found = dataworth.attribute(model_folder(), pool, [POOL[3]], solver="identity", engine=1)
    assert "query 1 is among" in found.facts["notes"][0]
    assert found.scores[3, 0] > 0


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"model": ""}, ConfigError, "folder of a causal language model"),
        ({"model": "/nowhere"}, ConfigError, "no folder of a model"),
        ({"solver": "newton"}, ConfigError, "solver must be one of"),
        ({"top": 0}, ConfigError, "top"),
        ({"per": "half"}, ConfigError, "per must be document or token"),
        ({"layers": "*nothing*"}, ConfigError, "nothing"),
        ({"queries": []}, InputError, "empty list"),
    ],
)
def test_errors_are_one_line(pool: Path, options: dict, error: type, said: str) -> None:
    given = {"model": model_folder(), "train": pool, "queries": QUERIES} | options
    with pytest.raises(error, match=said) as raised:
        dataworth.attribute(**given)
    assert "\n" not in str(raised.value)
