"""DSIR: closed forms, golden values, and what its settings mean."""

from __future__ import annotations

import dataclasses
import json
import math
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import dataworth
from dataworth.engine.local import Engine
from dataworth.errors import ConfigError, DataworthError
from dataworth.features.ngrams import HashedNgrams
from dataworth.methods.dsir import DSIR
from dataworth.methods.fitted import Fitted
from dataworth.methods.length import Length
from dataworth.methods.linear import EMPTY
from features.twins import fast_buckets, tokens_of
from methods.fitting import docs, fit, utility
from testdata import read_rows

BARE = DSIR(smoothing=0.0, per="document")
PACKAGE = dataclasses.replace(DSIR.reference(), minimum=0)
LEAST = 1 << 16  # bytes of a pool's sample
RAW = ["the cat sat on the mat", "Stocks fell on Monday."]
TARGET = {"t": ["The cat sat on the mat."]}


@pytest.fixture(scope="module")
def texts(small_pool: Path) -> list[str]:
    return [row["text"] for row in read_rows(small_pool)][:400]


def write(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "utf-8")
    return path


# The golden mini-corpus (docs of the method: verification, item 2).


def test_golden_corpus() -> None:
    counts = [PACKAGE.feature.count(docs([text])) for text in (*TARGET["t"], *RAW)]
    assert [int(count.grams[0]) for count in counts] == [13, 11, 9]
    fitted = fit(PACKAGE, RAW, TARGET)
    np.testing.assert_allclose(utility(fitted, RAW), [4.045464, -107.806222], atol=5e-7)
    assert fitted.weights.min() == pytest.approx(-15.4249, abs=5e-5)
    assert fitted.weights.max() == pytest.approx(15.8557, abs=5e-5)
    smoothed = fit(dataclasses.replace(PACKAGE, smoothing=0.1), RAW, TARGET)
    np.testing.assert_allclose(utility(smoothed, RAW), [-42.912016, -51.944350], atol=5e-7)


def words_of_buckets(buckets: int) -> list[str]:
    """A word for each bucket of 1-grams."""
    found: dict[int, str] = {}
    for number in range(1000):
        found.setdefault(fast_buckets([f"w{number}"], 1, buckets)[0], f"w{number}")
    return [found[bucket] for bucket in range(buckets)]


def test_three_buckets() -> None:
    a, b, c = words_of_buckets(3)
    step = dataclasses.replace(BARE, ngrams=1, buckets=3)
    target = {"t": [" ".join([a] * 8 + [b, c])]}
    fitted = fit(step, [" ".join([a, b] + [c] * 4), " ".join([c] * 4)], target)
    np.testing.assert_allclose(fitted.weights[:, 0], [2.0794415, 0, -2.0794415], atol=1e-6)
    assert utility(fitted, [f"{a} {a} {c}"])[0] == pytest.approx(math.log(8), abs=1e-6)
    # Nats per n-gram: the mean.
    mean = fit(dataclasses.replace(step, per="ngram"), [f"{a} {b} {c * 8}"], target)
    long = " ".join([a] * 30)
    assert utility(mean, [a])[0] == pytest.approx(utility(mean, [long])[0], rel=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 1e-3, 0.1, 1.0, 50.0])
def test_smoothing_identity(smoothing: float, texts: list[str]) -> None:
    """p_λ = (p C + λ) / (C + λ B), plus the floor, over the unsmoothed pool."""
    step = dataclasses.replace(BARE, smoothing=smoothing, buckets=500)
    fitted = fit(step, texts[100:], {"t": texts[:100]})
    counts = step.feature.count(docs(texts[:100])).counts
    raw = step.feature.count(docs(texts[100:])).counts
    total = counts.sum()
    p = (counts / total * total + smoothing) / (total + smoothing * 500)
    assert p.sum() == pytest.approx(1)
    weights = np.log(p + 1e-8) - np.log(raw / raw.sum() + 1e-8)
    np.testing.assert_allclose(fitted.weights[:, 0], weights, rtol=0, atol=1e-12)
    told = (fitted.raw_ngrams, fitted.target_ngrams)
    assert told == (int(raw.sum()), {"t": int(total)})


