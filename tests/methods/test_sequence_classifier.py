"""Heads of transformers: what its own pipeline says of the same texts, in one or more windows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from dataworth.errors import ConfigError
from dataworth.methods.sequence_classifier import SequenceClassifier
from features.models import head_folder
from methods.fitting import fit, utility

pytest.importorskip("transformers")
TEXTS = ["the cat sat", "", "a", "漢字 unknown 😀", "waves and the wind " * 12, "the mat. " * 30]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    folder = tmp_path_factory.mktemp("heads")
    return {n: head_folder(folder / str(n), TEXTS, labels=n, seed=n) for n in (1, 2, 3)}


def pipeline(folder: Path, function: str) -> list[dict[str, float]]:
    from transformers import pipeline

    made = pipeline("text-classification", str(folder), device="cpu")
    found = made(TEXTS, top_k=None, function_to_apply=function, truncation=True)
    return [{one["label"]: one["score"] for one in row} for row in found]


def scored(step: SequenceClassifier, texts: list[str] = TEXTS) -> np.ndarray:
    step.check()
    return np.array(utility(fit(step, [], {}), texts))


def test_a_regression_is_the_pipelines(models: dict[int, Path]) -> None:
    step = SequenceClassifier(str(models[1]))
    (column,) = fit(step, [], {}).columns
    assert (column.name, column.unit) == ("utility:sequence_classifier:", "rating")
    expected = [row["LABEL_0"] for row in pipeline(models[1], "none")]
    np.testing.assert_allclose(scored(step), expected, rtol=1e-4, atol=1e-5)
    assert np.ptp(expected) > 0.1


def test_a_label_is_the_pipelines(models: dict[int, Path], tmp_path: Path) -> None:
    soft = [row["LABEL_2"] for row in pipeline(models[3], "softmax")]
    step = SequenceClassifier(str(models[3]), label="LABEL_2")
    assert step.unit == "probability"
    np.testing.assert_allclose(scored(step), soft, rtol=1e-4)
    two = [row["LABEL_1"] for row in pipeline(models[2], "softmax")]
    np.testing.assert_allclose(scored(SequenceClassifier(str(models[2]))), two, rtol=1e-4)
    several = tmp_path / "several"
    shutil.copytree(models[3], several)
    config = json.loads((several / "config.json").read_text())
    config["problem_type"] = "multi_label_classification"
    (several / "config.json").write_text(json.dumps(config))
    own = [row["LABEL_2"] for row in pipeline(models[3], "sigmoid")]
    step = SequenceClassifier(str(several), label="LABEL_2")
    np.testing.assert_allclose(scored(step), own, rtol=1e-4)


def test_windows_are_averaged(models: dict[int, Path]) -> None:
    """Of words that are a token each, so that windows are texts again."""
    folder = str(models[1])
    text = " ".join(["the", "cat", "sat", "and"] * 12)  # 48 tokens in windows of 22
    parts = [" ".join(text.split()[at : at + 22]) for at in (0, 22, 44)]
    alone = scored(SequenceClassifier(folder), parts)
    for windows, count in ((1, 1), (2, 2), (0, 3), (9, 3)):
        step = SequenceClassifier(folder, windows=windows)
        assert scored(step, [text])[0] == pytest.approx(alone[:count].mean(), rel=1e-4)
    shorter = scored(SequenceClassifier(folder, window=6), [text])[0]
    assert shorter == pytest.approx(scored(SequenceClassifier(folder), ["the cat sat and"])[0])


def test_the_batch_hardly_counts(models: dict[int, Path]) -> None:
    folder = str(models[1])
    small, large = (
        scored(SequenceClassifier(folder, batch_tokens=n, windows=0)) for n in (1, 10_000)
    )
    np.testing.assert_allclose(small, large, rtol=1e-4, atol=1e-5)


def test_models_and_labels_of_no_use(models: dict[int, Path], tmp_path: Path) -> None:
    from transformers import BertModel

    headless, pickled = tmp_path / "headless", tmp_path / "pickled"
    shutil.copytree(models[1], headless)
    shutil.copytree(models[1], pickled)
    BertModel.from_pretrained(models[1]).save_pretrained(headless)
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    for folder, label, said in (
        (str(tmp_path / "gone"), "", "is no folder of a model"),
        (str(headless), "", "the weights have no classifier"),
        (str(pickled), "", r"has no weights as \.safetensors"),
        (str(models[1]), "a", "has one logit, a rating"),
        (str(models[3]), "", "give label=, one of the model's labels: LABEL_0, LABEL_1"),
        (str(models[2]), "x", "give label=, one of the model's labels"),
    ):
        with pytest.raises(ConfigError, match=said) as raised:
            SequenceClassifier(folder, label=label).check()
        assert "\n" not in str(raised.value)
