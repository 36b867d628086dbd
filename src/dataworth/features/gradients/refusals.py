"""What a solver asks of a model, checked before anything is measured or fitted."""

from __future__ import annotations

from dataworth.errors import ConfigError
from dataworth.features.gradients.language import Reader
from dataworth.features.gradients.preconditioners.exact import LARGEST


def check_solver(reader: Reader, solver: str) -> None:
    """Raise ConfigError if the model cannot be had with the solver.

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
