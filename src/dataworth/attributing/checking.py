"""Check of a solver against the exact answer, on a tiny model of the same architecture.

The exact answer needs a curvature of all parameters by all parameters, so only a model of a few
thousand can be asked. It has the architecture of the model, is new, and is trained for a moment:
what is found is a property of architecture and solver, and a hint for the model itself.
"""

from __future__ import annotations

import logging

from dataworth.errors import ConfigError, DataworthError
from dataworth.features.gradients.language import Reader
from dataworth.features.gradients.preconditioners import Damping
from dataworth.features.gradients.probe import Fit, self_check
from dataworth.features.gradients.solving import Curvature, fit
from dataworth.results.attribution import Check

log = logging.getLogger("dataworth")


def agreement(reader: Reader, how: Curvature) -> Check:
    """Measure the agreement of a solver with the exact answer, or say `why` not. Takes seconds."""
    solver: str = how.solver
    damping = Damping(how.damping)
    try:
        _check(solver)
        log.info("check: %s against the exact answer on a tiny model", solver)
        fits: dict[str, Fit] = {solver: lambda engine, examples: fit(engine, examples, how)}
        checked = self_check(reader.model, fits, damping=damping, seed=how.seed)
    except DataworthError as error:
        return {"why": str(error)}
    (one,) = checked.found
    return {
        "correlation": round(one.pearson, 4),
        "ranks": round(one.spearman, 4),
        "spread": float(f"{one.spread:.4g}"),
        "architecture": checked.architecture,
        "parameters": checked.parameters,
        "examples": checked.examples,
        "queries": checked.queries,
    }


def _check(solver: str) -> None:
    """Raise ConfigError for a solver that has no other answer to compare with, or none at all."""
    if solver == "dense":
        raise ConfigError("dense is the exact answer itself")
    if solver in ("adam", "adam_cg"):
        raise ConfigError(
            f"{solver} cannot be checked: it is made of what the optimizer remembers of the "
            "model's own training, which a new model does not have"
        )
