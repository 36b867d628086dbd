"""Preconditioners by name, fitted on the documents that a model was trained on or the like.

| name | |
|---|---|
| `identity` | plain inner products |
| `cosine` | inner products of gradients of length 1 |
| `diagonal` | diagonal Fisher information |
| `adam` | division by the root of Adam's second moment, which lies beside the model |
| `kfac`, `ekfac` | Kronecker factors; with corrected eigenvalues |
| `ekfac_cg` | conjugate gradients on the Gauss-Newton matrix, preconditioned by `ekfac` |
| `adam_cg` | the same, damped by what the training with Adam that made the model is like |
| `lissa` | a Neumann series on the Gauss-Newton matrix |
| `dense` | exact, for models of up to 8,192 parameters |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dataworth.corpus.documents import Documents
from dataworth.errors import ConfigError, DataworthError
from dataworth.features.gradients.batches import Examples
from dataworth.features.gradients.blocks import Blocks
from dataworth.features.gradients.engine import Gradients
from dataworth.features.gradients.language import Reader
from dataworth.features.gradients.preconditioners import (
    AdamDiagonal,
    ConjugateGradients,
    Cosine,
    Damping,
    Diagonal,
    Eigen,
    Identity,
    NeumannSeries,
    Preconditioner,
    Products,
    dense,
    diagonal,
    kronecker,
    scaling_of,
)
from dataworth.features.gradients.preconditioners.exact import LARGEST
from dataworth.features.gradients.preconditioners.kronecker import LONGEST, parts_of
from dataworth.features.gradients.preconditioners.solvers import SCALING
from dataworth.features.gradients.reading import Items
from dataworth.options.calls import Solver

SOLVERS: tuple[str, ...] = get_args(Solver)
TOLERANCE = 1e-2
"""Of the residual, where conjugate gradients stop before their last step."""

_LOGITS = 1 << 21  # numbers of a batch's logits in a product with the curvature
_LOGITS_GPU = 1 << 25

# Nothing is fitted for them.
_PLAIN: Mapping[str, Callable[[], Preconditioner]] = {"identity": Identity, "cosine": Cosine}
# Times that each solver takes the gradients of the sample before it is applied.
_PASSES = {"diagonal": 1, "kfac": 1, "ekfac": 2, "ekfac_cg": 2, "adam_cg": 1, "lissa": 1}
_TOGETHER = 32  # vectors in a product, unless it is said how many
_SERIES = 10  # steps of the series, each on a batch, for one of conjugate gradients


@dataclass(frozen=True)
class Curvature:
    """Options for fitting a preconditioner.

    `damping`: share of each block's mean eigenvalue that is added. `sample`: documents that it is
    fitted on. `steps`: of conjugate gradients, at most; a series takes ten times as many, each on
    a batch. `seed`: of the labels drawn. `factor_width`: of a layer's side whose factor is taken
    whole by kfac, ekfac, ekfac_cg and lissa; longer ones are cut into equal blocks.
    """

    solver: Solver = "ekfac"
    damping: float = 0.1
    sample: int = 256
    steps: int = 20
    seed: int = 0
    factor_width: int = LONGEST

    def __post_init__(self) -> None:
        if self.solver not in SOLVERS:
            raise ConfigError(f"solver must be one of {', '.join(SOLVERS)}, not {self.solver!r}")
        if self.damping < 0 or self.sample < 1 or self.steps < 1:
            raise ConfigError(
                "damping is 0 or more, sample and steps at least 1, not "
                f"{self.damping}, {self.sample}, {self.steps}"
            )
        if self.factor_width < 1:
            raise ConfigError(f"factor_width is 1 or more, not {self.factor_width}")

    @property
    def fitted(self) -> bool:
        """True if the preconditioner is fitted on documents."""
        return self.solver not in (*_PLAIN, "adam")

    @property
    def fits(self) -> int:
        """Times that the gradients of the sample are taken while it is fitted."""
        return _PASSES.get(self.solver, 0)

    def products(self, parameters: int, vectors: int = 1) -> int:
        """Count the products with the sample's curvature until so many vectors are solved for.

        `parameters`: that count; a dense curvature takes a product for each of them, once.
        """
        if self.solver == "dense":
            return parameters
        if self.solver in ("ekfac_cg", "adam_cg"):
            return self.steps * vectors
        # Its steps are of a batch each; one product tells what is left, some more find its scaling.
        return (self.steps + 1) * vectors + SCALING if self.solver == "lissa" else 0

    def passes(self, parameters: int, vectors: int = 1) -> int:
        """Count the passes over the sample's gradients, or as much other work; arguments as
        those of `products`.
        """
        # A product with the curvature costs about as much as four gradients, at most.
        return self.fits + 4 * self.products(parameters, vectors)

    def chosen(self, documents: Documents) -> Documents:
        """Return the first `sample` of documents in random order."""
        return documents.take(np.arange(min(self.sample, len(documents))))


def training_windows(items: Items, tokens: float) -> int:
    """Return the number of windows like these in so many tokens: an influence's N, at least 1."""
    mean = float(items.tokens.sum()) / max(len(items.items), 1)
    return max(1, round(tokens / max(mean, 1)))


