"""Classifiers of lines by fastText: read from a file, trained on one thread, as a table of words.

Joulin et al. 2016, arXiv 1607.01759.
"""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.errors import ConfigError
from dataworth.features.ngrams.lines import LineTable

PREFIX, POSITIVE, NEGATIVE = "__label__", "__label__hq", "__label__cc"


def line_of(text: str) -> str:
    """Return a text as the rest of fastText's line: without line ends and labels."""
    words = text.replace("\n", " ").split(" ")
    return " ".join(word for word in words if PREFIX not in word)


def train(documents: Documents, positive: NDArray[np.bool_], seed: int, **options: Any) -> Any:
    """Return a model of two labels, trained on one thread: else no training is like another.

    Parameters
    ----------
    documents, positive
        Texts, and which of them have the positive label, [n].
    seed
        Of the training.
    options
        Of `fasttext.train_supervised`.
    """
    import fasttext

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lines.txt"
        with path.open("w", encoding="utf-8", newline="\n") as file:
            for row, label in enumerate(np.where(positive, POSITIVE, NEGATIVE)):
                file.write(f"{label} {line_of(documents.text(row))}\n")
        return fasttext.train_supervised(
            str(path), label=PREFIX, seed=seed % 2**31, thread=1, verbose=0, **options
        )


def load(step: str, path: str) -> Any:
    """Return a classifier from its file, for a step. Raises ConfigError if it is none."""
    if not Path(path).is_file():
        raise ConfigError(f"{step}: there is no file {path!r}; give a .bin or .ftz file")
    facts = Path(path).stat()
    return _read(step, path, facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=2)
def _read(step: str, path: str, size: int, changed: int) -> Any:
    import fasttext

    try:
        model = fasttext.load_model(path)
    except (ValueError, MemoryError) as error:
        raise ConfigError(
            f"{step}: {path} is no model of fastText ({str(error).splitlines()[0]}); give a .bin "
            "or .ftz file"
        ) from error
    if model.f.getArgs().model.name != "supervised":
        raise ConfigError(f"{step}: {path} holds word vectors; give a classifier")
    return model


def is_table(model: Any) -> bool:
    """Tell if a model's logits are means of its features': of whole words, not quantised."""
    options = model.f.getArgs()
    plain = options.loss.name == "softmax" and not options.maxn and not model.is_quantized()
    return plain and len(model.labels) <= options.dim


def tabulated(model: Any) -> dict[str, Any]:
    """Return what is learned of a model: its table of lines, and its labels."""
    options = model.f.getArgs()
    lines = LineTable.of(
        model.get_words(on_unicode_error="replace"),
        np.asarray(model.f.getInputMatrix()),
        np.asarray(model.f.getOutputMatrix()),
        ngrams=options.wordNgrams,
        prefix=options.label,
    )
    facts = {"ngrams": lines.ngrams, "buckets": lines.buckets, "prefix": lines.prefix}
    arrays = {"table": lines.table, "keys": lines.keys, "rows": lines.rows}
    return {**arrays, "facts": facts, "labels": list(model.labels)}
