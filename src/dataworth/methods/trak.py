"""TRAK: projected gradients, whitened by those of the training documents, over several models.

Park, Georgiev, Ilyas, Leclerc and Madry, "TRAK: Attributing Model Behavior at Scale", ICML 2023.
For each model: the target's and the document's gradients are projected to few numbers, the Gram
matrix of the training documents' is inverted between them; then the mean over models. The output
that is explained is minus the loss, as in selection by datamodels (DsDm, Engstrom et al. 2024), so
that the published weights 1 - p are 1. Not from the package: damping in place of none, a Gram
matrix from a sample, no rescaling of its inverse.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.errors import DataworthError
from dataworth.methods.base import Pool, State, Targets
from dataworth.methods.modelled import (
    Model,
    ModelScore,
    Values,
    layers_option,
    log,
    models_option,
    per_option,
    target_gradients,
    tell_cost,
)
from dataworth.options import option
from dataworth.registry import register

_PARTS = 4  # of a sparse projection
_MOST, _DOCUMENTS_PER_NUMBER = 512, 4  # where the number of dimensions is left open


@register
@dataclass(frozen=True)
class TRAK(ModelScore):
    """The estimated fall of the target's loss, by projected gradients of one or several models."""

    name: ClassVar[str] = "trak"
    version: ClassVar[int] = 1
    needs_target: ClassVar[bool] = True
    models: tuple[str, ...] = models_option(
        help="Folders, of Hugging Face or of dataworth.lm; several, trained on random halves of "
        "the pool or with several seeds, are better than one."
    )
    dimension: int = option(
        0,
        help="Numbers that a gradient is projected to; 0: a quarter of the documents in the "
        "sample, 512 at most.",
        minimum=0,
    )
    projection: Literal["sparse", "rademacher", "gaussian"] = option(
        "sparse", help="The projection: sparse (the fastest), or a matrix of signs or of normals."
    )
    damping: float = option(
        0.1,
        help="Share of the Gram matrix's mean eigenvalue that is added; a sample smaller than "
        "`dimension` leaves directions that only the damping weighs, and noise in them.",
        minimum=0,
    )
    sample: int = option(
        2048,
        help="Documents of the pool that the Gram matrix is of; they are cut to `windows` too.",
        minimum=1,
    )
    layers: tuple[str, ...] = layers_option()
    per: Literal["token", "document"] = per_option()

    @property
    def unit(self) -> str:
        """The unit of the utility."""
        return "nats saved per token" if self.per == "token" else "nats saved"

    def dimension_for(self, documents: int) -> int:
        """Numbers that gradients are projected to, with a sample of so many documents."""
        if self.dimension:
            return self.dimension
        return max(_PARTS, min(_MOST, documents // _DOCUMENTS_PER_NUMBER) // _PARTS * _PARTS)

    def projector(self, reader: Any, number: int, seed: int, dimension: int) -> Any:
        """Return the projection of one model's gradients: each model has its own."""
        from dataworth.features.gradients.projection import Dense, Sparse

        seed = seed * 1_000_003 + number
        if self.projection == "sparse":
            parts = _PARTS if dimension % _PARTS == 0 else 1
            found: Any = Sparse(dimension, parts=parts, seed=seed)
        else:
            found = Dense(dimension, self.projection, seed)
        return found.bind(reader.engine.blocks, reader.engine.device)

    def fit(self, pool: Pool, targets: Targets) -> dict[str, Any]:
        """Solve the targets' gradients with the Gram matrix of a sample, for each model."""

        import torch

        sample = pool.sample(self.sample)
        dimension = self.dimension_for(len(sample))
        if len(sample) < dimension:
            log.warning(
                "%s: a Gram matrix of %d documents is noise in most of its %d dimensions; take "
                "fewer (dimension=%d, or 0 for a number that suits the sample), or a larger sample",
                self.name,
                len(sample),
                dimension,
                replace(self, dimension=0).dimension_for(len(sample)),
            )
        count = len(self.models)
        vectors = {}
        for number, source in enumerate(self.models):
            reader = self.of(source, cut=False).reader
            with reader.working():
                if not number:
                    passes = count * len(sample)
                    tell_cost(self, reader, pool, targets, passes=passes, scored=count, cut=True)
                gradients = torch.from_numpy(target_gradients(self.name, reader, targets))
                projector = self.projector(reader, number, pool.seed, dimension)
                inverse = self._inverse(self.of(source), sample, projector)
                # Where the Gram matrix is.
                target = projector.flat(gradients.to(reader.engine.device)).cpu()
                scale = 1 / (count * max(1, round(pool.documents)))
                moved = inverse.apply(target) * inverse.scale * scale
            vectors[f"vectors_{number}"] = moved.numpy().astype(np.float32)
        return self.known(seed=pool.seed, **vectors)

    def _inverse(self, model: Model, sample: Documents, projector: Any) -> Any:
        """Return the damped inverse of the mean outer product of the sample's projected rows."""
        import torch

        from dataworth.features.gradients.preconditioners import Damping, gram

        rows, tokens = model.reader.projected(sample, projector)
        if not tokens.any():
            raise DataworthError(f"{self.name}: the pool's sample has no token to predict")
        kept = rows[torch.from_numpy(tokens > 0)]
        return gram([kept], damping=Damping(self.damping), count=1)

    def values(self, documents: Documents, state: State) -> tuple[Values, NDArray[np.int64]]:
        """Return utilities [n, targets], and tokens that are predicted [n]."""
        total = np.zeros((len(documents), len(state.targets)))
        tokens = np.zeros(len(documents), np.int64)
        for number, model in enumerate(self.models_of(state)):
            vectors = self.vectors(state, f"vectors_{number}")
            projector = self.projector(model.reader, number, state["seed"], vectors.shape[1])
            rows, tokens = model.reader.projected(documents, projector)
            scores = rows.double().numpy() @ vectors.T.astype(np.float64)
            if self.per == "token":
                scores = scores / np.maximum(tokens, 1)[:, None]
            total += scores
        return total, tokens
