"""The two classes of a classifier that is trained: the target's documents, and others of the pool.

As GPT-3's and DCLM's filters: positives are texts of the wanted kind, negatives a random sample of
the pool that is to be filtered, after the steps that come before.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.corpus.uid import hash_uid, uniform
from dataworth.errors import DataworthError
from dataworth.methods.base import Pool, Targets
from dataworth.options import option

log = logging.getLogger("dataworth")
FEW = 50
"""Fewer documents of a target than this are warned of."""
_NEGATIVES, _ORDER, _HELD = (0x636C6173 + i for i in range(3))  # streams of `hash_uid`

negatives_option = partial(
    option,
    20_000,
    help="Documents of the pool's random sample that are the other class, at most.",
    minimum=1,
)


def two_classes(
    step: str, pool: Pool, targets: Targets, name: str, negatives: int, number: int = 0
) -> tuple[Documents, NDArray[np.bool_]]:
    """Return the documents of a target and others of the pool, and which are the target's.

    They come in the order of a hash of their uids, so that no order of files counts.

    Parameters
    ----------
    step : what it is called in messages.
    negatives : how many documents of the pool's sample, at most.
    number : which sample of the pool: 0, 1, …

    Raises
    ------
    DataworthError
        Where one of the classes has no document.
    """
    positives, sample = targets.fit[name], pool.sample()
    inside = np.isin(sample.uid, positives.uid)
    if len(positives) < FEW:
        log.warning(
            "%s: the target %r has %d documents to learn from, fewer than %d: the classifier knows "
            "little of what it is to find",
            *(step, name, len(positives), FEW),
        )
    if inside.any():
        log.warning(
            "%s: %d of %d sampled documents of the pool are documents of the target %r; they are "
            "no negatives, but they will score high: --exclude leaves them out",
            *(step, int(inside.sum()), len(inside), name),
        )
    sample = sample.take(~inside)
    order = np.argsort(hash_uid(pool.seed, sample.uid, _NEGATIVES + 3 * number), kind="stable")
    sample = sample.take(order[:negatives])
    if not len(positives) or not len(sample):
        raise DataworthError(
            f"{step}: there is one class only: "
            + (
                f"the target {name!r} has no document to learn from"
                if not len(positives)
                else f"the sample of the pool has no document that is not of the target {name!r}; "
                "see the drop reasons, or split giant documents (--split-words)"
            )
        )
    documents = Documents.concatenate(
        [replace(one, columns={}, spans=None) for one in (positives, sample)]
    )
    order = np.argsort(hash_uid(pool.seed, documents.uid, _ORDER), kind="stable")
    return documents.take(order), order < len(positives)


def held_out(
    documents: Documents, labels: NDArray[np.bool_], share: float, seed: int
) -> NDArray[np.bool_]:
    """Return which documents are held out of a training, bool [n], by their uids.

    None are where one of the classes would be missing on a side.
    """
    held = uniform(seed, documents.uid, _HELD) < share
    sides = {(bool(label), bool(out)) for label, out in zip(labels, held, strict=True)}
    return held if len(sides) == 4 else np.zeros(len(held), np.bool_)