def check_solver(reader: Reader, solver: str) -> None:
    """Raise ConfigError if the model cannot be had with the solver; before anything is fitted.

    `dense` has a largest number of parameters; `adam` and `adam_cg` need the optimizer's moments.
    """
    if solver == "dense" and reader.engine.size > LARGEST:
        raise ConfigError(
            f"solver dense: {reader.folder.name} has {reader.engine.size:,} parameters that count, "
            f"and a dense curvature takes at most {LARGEST:,}; name some modules (--layers, such "
            "as '*norm*'), or take ekfac or ekfac_cg"
        )
    if solver in ("adam", "adam_cg"):
        reader.moments()


def solve(reader: Reader, sample: Documents, how: Curvature, tokens: float = 0) -> Preconditioner:
    """Fit the preconditioner on the first documents of a random sample.

    `tokens`: that the model was trained on; 0: those of the sample. Raises DataworthError for a
    sample without a token, ConfigError for too many parameters (`dense`).
    """
    if how.solver in _PLAIN:
        return _PLAIN[how.solver]()
    if how.solver == "adam":
        return AdamDiagonal(reader.moments())
    items = reader.items(how.chosen(sample))
    if not items.items:
        raise DataworthError(
            "no document of the sample has a token to predict, so no curvature can be fitted"
        )
    count = training_windows(items, tokens) if tokens else len(items.items)
    if how.solver == "adam_cg":
        return _as_trained(reader, items, how, count)
    examples, products = reader.examples(items), bounded(reader, items)
    return fit(reader.engine, examples, how, count=count, products=products)


def fit(
    engine: Gradients,
    examples: Examples,
    how: Curvature,
    *,
    count: int | None = None,
    products: tuple[Examples, int] | None = None,
) -> Preconditioner:
    """Fit the preconditioner on examples, for solvers that need no more than these.

    `count`: of the training examples, where these are a sample. `products`: the examples in
    batches for products with the curvature, and vectors to take at a time; as they are, if None.
    ConfigError for a solver that needs the model's own training.
    """
    damping, solver = Damping(how.damping), how.solver
    small, together = products or (examples, _TOGETHER)
    if solver in _PLAIN:
        return _PLAIN[solver]()
    if solver == "diagonal":
        return diagonal(engine, examples, damping=damping, seed=how.seed, count=count)
    if solver == "dense":
        return dense(engine, small, damping=damping, count=count, together=together)
    if solver in ("adam", "adam_cg"):
        raise ConfigError(
            f"{solver} is made of what the optimizer remembers of the model's own training, which "
            "examples do not tell"
        )
    kind: Literal["kfac", "ekfac"] = "kfac" if solver in ("kfac", "lissa") else "ekfac"
    inner = kronecker(
        engine,
        examples,
        kind=kind,
        damping=damping,
        seed=how.seed,
        longest=how.factor_width,
        count=count,
    )
    if solver in ("kfac", "ekfac"):
        return inner
    curvature = Products(engine, small, together=together)
    if solver == "ekfac_cg":
        return _conjugate(curvature, damping, inner, how, count)
    scaling = scaling_of(curvature, inner.damping, seed=how.seed)
    steps, rule = _SERIES * how.steps, damping.describe()
    return NeumannSeries(curvature, inner.damping, scaling, steps, 1, how.seed, count, rule)


def residual_of(found: Preconditioner) -> float | None:
    """Return the largest residual that an iterative solver left of any vector so far, relative to
    the vector; None for other solvers, and before the first vector.
    """
    if isinstance(found, ConjugateGradients | NeumannSeries):
        return found.solved.residual
    return None


def _as_trained(reader: Reader, items: Items, how: Curvature, count: int) -> ConjugateGradients:
    """Fit a solver damped, by parameter, as by stopping the training where it stopped."""
    # The optimizer saw means over tokens, the curvature is of sums over windows.
    tokens = float(items.tokens.sum()) / len(items.items)
    stopped = reader.moments().stopped() * tokens
    engine, examples = reader.engine, reader.examples(items)
    plain = diagonal(engine, examples, damping=Damping(0.0), seed=how.seed)
    inner = Diagonal(plain.curvature + stopped, 1.0, plain.about)
    rule = "damped by what the training with Adam that made the model is like"
    small, together = bounded(reader, items)
    products = Products(engine, small, together=together)
    return _conjugate(products, stopped, inner, how, count, rule)


