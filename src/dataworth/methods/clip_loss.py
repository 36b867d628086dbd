"""negCLIPLoss: how well image and caption find each other among the pairs of a random batch.

Wang et al. 2024, "CLIPLoss and norm-based data selection methods for multimodal contrastive
learning", arXiv 2405.19547: the cosine less what the pair's normalisation in the training loss
takes off, the mean over random batches, so a caption that fits every image falls. Larger is better.
The batches are the pair with random pairs of the pool's sample. Temperature 0.01, batches of 32,768
and ten of them are remembered, not checked; five suffice, the paper says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.uid import hash_uid
from dataworth.features.embeddings import Vectors
from dataworth.features.pairs import clip_losses, unit_at
from dataworth.methods.base import Pool, State, Targets
from dataworth.methods.paired import Paired
from dataworth.options import option
from dataworth.registry import register

_STREAM = 0x636C6970  # of `hash_uid`
_BLOCK = 256  # pairs that are compared with all others at once


@register
@dataclass(frozen=True)
class CLIPLoss(Paired):
    """Negative contrastive loss of a pair, times the temperature, over random batches."""

    name: ClassVar[str] = "clip_loss"
    version: ClassVar[int] = 1
    unit = "cosine"
    temperature: float = option(0.01, help="Of the teacher's softmax.", above=0, maximum=1)
    batch: int = option(32_768, help="Pairs of a batch, as far as the sample goes.", minimum=1)
    batches: int = option(5, help="Random batches, drawn from twice as many pairs.", minimum=1)

    def fit(self, pool: Pool, targets: Targets) -> dict[str, Any]:
        """Draw the batches out of the sample."""
        sample = pool.sample()
        embeddings = self._open()
        rows = embeddings.rows(sample)
        known, first = np.unique(sample.uid[rows >= 0], return_index=True)
        chosen = np.sort(np.argsort(hash_uid(pool.seed, known, _STREAM))[: 2 * self.batch])
        uid, rows = known[chosen], rows[rows >= 0][first[chosen]]
        member = np.zeros((len(uid), self.batches), np.bool_)
        for number in range(self.batches):
            order = np.argsort(hash_uid(pool.seed, uid, _STREAM + 1 + number))
            member[order[: self.batch - 1], number] = True
        image, text = (unit_at(side, rows) for side in (embeddings.image, embeddings.text))
        return {"uid": uid, "member": member, "image": image, "text": text}

    def of_pairs(
        self, image: Vectors, text: Vectors, uid: NDArray[np.uint64], state: State
    ) -> NDArray[np.float64]:
        """Return the negative losses."""
        drawn = state.array("uid", np.uint64, (None,))
        shape = (len(drawn), image.shape[1])
        others = tuple(state.array(name, np.float32, shape) for name in ("image", "text"))
        member = state.array("member", np.bool_, (len(drawn), self.batches))
        losses = np.empty(len(image))
        for start in range(0, len(image), _BLOCK):
            some = slice(start, start + _BLOCK)
            same = uid[some, None] == drawn
            losses[some] = clip_losses(
                image[some], text[some], (others[0], others[1]), member, same, self.temperature
            )
        return losses
