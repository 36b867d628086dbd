"""Estimators of scikit-learn over texts: their own numbers, and no file that runs code."""

from __future__ import annotations

import functools
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataworth.errors import ConfigError, RunError
from dataworth.methods.sklearn import Sklearn
from methods.fitting import fit, utility

pytest.importorskip("sklearn")
skops = pytest.importorskip("skops.io")

TEXTS = ["one two three", "two three four", "wave and wind", "the salt wind", "deep wave"]
LABELS = ["good", "good", "bad", "bad", "bad"]


@functools.cache
def estimators() -> dict[str, Any]:
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer
    from sklearn.svm import LinearSVC

    def fitted(model: Any, labels: Any = LABELS, *before: Any) -> Any:
        return make_pipeline(*before, CountVectorizer(), model).fit(TEXTS, labels)

    return {
        "two": fitted(LogisticRegression()),
        "three": fitted(LogisticRegression(), ["a", "b", "c", "c", "c"]),
        "margin": fitted(LinearSVC()),
        "number": fitted(Ridge(), [1.0, 2.0, 3.0, 4.0, 5.0]),
        "own": fitted(LogisticRegression(), LABELS, FunctionTransformer(np.char.lower)),
        "vectors": LogisticRegression().fit(np.eye(5), LABELS),
    }


def saved(folder: Path, name: str) -> str:
    path = folder / f"{name}.skops"
    skops.dump(estimators()[name], path)
    return str(path)


@pytest.mark.parametrize(
    ("name", "options", "method", "column"),
    [
        ("two", {}, "predict_proba", 1),
        ("two", {"label": "bad"}, "predict_proba", 0),
        ("two", {"output": "decision"}, "decision_function", None),
        ("three", {"label": "c"}, "predict_proba", 2),
        ("three", {"label": "a", "output": "decision"}, "decision_function", 0),
        ("margin", {"output": "decision"}, "decision_function", None),
        ("number", {"output": "prediction"}, "predict", None),
    ],
)
def test_a_file_and_an_object_give_the_estimators_own_numbers(
    tmp_path: Path, name: str, options: dict[str, Any], method: str, column: int | None
) -> None:
    expected = getattr(estimators()[name], method)(TEXTS)
    expected = expected if column is None else expected[:, column]
    for model in (estimators()[name], saved(tmp_path, name)):
        step = Sklearn(model=model, **options)
        step.check()
        fitted = fit(step, [], {})
        (only,) = fitted.columns
        assert (only.name, only.unit) == ("utility:sklearn:", options.get("output", "probability"))
        np.testing.assert_array_equal(utility(fitted, TEXTS), expected)
        assert utility(fitted, []) == []


def test_the_decision_of_the_first_class_is_that_of_the_second_turned() -> None:
    first, second = (
        utility(fit(Sklearn(estimators()["two"], label=label, output="decision"), [], {}), TEXTS)
        for label in ("bad", "good")
    )
    np.testing.assert_array_equal(first, -np.array(second))


def test_types_that_are_not_trusted_are_named(tmp_path: Path) -> None:
    path = saved(tmp_path, "own")
    with pytest.raises(ConfigError, match=r"not trusted: .*numpy.*lower.*trusted=\[") as raised:
        Sklearn(path).check()
    named = str(raised.value).rpartition("trusted=[")[2].rstrip("]").split(",")
    Sklearn(path, trusted=tuple(named)).check()


class Runs:
    def __reduce__(self) -> Any:
        return pytest.fail, ("a pickle was read",)


@pytest.mark.parametrize("name", ["model.pkl", "model.joblib"])
def test_a_pickle_is_never_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(pickle.dumps(Runs()))
    with pytest.raises(ConfigError, match=r"is a pickle, which runs code.*skops.io.dump"):
        Sklearn(str(path)).check()
    hidden = tmp_path / "model.skops"
    hidden.write_bytes(path.read_bytes())
    with pytest.raises(ConfigError, match=r"cannot be read as a \.skops file"):
        Sklearn(str(hidden)).check()


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("three", {}, "give label=, one of the estimator's classes: a, b, c"),
        ("two", {"label": "x"}, "classes: bad, good"),
        ("two", {"output": "prediction"}, "predicts classes"),
        ("margin", {}, "has no predict_proba; output=decision or prediction it has"),
        ("number", {}, "has no predict_proba; output=prediction it has"),
    ],
)
def test_what_an_estimator_does_not_have(name: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as raised:
        Sklearn(estimators()[name], **options).check()
    assert "\n" not in str(raised.value)


def test_other_models_of_no_use(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no file"):
        Sklearn(str(tmp_path / "gone.skops")).check()
    with pytest.raises(ConfigError, match="it is no fitted estimator"):
        Sklearn(object()).check()
    with pytest.raises(RunError, match="does not take a list of texts"):
        utility(fit(Sklearn(estimators()["vectors"]), [], {}), TEXTS)
