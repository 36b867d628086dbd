"""The example of a scikit-learn classifier, made small."""

from __future__ import annotations

import re

import numpy as np
import pytest

from examples import classifier


def test_estimates_are_what_fitting_again_does() -> None:
    """One image left out at a time: no first order in the group's size stands between."""
    generator = np.random.default_rng(3)
    images = classifier.Images(generator.random((420, 6)), generator.integers(0, 3, 420))
    train, queries = images.take(np.arange(400)), images.take(np.arange(400, 420))
    table = classifier.influence(classifier.fit(train), train, queries)
    assert table.shape == (400, 20)
    estimated, true = classifier.left_out(train, queries, table, 2, size=1, random=15)
    assert np.corrcoef(estimated, true)[0, 1] > 0.99
    assert estimated[0] > 0 > estimated[1] and true[0] > 0 > true[1]


def test_main(capsys: pytest.CaptureFixture[str]) -> None:
    classifier.main(train_images=300, groups=6, size=10)
    told = capsys.readouterr().out
    helped = re.search(r"most helpful\s+([+-][\d.]+) nats", told)
    harmed = re.search(r"most harmful\s+([+-][\d.]+) nats", told)
    assert helped and harmed and float(helped[1]) > 0 > float(harmed[1])
    found = {name: float(auc) for name, auc in re.findall(r"^  (\S+) +(\d\.\d{3})  ", told, re.M)}
    assert found["self-influence"] > 0.85 and abs(found["random"] - 0.5) < 0.2
    # Two rows of images of eight lines each, and the query.
    assert sum(set(line) <= set(classifier.SHADES) for line in told.splitlines()) >= 24
