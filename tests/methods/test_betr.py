"""BETR: ranks against sorting, how scores of several examples join, and what is learned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from dataworth.errors import ConfigError, DataworthError
from dataworth.methods.betr import BETR, mean_ranks, rank_scores
from methods.fitting import fit, utility
from methods.worded import worded

DIAGONAL = np.array([[1, 0], [0.5**0.5, 0.5**0.5], [0, 1]], np.float32)
AXES = np.eye(2, dtype=np.float32)


def test_maximum_and_mean_reverse_the_order() -> None:
    """Documents at 0, 45 and 90 degrees, examples at 0 and 90."""
    best, _ = rank_scores(DIAGONAL, AXES, "max", "cosine")
    np.testing.assert_allclose(best, [1, 0.5**0.5, 1], atol=1e-6)
    mean, _ = rank_scores(DIAGONAL, AXES, "mean", "cosine")
    np.testing.assert_allclose(mean, [0.5, 0.5**0.5, 0.5], atol=1e-6)
    assert rank_scores(DIAGONAL, AXES, "max", "rank")[0].tolist() == [-1, -2, -1]
    assert rank_scores(DIAGONAL, AXES, "mean", "rank")[0].tolist() == [-2, -2, -2]


def test_ranks_are_those_of_scipy_and_blocks_do_not_matter() -> None:
    draw = np.random.default_rng(0)
    vectors, examples = (draw.normal(size=(n, 4)).astype(np.float32) for n in (60, 150))
    vectors, examples = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (vectors, examples))
    ranks = stats.rankdata(-np.round(examples @ vectors.T, 6), axis=1)
    np.testing.assert_allclose(rank_scores(vectors, examples, "max", "rank")[0], -ranks.min(0))
    np.testing.assert_allclose(rank_scores(vectors, examples, "mean", "rank")[0], -ranks.mean(0))
    ties = draw.integers(0, 5, 40).astype(float)
    np.testing.assert_array_equal(mean_ranks(ties), stats.rankdata(ties))
    again = rank_scores(vectors, examples[draw.permutation(150)], "max", "rank")[0]
    np.testing.assert_array_equal(again, -ranks.min(0))


def test_rank_does_not_see_the_scale_of_an_example() -> None:
    """An example whose cosines are all small has the same say: here by a third coordinate."""
    low = np.array([[0.1, 0, np.sqrt(0.99)]], np.float32)
    flat = np.pad(DIAGONAL, ((0, 0), (0, 1)))
    wide = np.array([[1.0, 0, 0]], np.float32)
    first = rank_scores(flat, np.concatenate([low, wide]), "mean", "rank")[0]
    assert first.tolist() == (2 * rank_scores(flat, wide, "mean", "rank")[0] / 2).tolist()


def planted(tmp_path: Path) -> tuple[dict[str, object], list[str], np.ndarray, list[list[str]]]:
    """Ten topics of 40 documents, each with words of its own, and examples of topics 1 and 2."""
    draw = np.random.default_rng(0)
    topics = np.eye(16)[:10]
    vectors = topics.repeat(12, 0) + 0.1 * draw.normal(size=(120, 16))
    options, words = worded(tmp_path, vectors)
    text = lambda t: " ".join(words[12 * t + w] for w in draw.integers(0, 12, 8))  # noqa: E731
    group = np.arange(10).repeat(40)
    examples = [[text(t) for _ in range(n)] for t, n in ((1, 100), (2, 5))]
    return options, [text(t) for t in group], group, examples


def test_planted_topics(tmp_path: Path) -> None:
    options, texts, group, (one, two) = planted(tmp_path)
    step = BETR(buckets=4096, **options)
    fitted = fit(step, texts, {"a": one, "b": two})
    for column, topic in ((0, 1), (1, 2)):
        values = np.array(utility(fitted, texts, column))
        assert set(group[np.argsort(-values)[:40]].tolist()) == {topic}
    fitted = fit(BETR(buckets=4096, top=0.2, **options), texts, {"both": [*one, *two]})
    values = np.array(utility(fitted, texts))
    assert set(group[np.argsort(-values)[:80]].tolist()) == {1, 2}
    found = fitted.state["agreement"]["both"]
    assert found["documents"] == 20 and found["auc"] > 0.9
    # The mean of many examples of one topic and few of another prefers the first.
    mean = fit(BETR(buckets=4096, aggregate="mean", **options), texts, {"both": [*one, *two]})
    assert (group[np.argsort(-np.array(utility(mean, texts)))[:40]] == 1).sum() >= 35


def test_a_document_without_a_word_is_dropped(tmp_path: Path) -> None:
    options, texts, _, (one, _) = planted(tmp_path)
    fitted = fit(BETR(**options), texts, {"a": one})
    assert utility(fitted, [" ", texts[0]])[0] is None
    assert fitted.step.reasons == ("without a word",)


def test_one_line_for_what_is_wrong(tmp_path: Path) -> None:
    options, texts = worded(tmp_path, np.eye(3))
    with pytest.raises(DataworthError, match="has 1 documents to rank, and needs two"):
        fit(BETR(**options), texts[:1], {"a": texts})
    with pytest.raises(ConfigError, match="needs a target"):
        fit(BETR(**options), texts, {})
    with pytest.raises(ConfigError, match="option top must be"):
        BETR(top=0.9)
    # Fewer documents than a tenth is of, and two that are equal to each other.
    assert len(utility(fit(BETR(**options), [texts[0]] * 2, {"a": texts}), texts)) == 3
