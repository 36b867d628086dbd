"""How near the chosen solver comes to the exact answer, on a tiny model of the same architecture.

The exact answer needs a curvature of all parameters by all parameters, so only a model of a few
thousand can be asked. It has the architecture of the model, is new, and is trained for a moment:
what is found is a property of architecture and solver, and a hint for the model itself.
"""

from __future__ import annotations

import logging
from functools import partial

from dataworth.errors import ConfigError, DataworthError
from dataworth.features.gradients.batches import Examples
from dataworth.features.gradients.cosine import Cosine
from dataworth.features.gradients.engine import Gradients
from dataworth.features.gradients.language import Reader
from dataworth.features.gradients.preconditioners import (
    ConjugateGradients,
    Damping,
    Identity,
    NeumannSeries,
    Preconditioner,
    Products,
    diagonal,
    kronecker,
    scaling_of,
)
from dataworth.features.gradients.probe import Fit, self_check
from dataworth.features.gradients.solving import TOLERANCE, Curvature
from dataworth.report.attribution_model import Check

log = logging.getLogger("dataworth")

_SERIES = 10  # steps of the series for one of conjugate gradients, as `solving` has it


def agreement(reader: Reader, solver: str, how: Curvature) -> Check:
    """The agreement of a solver with the exact answer, or `why` there is none. Some seconds."""
    try:
        fit = _fit_of(solver, how)
        log.info("check: %s against the exact answer on a tiny model", solver)
        found = self_check(reader.model, {solver: fit}, damping=Damping(how.damping), seed=how.seed)
    except DataworthError as error:
        return {"why": str(error)}
    (one,) = found.found
    return {
        "correlation": round(one.pearson, 4),
        "ranks": round(one.spearman, 4),
        "spread": float(f"{one.spread:.4g}"),
        "architecture": found.architecture,
        "parameters": found.parameters,
        "examples": found.examples,
        "queries": found.queries,
    }


def _fit_of(solver: str, how: Curvature) -> Fit:
    """The solver for other examples. ConfigError for one that needs what they cannot have."""
    damping = Damping(how.damping)
    simple: dict[str, Fit] = {
        "identity": lambda engine, examples: Identity(),
        "cosine": lambda engine, examples: Cosine(),
        "diagonal": partial(diagonal, damping=damping, seed=how.seed),
        "kfac": partial(kronecker, kind="kfac", damping=damping, seed=how.seed),
        "ekfac": partial(kronecker, kind="ekfac", damping=damping, seed=how.seed),
        "ekfac_cg": partial(_conjugate, how=how),
        "lissa": partial(_series, how=how),
    }
    if solver == "dense":
        raise ConfigError("dense is the exact answer itself")
    if solver not in simple:
        raise ConfigError(
            f"{solver} cannot be checked: it is made of what the optimizer remembers of the "
            "model's own training, which a new model does not have"
        )
    return simple[solver]


def _conjugate(engine: Gradients, examples: Examples, how: Curvature) -> Preconditioner:
    damping = Damping(how.damping)
    inner = kronecker(engine, examples, kind="ekfac", damping=damping, seed=how.seed)
    products = Products(engine, examples)
    return ConjugateGradients(products, inner.damping, inner, TOLERANCE, how.steps)


def _series(engine: Gradients, examples: Examples, how: Curvature) -> Preconditioner:
    damping = Damping(how.damping)
    inner = kronecker(engine, examples, kind="kfac", damping=damping, seed=how.seed)
    products = Products(engine, examples)
    scaling = scaling_of(products, inner.damping, seed=how.seed)
    return NeumannSeries(products, inner.damping, scaling, _SERIES * how.steps, seed=how.seed)
