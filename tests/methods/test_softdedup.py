"""SoftDedup against its definition with dictionaries."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dataworth.errors import DataworthError
from dataworth.methods.base import Targets
from dataworth.methods.fitted import Fitted, learn
from dataworth.methods.softdedup import SoftDedup
from features.kneser_ney import Naive, sentences
from methods.fitting import fit, pool_of, utility
from methods.modelled import POOL


def commonness(some: list[str], order: int) -> np.ndarray:
    naive = Naive(sentences(POOL), order)
    words = [sum(len(line) - 1 for line in sentences([text])) for text in some]
    return np.array([10 ** (naive.log10([t], order) / n) for t, n in zip(some, words, strict=True)])


def test_weights_are_one_over_the_commonness() -> None:
    told = utility(fit(SoftDedup(3, segments=0), POOL, {}), POOL[:8])
    assert told == pytest.approx((-np.log(commonness(POOL[:8], 3))).tolist(), abs=1e-4)


def test_a_segment_has_the_mean_of_its_commonness(tmp_path: Path) -> None:
    step = SoftDedup(3, segments=4)
    fitted = fit(step, POOL, {})
    told = utility(fitted, [*POOL, " "])
    common = commonness(POOL, 3)
    wanted = np.empty(len(POOL))
    for segment in np.array_split(np.argsort(-common), 4):
        wanted[segment] = -math.log(common[segment].mean())
    assert told[:-1] == pytest.approx(wanted.tolist(), abs=1e-4) and told[-1] is None
    assert len(set(told[:-1])) == 4
    fitted.save(tmp_path)
    assert utility(Fitted.load(step, tmp_path), POOL) == told[:-1]


def test_copies_are_drawn_less() -> None:
    copies = ["a very particular line that comes again and again"] * 30
    told = utility(fit(SoftDedup(segments=0), [*POOL, *copies], {}), [copies[0], *POOL])
    assert told[0] == min(told)  # type: ignore[type-var]
    assert told[0] < np.median(told[1:]) - 0.5  # type: ignore


def test_a_sample_of_a_larger_pool_is_halved() -> None:
    """The model is of the first half, the segments are of the second."""
    pool = pool_of(POOL)
    part = replace(pool, survey=replace(pool.survey, documents=1000))
    assert pool.complete and not part.complete
    fitted = learn(SoftDedup(3, segments=2), part, Targets({}))
    model = fit(SoftDedup(3, segments=0), POOL[:20], {})
    cut = sorted(utility(model, POOL[20:]))[10]  # type: ignore[type-var]
    assert fitted.cuts.tolist() == [cut]


def test_bad_input_is_one_line() -> None:
    with pytest.raises(DataworthError, match="softdedup: the pool's sample: an n-gram model needs"):
        fit(SoftDedup(), ["", " "], {})
