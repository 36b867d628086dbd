"""D4: documents far from what is typical, after a deduplication by meaning.

Tirumala, Simig, Aghajanyan and Morcos 2023, "D4: improving LLM pretraining via document
de-duplication and diversification", arXiv 2308.12284. SemDeDup first; what is left is clustered
again, since duplicates make clusters of their own; then the documents nearest to their centroid
go, the "SSL prototypes" of Sorscher et al. 2022 (arXiv 2206.14486). The utility is the cosine
distance from the centroid, so the budget says how many go. The details are remembered, not
checked: 11,000 clusters, embeddings of OPT-125M, and 75 % left after the deduplication, whose
`epsilon` belongs to the embedder and is to be chosen for that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dataworth.methods.base import Batch, Pool, Score, State, Targets
from dataworth.methods.embedded import Embedded, nearest_centroid, sample_clusters
from dataworth.methods.semdedup import SemDeDup
from dataworth.options import option
from dataworth.registry import register


@register
@dataclass(frozen=True)
class D4(Embedded, Score):
    """Cosine distance from the nearest centroid, of what SemDeDup leaves."""

    name: ClassVar[str] = "d4"
    version: ClassVar[int] = 1
    needs_target: ClassVar[bool] = False
    filters_first: ClassVar[bool] = True
    unit = "cosine distance"
    clusters: int = option(
        11_000,
        help="At most so many, of both clusterings, and one for every 32 documents of the sample.",
        minimum=1,
    )
    epsilon: float = option(
        0.05,
        help="Of the deduplication before: a document goes whose cosine with another is above "
        "1 - epsilon; 0: there is none.",
        minimum=0,
        maximum=2,
    )

    @property
    def filters(self) -> tuple[SemDeDup, ...]:
        """The deduplication."""
        if not self.epsilon:
            return ()
        own = {name: getattr(self, name) for name in ("embedder", "model", "centre", "device")}
        return (SemDeDup(epsilon=self.epsilon, clusters=self.clusters, **own),)

    def fit(self, pool: Pool, targets: Targets) -> dict[str, Any]:
        """Cluster what is left of the sample."""
        return sample_clusters(self, pool, self.clusters)[0]

    def utilities(self, batch: Batch, state: State) -> NDArray[np.float64]:
        """Return the utility, [n, 1]."""
        return 1 - nearest_centroid(self, batch, state)[1][:, None]
