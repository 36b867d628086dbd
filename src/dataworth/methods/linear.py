"""What DSIR and its discriminative form have in common: a weight for each hash bucket.

The utility of a document is the sum of the weights over its n-grams, or their mean, plus a bias.
A document without a word has none: it would get that of a document that is neither like the target
nor like the pool, which is better than most.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataworth.corpus.documents import Column, Documents
from dataworth.engine.files import check_array, read_arrays, read_object
from dataworth.errors import DataworthError
from dataworth.features.ngrams import HashedNgrams
from dataworth.methods.base import DROP, Step, utility_column, write_arrays
from dataworth.options import option

EMPTY = "without a word"

# The options of all steps with this form of utility.
ngrams_option = partial(option, 2, help="The longest n-gram (paper: 2).", minimum=1)
buckets_option = partial(
    option,
    10_000,
    help="Buckets that n-grams are hashed into (paper: 10,000).",
    minimum=2,
    maximum=2**32 - 1,
)
hash_option = partial(option, "fast", help='The hash; "sha256" gives the package\'s buckets.')
minimum_option = partial(
    option, 0, help="Documents of fewer tokens are dropped before, by `length`.", minimum=0
)
mechanism_option = partial(option, help="How to choose where nothing else is asked for.")


class LinearNgrams:
    """A fitted step: `weights` float64 [buckets, T], `bias` float64 [T], one utility a target.

    `mean` divides a document's sum by its number of n-grams, so that its length does not count.
    `unit` is the utility's, which is a logarithm of odds: above 0, a document is rather of the
    target than of the pool. Documents without an n-gram are dropped.
    """

    def __init__(
        self,
        step: Step,
        feature: HashedNgrams,
        targets: Sequence[str],
        weights: NDArray[np.float64],
        bias: NDArray[np.float64],
        *,
        mean: bool,
        unit: str,
        facts: dict[str, Any] | None = None,
    ) -> None:
        self.step = step
        self.feature = feature
        self.targets = list(targets)
        self.weights = weights
        self.bias = bias
        self.mean = mean
        self.facts = facts or {}
        self.unit = unit
        self.columns = (
            *(utility_column(step.name, name, unit, even=0.0) for name in targets),
            Column(DROP, pa.string(), "reason", step.name),
        )

    def annotate(self, documents: Documents) -> pa.RecordBatch:
        """A utility for each target, null for documents without an n-gram, and `drop` for these."""
        scores = self.feature.score(documents, self.weights)
        values = scores.sums
        if self.mean:
            values = values / np.maximum(scores.grams, 1)[:, None]
        values = values + self.bias
        columns = [np.ascontiguousarray(of) for of in values.T]
        empty = scores.grams == 0
        if empty.any():
            utilities = [pa.array(of, mask=empty) for of in columns]
            drop = pa.array([EMPTY]).take(pa.array(np.zeros(len(documents), np.int64), mask=~empty))
        else:  # nearly always, and a mask takes time
            utilities = [pa.array(of) for of in columns]
            drop = pa.nulls(len(documents), pa.string())
        names = [column.name for column in self.columns]
        return pa.RecordBatch.from_arrays([*utilities, drop], names)

    def explain(self, text: str, column: str) -> list[tuple[str, float]]:
        """Each n-gram's share of the utility, by falling size; with the bias they add up to it."""
        target = [item.name for item in self.columns].index(column)
        grams = self.feature.grams(text)
        scale = 1.0 / max(len(grams), 1) if self.mean else 1.0
        counts = Counter(grams)
        shares = [
            (gram, count * scale * float(self.weights[bucket, target]))
            for (gram, bucket), count in counts.items()
        ]
        if self.bias[target]:
            shares.append(("(bias)", float(self.bias[target])))
        return sorted(shares, key=lambda share: (-abs(share[1]), share[0]))

    def save(self, folder: Path) -> None:
        """`step.json` and `arrays.npz`."""
        facts = {"targets": self.targets, "feature": self.feature.identity, **self.facts}
        write_arrays(folder, facts, weights=self.weights, bias=self.bias)


def load_linear(
    step: Step, feature: HashedNgrams, folder: Path, *, mean: bool, unit: str
) -> LinearNgrams:
    """A fitted step from its folder. DataworthError if it was fitted with another feature."""
    facts = read_object(folder / "step.json")
    if facts["feature"] != feature.identity:
        raise DataworthError(
            f"{folder}: was fitted with the n-grams {facts['feature']}, "
            f"but the settings now give {feature.identity}"
        )
    arrays = read_arrays(folder / "arrays.npz")
    rest = {key: value for key, value in facts.items() if key not in ("targets", "feature")}
    names = facts["targets"]
    # Compiled code reads by these shapes.
    weights = check_array(arrays["weights"], np.float64, (feature.buckets, len(names)))
    bias = check_array(arrays["bias"], np.float64, (len(names),))
    return LinearNgrams(step, feature, names, weights, bias, mean=mean, unit=unit, facts=rest)
