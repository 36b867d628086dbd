"""A fitted estimator of scikit-learn over texts, from a `.skops` file or as an object of Python.

For classifiers that exist already: a pipeline whose first part takes strings, such as a vectorizer
with a logistic regression. A `.skops` file is read without running what it names: types that are
not scikit-learn's own have to be listed (`trusted`). Pickles run code and are never read.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dataworth.errors import ConfigError, RunError, check_extra
from dataworth.methods.base import Batch, Score, State
from dataworth.methods.linear import mechanism_option
from dataworth.options import option
from dataworth.registry import register

_METHODS = {
    "probability": "predict_proba",
    "decision": "decision_function",
    "prediction": "predict",
}
_PICKLES = (".pkl", ".pickle", ".joblib", ".pk", ".sav")


@register
@dataclass(frozen=True)
class Sklearn(Score):
    """The output of a fitted estimator for a text: a probability, a decision or a number."""

    name: ClassVar[str] = "sklearn"
    needs_target: ClassVar[bool] = False
    reads_pool: ClassVar[bool] = False
    version: ClassVar[int] = 1
    model: Any = option(
        help="A .skops file, or from Python a fitted estimator itself.", content=True
    )
    trusted: tuple[str, ...] = option(
        (), help="Types in the file, beside scikit-learn's own, that may be loaded."
    )
    output: Literal["probability", "decision", "prediction"] = option(
        "probability",
        help='The utility: "probability" of a class, the "decision" function (of linear models the '
        'log odds or the margin), or the "prediction" of a regressor.',
    )
    label: str = option("", help="The class that is wanted; the second of two unless given.")
    mechanism: str = mechanism_option("top_k")

    @property
    def unit(self) -> str:
        """The unit of the utilities."""
        return self.output

    def check(self) -> None:
        """Raise MissingExtra without the extra classify, ConfigError for a model of no use."""
        self._column(self._estimator())

    def _estimator(self) -> Any:
        """Return the estimator."""
        check_extra(self.name, "classify")
        if not isinstance(self.model, str | Path):
            return self.model
        path = Path(self.model)
        if path.suffix.lower() in _PICKLES:
            raise ConfigError(
                f"{self.name}: {path} is a pickle, which runs code when it is read; save the "
                "estimator anew with skops.io.dump(estimator, 'model.skops')"
            )
        if not path.is_file():
            raise ConfigError(f"{self.name}: there is no file '{path}'; give a .skops file")
        facts = path.stat()
        return _load(str(path), self.trusted, facts.st_size, facts.st_mtime_ns)

    def _column(self, estimator: Any) -> int | None:
        """Return which column of the estimator's answer is wanted, None for its only one."""
        method = _METHODS[self.output]
        if not hasattr(estimator, method):
            there = [name for name, asked in _METHODS.items() if hasattr(estimator, asked)]
            raise ConfigError(
                f"{self.name}: {type(estimator).__name__} has no {method}; "
                + (f"output={' or '.join(there)} it has" if there else "it is no fitted estimator")
            )
        classes = [str(one) for one in getattr(estimator, "classes_", ())]
        if self.output == "prediction":
            if classes:
                raise ConfigError(
                    f"{self.name}: {type(estimator).__name__} predicts classes; take "
                    "output=probability or decision, with label="
                )
            return None
        if len(classes) < 2:
            raise ConfigError(f"{self.name}: the estimator has one class only, or is not fitted")
        if (self.label and self.label not in classes) or (not self.label and len(classes) > 2):
            raise ConfigError(
                f"{self.name}: give label=, one of the estimator's classes: "
                + ", ".join(classes[:8])
                + (" …" if len(classes) > 8 else "")
            )
        return classes.index(self.label) if self.label else 1

    def utilities(self, batch: Batch, state: State) -> NDArray[np.float64]:
        """Return what the estimator says, [n, 1]. RunError where it does not take texts."""
        estimator = state.once("estimator", self._estimator)
        column = self._column(estimator)
        if not len(batch):
            return np.empty((0, 1))
        try:
            values = getattr(estimator, _METHODS[self.output])(batch.documents.texts())
        except (ValueError, TypeError, AttributeError) as error:
            raise RunError(
                f"{self.name}: the estimator does not take a list of texts "
                f"({(str(error).splitlines() or [''])[0]}); put a vectorizer before it"
            ) from error
        numbers = np.asarray(values, np.float64)
        if numbers.ndim == 1:  # of two classes the decision is the second's
            numbers = numbers[:, None] * (-1 if column == 0 else 1)
            return numbers
        return np.ascontiguousarray(numbers[:, [column or 0]])


@lru_cache(maxsize=4)
def _load(path: str, trusted: tuple[str, ...], size: int, changed: int) -> Any:
    """Return the estimator of a file. Raises ConfigError for types that are not trusted."""
    from skops.io import get_untrusted_types, load

    try:
        unknown = sorted(set(get_untrusted_types(file=path)) - set(trusted))
        if unknown:
            named = ",".join(unknown)
            raise ConfigError(
                f"sklearn: {path} holds types that are not trusted: {', '.join(unknown)}; if you "
                f"know them, give trusted=[{named}]"
            )
        return load(path, trusted=list(trusted))
    except ConfigError:
        raise
    except Exception as error:  # of zip, JSON, imports: the file may be anything
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"sklearn: {path} cannot be read as a .skops file ({said})") from error
