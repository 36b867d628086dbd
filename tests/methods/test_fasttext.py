"""The fastText classifier: the package's own probabilities, trained here or read from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataworth.errors import ConfigError, DataworthError
from dataworth.features.line_classifier import line_of
from dataworth.methods.base import Targets
from dataworth.methods.classes import two_classes
from dataworth.methods.fasttext import FastText
from dataworth.methods.fitted import Fitted
from methods.fitting import docs, fit, pool_of, utility

fasttext = pytest.importorskip("fasttext")
SMALL: dict[str, Any] = {"buckets": 200, "dimension": 8, "epochs": 20, "learning_rate": 0.5}


def speak(words: str, n: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(words.split(), rng.integers(3, 12))) for _ in range(n)]


SUMS, SEAS = "one two three plus minus is the of", "wave ship salt wind deep is the of"
TARGET, POOL = speak(SUMS, 60, 0), speak(SUMS, 20, 1) + speak(SEAS, 80, 2)
ODD = ["", "Three\nplus three", "né 東京 of __label__hq the", "a\tb </s> one two", "zzz zzz"]


def theirs(model: Any, texts: list[str], label: str) -> list[float]:
    """The package's probabilities, without the 1e-5 that it adds."""
    found = model.predict([text.replace("\n", " ") for text in texts], k=-1)
    return [dict(zip(names, p, strict=True))[label] - 1e-5 for names, p in zip(*found, strict=True)]


def test_trained_here_it_is_the_package_on_the_same_texts(tmp_path: Path) -> None:
    step = FastText(**SMALL)
    fitted = fit(step, POOL, {"t": TARGET})
    documents, positive = two_classes("f", pool_of(POOL), Targets({"t": docs(TARGET)}), "t", 60)
    assert positive.sum() == (~positive).sum()  # DCLM's balance
    lines = tmp_path / "lines.txt"
    lines.write_text(
        "".join(
            f"__label__{'hq' if one else 'cc'} {text}\n"
            for one, text in zip(positive, documents.texts(), strict=True)
        )
    )
    model = fasttext.train_supervised(
        str(lines), wordNgrams=2, bucket=200, dim=8, epoch=20, lr=0.5, thread=1, verbose=0
    )
    texts = [*POOL, *ODD]
    values = utility(fitted, texts)
    np.testing.assert_allclose(values, theirs(model, texts, "__label__hq"), atol=1e-5)
    assert np.mean(values[:20]) > np.mean(values[20:100]) + 0.3
    fitted.save(tmp_path / "step")
    assert Fitted.load(step, tmp_path / "step").annotate(docs(texts)) == fitted.annotate(
        docs(texts)
    )
    odds = utility(fit(FastText(**SMALL, output="logit"), POOL, {"t": TARGET}), texts)
    np.testing.assert_allclose(1 / (1 + np.exp(-np.array(odds))), values)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fasttext")
    labelled = [("a", SUMS, 0), ("b", SEAS, 1), ("c", SUMS + " " + SEAS, 2)]
    lines = [f"__label__{k} {t}\n" for k, words, seed in labelled for t in speak(words, 60, seed)]
    (folder / "lines.txt").write_text("".join(lines))
    options = {"bucket": 300, "dim": 8, "epoch": 10, "wordNgrams": 2, "thread": 1, "verbose": 0}
    for loss, name in (("softmax", "plain"), ("hs", "hs"), ("ova", "ova")):
        model = fasttext.train_supervised(str(folder / "lines.txt"), loss=loss, **options)
        model.save_model(str(folder / f"{name}.bin"))
    fasttext.train_supervised(str(folder / "lines.txt"), minn=2, maxn=3, **options).save_model(
        str(folder / "subwords.bin")
    )
    model = fasttext.load_model(str(folder / "plain.bin"))
    model.quantize(input=str(folder / "lines.txt"), dsub=2)
    model.save_model(str(folder / "small.ftz"))
    one = folder / "one.txt"
    one.write_text("__label__a b c\n" * 3)
    fasttext.train_supervised(str(one), **options).save_model(str(folder / "one.bin"))
    fasttext.train_unsupervised(
        str(folder / "lines.txt"), dim=4, bucket=10, thread=1, verbose=0
    ).save_model(str(folder / "vectors.bin"))
    return folder


@pytest.mark.parametrize("name", ["plain.bin", "hs.bin", "ova.bin", "subwords.bin", "small.ftz"])
def test_a_file_gives_what_the_package_gives(file: Path, name: str) -> None:
    step = FastText(model=str(file / name), label="b")
    step.check()
    assert not step.needs_target
    texts = [*POOL[:30], *ODD]
    fitted = fit(step, [], {})
    assert ("table_0" in fitted.state) == (name == "plain.bin")
    (column,) = (c for c in fitted.columns if c.name != "drop")
    assert (column.name, column.unit, column.even) == ("utility:fasttext:", "probability", 0.5)
    model = fasttext.load_model(str(file / name))
    np.testing.assert_allclose(
        utility(fitted, texts), theirs(model, texts, "__label__b"), atol=1e-5
    )


@pytest.mark.parametrize(
    ("name", "label", "said"),
    [
        ("plain.bin", "", "wants label=LABEL; its labels: __label__"),
        ("plain.bin", "x", "has no label '__label__x'; its labels: __label__"),
        ("one.bin", "a", "has one class only"),
        ("lines.txt", "a", "is no model of fastText"),
        ("vectors.bin", "a", "holds word vectors"),
        ("nowhere.bin", "a", "there is no file"),
    ],
)
def test_files_of_no_use(file: Path, name: str, label: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as raised:
        FastText(model=str(file / name), label=label).check()
    assert "\n" not in str(raised.value)


def test_one_class_alone_is_refused() -> None:
    with pytest.raises(DataworthError, match="one class only"):
        fit(FastText(**SMALL), [], {"t": TARGET})


def test_a_document_cannot_write_its_own_label() -> None:
    assert line_of("a\n__label__hq b  c") == "a b  c"
    texts = [f"{text} __label__cc" for text in TARGET]
    fitted = fit(FastText(**SMALL), POOL, {"t": texts})
    assert np.mean(utility(fitted, TARGET)) > 0.8