def bounded(reader: Reader, items: Items) -> tuple[Examples, int]:
    """Return windows in batches for curvature products, and how many vectors to take at a time."""
    positions, together = product_size(reader)
    return replace(reader.examples(items), tokens=positions), together


def _conjugate(
    products: Products,
    damping: Damping | Tensor,
    inner: Preconditioner,
    how: Curvature,
    count: int | None,
    rule: str = "",
) -> ConjugateGradients:
    return ConjugateGradients(
        products, damping, inner, tolerance=TOLERANCE, most=how.steps, count=count, rule=rule
    )


def product_size(reader: Reader) -> tuple[int, int]:
    """Return the (positions, vectors) that products with the curvature take at a time.

    Their logits are passed over many times: few enough to stay in the cache are twice as fast. A
    GPU has no such cache, and takes more at a time.
    """
    logits = _LOGITS if reader.engine.device.type == "cpu" else _LOGITS_GPU
    positions = max(1, min(reader.batch_tokens, logits // max(reader.vocabulary, 1)))
    return positions, max(1, logits // (positions * max(reader.vocabulary, 1)))


def pack(found: Preconditioner) -> tuple[dict[str, NDArray[Any]], str]:
    """Return (arrays, description) of a fitted preconditioner to save; `unpack` reads them.

    ConfigError for one that solves anew for each vector.
    """
    scale = np.asarray(found.scale, np.float64)
    if isinstance(found, Identity):
        return {"scale": scale}, found.describe()
    if isinstance(found, Diagonal):
        return {"scale": scale, "curvature": found.curvature.cpu().numpy()}, found.describe()
    if not isinstance(found, Eigen):
        raise ConfigError(f"{found.name} cannot be saved: use one of the other solvers")
    out: dict[str, Any] = {"scale": scale}
    for index, value in enumerate(found.values):
        out[f"values_{index}"] = value.cpu().numpy()
        for side, basis in (("rows", found.rows[index]), ("columns", found.columns[index])):
            if basis is not None:
                out[f"{side}_{index}"] = basis.cpu().numpy()
    return out, found.describe()


def _check_arrays(arrays: Mapping[str, NDArray[Any]], blocks: Blocks) -> None:
    wanted: dict[str, tuple[int, ...]] = {"scale": (), "curvature": (blocks.size,)}
    for index, block in enumerate(blocks):
        wanted[f"values_{index}"] = (block.rows, block.columns)
        wanted[f"rows_{index}"] = (block.rows, block.rows)
        wanted[f"columns_{index}"] = (block.columns, block.columns)
    wrong = [
        name
        for name, array in arrays.items()
        if array.shape != wanted.get(name) and not _in_parts(array.shape, wanted.get(name, ()))
    ]
    values = [name for name in arrays if name.startswith("values_")]
    if "scale" not in arrays or (values and len(values) != len(blocks)):
        wrong.append("curvature")
    if wrong:
        raise DataworthError(
            f"the saved curvature does not fit the model ({wrong[0]}): delete the step's folder in "
            "fitted/ and run the same command again"
        )


def _in_parts(shape: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    """Tell if these are bases of the parts of a side, [parts, width, width]."""
    return len(shape) == 3 and len(whole) == 2 and shape == parts_of(whole[0], shape[-1])


def unpack(
    arrays: Mapping[str, NDArray[Any]],
    blocks: Blocks,
    about: str,
    device: torch.device | None = None,
) -> Preconditioner:
    """Restore a preconditioner that `pack` saved, for gradients with these blocks on the device.

    DataworthError for arrays that do not fit the blocks.
    """
    _check_arrays(arrays, blocks)
    tensors = {
        name: torch.from_numpy(value).to(device or torch.device("cpu"))
        for name, value in arrays.items()
        if value.ndim
    }
    scale = float(arrays["scale"])
    if not tensors:
        return Identity(scale)
    if "curvature" in tensors:
        return Diagonal(tensors["curvature"], scale, about)
    count = range(len(blocks))
    return Eigen(
        "eigen",
        blocks,
        [tensors.get(f"rows_{index}") for index in count],
        [tensors.get(f"columns_{index}") for index in count],
        [tensors[f"values_{index}"] for index in count],
        torch.zeros(len(blocks)),  # in the values already
        scale,
        about,
    )
