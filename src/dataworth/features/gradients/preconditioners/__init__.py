"""Ways to weigh the directions of gradient space, behind one interface."""

from dataworth.features.gradients.preconditioners.base import Damping, Preconditioner
from dataworth.features.gradients.preconditioners.dual import Dual, dual
from dataworth.features.gradients.preconditioners.exact import Dense, dense
from dataworth.features.gradients.preconditioners.kronecker import Eigen, kronecker
from dataworth.features.gradients.preconditioners.products import Products
from dataworth.features.gradients.preconditioners.simple import (
    AdamDiagonal,
    AdamStep,
    Cosine,
    Diagonal,
    Gram,
    Identity,
    Moments,
    diagonal,
    gram,
)
from dataworth.features.gradients.preconditioners.solvers import (
    ConjugateGradients,
    NeumannSeries,
    scaling_of,
)

__all__ = [
    "AdamDiagonal",
    "AdamStep",
    "ConjugateGradients",
    "Cosine",
    "Damping",
    "Dense",
    "Diagonal",
    "Dual",
    "Eigen",
    "Gram",
    "Identity",
    "Moments",
    "NeumannSeries",
    "Preconditioner",
    "Products",
    "dense",
    "diagonal",
    "dual",
    "gram",
    "kronecker",
    "scaling_of",
]