@pytest.mark.parametrize("ngrams", [1, 2, 3, 5])
def test_lengths_are_recovered_from_counts(ngrams: int, texts: list[str]) -> None:
    counted = HashedNgrams(ngrams).count(docs([*texts, " ".join("abcde"[:ngrams])]))
    recovered = (counted.grams + ngrams * (ngrams - 1) // 2) // ngrams
    long = counted.tokens >= ngrams - 1
    assert long[-1]
    assert np.array_equal(recovered[long], counted.tokens[long])
    assert counted.tokens[:5].tolist() == [len(tokens_of(text)) for text in texts[:5]]


# The target is the pool: nothing to prefer.


@pytest.mark.parametrize("sample_bytes", [None, LEAST])
def test_target_equal_to_pool(sample_bytes: int | None, texts: list[str], tmp_path: Path) -> None:
    path = str(write(tmp_path / "pool.jsonl", sorted(set(texts))))
    step = dataclasses.replace(BARE, raw="all")
    scores = dataworth.score(path, path, steps=step, holdout=0, sample_bytes=sample_bytes)
    found = scores.to_arrow()["utility:dsir:pool"].to_numpy()
    assert len(found) == len(set(texts)) and np.abs(found).max() < 1e-9
    # The choice is then that of chance.
    gumbel = scores.choose("50-docs", mechanism="gumbel_top_k(temperature=1.0)")
    chance = scores.choose("50-docs", mechanism="random")
    assert np.array_equal(gumbel.choice.counts, chance.choice.counts)
    assert gumbel.choice.counts.sum() == 50


def test_a_choice_among_equals_is_uniform(texts: list[str]) -> None:
    """Over seeds, each document is taken as often as any other."""
    pool = [f"{text[:200]} {i}" for i, text in enumerate(texts[:60])]
    scores = dataworth.score(pool, pool, steps=dataclasses.replace(BARE, raw="all"), holdout=0)
    taken = sum(
        scores.choose(
            "20-docs", mechanism="gumbel_top_k(temperature=1.0)", seed=seed
        ).choice.counts.astype(int)
        for seed in range(60)
    )
    # Binomial(60, 1/3) for each document; the sum of squares is near chi-square with 59 degrees.
    chi = ((taken - 20) ** 2 / (60 * (1 / 3) * (2 / 3))).sum()
    assert taken.sum() == 1200 and 30 < chi < 100


# Several targets.


def test_joint_is_one_target_of_all_text(texts: list[str]) -> None:
    parts = {"a": texts[:50], "b": texts[50:80], "c": texts[80:85]}
    joint = fit(dataclasses.replace(BARE, targets="joint"), texts, parts)
    whole = fit(BARE, texts, {"t": texts[:85]})
    assert [c.name for c in joint.columns] == ["utility:dsir:joint", "drop"]
    assert np.array_equal(joint.weights, whole.weights)
    alone = fit(dataclasses.replace(BARE, targets="joint"), texts, {"t": texts[:85]})
    assert alone.columns[0].name == "utility:dsir:t"


def test_separate_targets_do_not_know_each_other(texts: list[str]) -> None:
    parts = {"b": texts[:50], "a": texts[50:80], "c": texts[80:85]}
    together = fit(DSIR(), texts, parts)
    assert [c.name for c in together.columns[:3]] == [f"utility:dsir:{name}" for name in "abc"]
    for column, name in enumerate("abc"):
        alone = fit(DSIR(), texts, {name: parts[name]})
        assert np.array_equal(together.weights[:, column], alone.weights[:, 0])
        np.testing.assert_allclose(
            utility(together, texts[:20], column), utility(alone, texts[:20]), rtol=1e-12
        )
    turned = fit(DSIR(), texts, dict(reversed(parts.items())))
    assert turned.annotate(docs(texts)).equals(together.annotate(docs(texts)))


# What the pool's model is fitted on.


def raw_ngrams(path: Path, steps: object, **options: object) -> int:
    scores = dataworth.score(str(path), ["a target"], steps=steps, holdout=0, **options)
    return next(f for f in scores.scored.fitted if f.step.name == "dsir").state["raw_ngrams"]


@pytest.mark.parametrize("raw", ["sample", "all"])
@pytest.mark.parametrize("sample_bytes", [None, LEAST])
def test_own_filters_do_not_touch_the_pools_model(
    raw: str, sample_bytes: int | None, tmp_path: Path
) -> None:
    """Short documents cannot be chosen, but the pool is what it is; earlier steps do count."""
    texts = [f"one{i}" for i in range(5_000)] + [f"four words are here{i}" for i in range(5_000)]
    path = write(tmp_path / "pool.jsonl", texts)
    step = DSIR(raw=raw, minimum=3)  # type: ignore[arg-type]
    whole, kept = 5_000 * 8, 5_000 * 7
    found = raw_ngrams(path, step, sample_bytes=sample_bytes)
    filtered = raw_ngrams(path, (Length(3), step), sample_bytes=sample_bytes)
    if sample_bytes is None or raw == "all":
        assert (found, filtered) == (whole, kept)
        # A filter of the step's own beside another one.
        assert raw_ngrams(path, (Length(0), step), sample_bytes=sample_bytes) == whole
    else:
        assert 0 < filtered < found < whole and filtered % 7 == 0


def test_a_pool_of_giants_is_fitted_whole(tmp_path: Path) -> None:
    """Documents too long for the sample leave it empty, but not the pool."""
    path = write(tmp_path / "pool.jsonl", [f"giant {i} " * 1000 for i in range(5)])
    whole = raw_ngrams(path, DSIR(raw="all"), sample_bytes=LEAST)
    assert raw_ngrams(path, DSIR(), sample_bytes=LEAST) == whole == 5 * (4000 - 1)


@pytest.mark.parametrize("raw", ["sample", "all"])
def test_files_and_workers_change_nothing(raw: str, texts: list[str], tmp_path: Path) -> None:
    """Counts and weights are the same for 1, 2 or 15 files, any names, 1, 2 or 7 workers."""
    found = []
    for files, workers in ((1, 1), (2, 2), (15, 7)):
        folder = tmp_path / f"{files}"
        folder.mkdir()
        rng = random.Random(files)
        for number in range(files):
            write(folder / f"{rng.random()}.jsonl", texts[number::files])
        scores = dataworth.score(
            str(folder),
            texts[:30],
            steps=DSIR(raw=raw),  # type: ignore[arg-type]
            engine=Engine(workers),
            sample_bytes=100_000 if raw == "all" else None,
        )
        table = scores.to_arrow()
        rows = zip(table["uid"].to_pylist(), table["utility:dsir:target"].to_pylist(), strict=True)
        selection = scores.choose("20%")
        uids = np.asarray(table["uid"])[selection.choice.counts > 0]
        found.append((sorted(rows), sorted(uids.tolist()), scores.steps["dsir"].weights))
    for other in found[1:]:
        assert other[:2] == found[0][:2]
        assert np.array_equal(other[2], found[0][2])


# Length filter, empty documents.


def test_short_documents_have_a_reason(texts: list[str], target_file: Callable[..., Path]) -> None:
    scores = dataworth.score(
        [*texts, "", " \n ", "two words", "!"],
        str(target_file("math")),
        steps="dsir(minimum=100)",
        max_bad=0.1,
    )
    table = scores.to_arrow()
    lengths = [len(tokens_of(text)) for text in [*texts, " \n ", "two words", "!"]]
    reasons = ["shorter than 100 words" if n < 100 else None for n in lengths]
    assert table["drop"].to_pylist() == reasons
    values = table["utility:dsir:math"].to_pylist()
    assert [value is None for value in values] == [reason is not None for reason in reasons]
    chosen = scores.choose("100%").choice
    assert np.array_equal(chosen.counts > 0, np.array(lengths) >= 100)
    assert chosen.dropped == {"shorter than 100 words": sum(n < 100 for n in lengths)}


@pytest.mark.parametrize("step", [DSIR(), BARE])
def test_documents_without_a_word_are_dropped(step: DSIR, texts: list[str]) -> None:
    """Their log ratio would be 0, better than that of nearly all of a pool unlike the target."""
    pool = ["   ", *texts, "\u2028\n"]
    fitted = fit(step, pool, {"t": ["a target of quite another kind"]})
    batch = fitted.annotate(docs(pool)).to_pydict()
    assert batch["drop"] == [EMPTY, *[None] * len(texts), EMPTY]
    values = batch["utility:dsir:t"]
    assert values[0] is values[-1] is None and None not in values[1:-1]
    assert fitted.explain(" ", "utility:dsir:t") == []


def test_a_batch_of_rows_gets_utilities_alone(texts: list[str]) -> None:
    scores = dataworth.score(texts, ["a target"], holdout=0)
    found = scores.steps["dsir"]({"text": [texts[0], " "], "other": [1, 2]})
    assert list(found) == ["utility:dsir:target"]
    assert found["utility:dsir:target"][0] is not None
    assert found["utility:dsir:target"][1] is None


# Reasons, and what is kept on disk.


@pytest.mark.parametrize(
    "step", [DSIR(), BARE, PACKAGE, DSIR(ngrams=5, tokens="mixed"), DSIR(ngrams=1)]
)
def test_contributions_add_up(step: DSIR, texts: list[str]) -> None:
    fitted = fit(step, texts, {"a": texts[:30], "b": texts[30:60]})
    for column in [c.name for c in fitted.columns if c.name != "drop"]:
        values = fitted.annotate(docs(texts[::20])).column(column).to_pylist()
        for text, value in zip(texts[::20], values, strict=True):
            shares = fitted.explain(text, column)
            assert sum(share for _, share in shares) == pytest.approx(value, rel=1e-9, abs=1e-9)
            sizes = [abs(share) for _, share in shares]
            assert sizes == sorted(sizes, reverse=True)
            assert len({what for what, _ in shares}) == len(shares)


@pytest.mark.parametrize("step", [DSIR(), PACKAGE, DSIR(targets="joint", tokens="mixed")])
def test_saved_and_loaded(step: DSIR, texts: list[str], tmp_path: Path) -> None:
    fitted = fit(step, texts, {"a": texts[:30], "b": texts[30:60]})
    fitted.save(tmp_path / "step")
    again = Fitted.load(step, tmp_path / "step")
    assert again.annotate(docs(texts)).equals(fitted.annotate(docs(texts)))
    assert again.columns == fitted.columns and again.raw_ngrams == fitted.raw_ngrams
    assert sorted(path.name for path in (tmp_path / "step").iterdir()) == [
        "bias.npy",
        "step.json",
        "weights.npy",
    ]
    other = dataclasses.replace(step, buckets=99)
    with pytest.raises(DataworthError, match="does not fit its options"):
        Fitted.load(other, tmp_path / "step").annotate(docs(texts))


def test_no_documents(texts: list[str]) -> None:
    fitted = fit(DSIR(), texts, {"a": texts[:30], "b": texts[:2]})
    batch = fitted.annotate(docs([]))
    assert batch.num_rows == 0
    assert batch.schema.names == ["utility:dsir:a", "utility:dsir:b", "drop"]
    assert [str(kind) for kind in batch.schema.types] == ["double", "double", "string"]


def test_units() -> None:
    units = [fit(step, RAW, TARGET).columns[0].unit for step in (DSIR(), BARE)]
    assert units == ["nats per n-gram", "nats"]


# What cannot be.


@pytest.mark.parametrize(
    "options",
    [
        {"smoothing": -0.1},
        {"smoothing": math.nan},
        {"smoothing": math.inf},
        {"raw": "everything"},
        {"per": "mean"},
        {"targets": "each"},
        {"hash": "md5"},
        {"tokens": "words"},
        {"minimum": -1},
        {"ngrams": 0},
        {"buckets": 1},
    ],
)
def test_wrong_settings(options: dict) -> None:
    with pytest.raises(ConfigError):
        DSIR(**options)


def test_nothing_to_fit() -> None:
    with pytest.raises(DataworthError, match="no document of the pool has a word"):
        fit(DSIR(), [" ", ""], TARGET)
    with pytest.raises(DataworthError, match="no document of the pool has a word"):
        fit(DSIR(), [], TARGET)
    with pytest.raises(DataworthError, match="target 't' has no word"):
        fit(DSIR(), RAW, {"t": [" "]})
    with pytest.raises(ConfigError, match="needs a target"):
        fit(DSIR(), RAW, {})
