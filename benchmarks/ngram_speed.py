"""Scoring text under one n-gram model by our kernels and by KenLM, side by side, on one core.

    python benchmarks/ngram_speed.py
    python benchmarks/ngram_speed.py --files wikipedia news --orders 3 5

Half of the documents of some files fit the model, which is written as ARPA for KenLM; the other
half is scored. KenLM gets the words of each line, cut and joined beforehand; ours cuts them itself.
Seconds are the process's own, so that other work on the machine counts little; the least of the
repeats is shown. `KenlmModel` is how the steps use KenLM, with the cutting. Needs the extra kenlm.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import kenlm
import numpy as np

from common import MB, data_folder, scratch, table, write_results
from dataworth.corpus.corpus import Corpus
from dataworth.features.ngram_lm.fitting import fit_ngram_model
from dataworth.features.ngram_lm.kenlm import KenlmModel
from dataworth.features.ngram_lm.model import lines_of


def seconds(work: Callable[[], object], repeats: int = 1) -> float:
    """The least of the process's seconds over repeats."""
    found = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def main() -> None:
    """Measure and write benchmarks/results/ngram_speed.md."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", nargs="+", default=["wikipedia", "news"])
    parser.add_argument("--orders", nargs="+", type=int, default=[3, 5])
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    paths = [next((data_folder() / "pool").glob(f"{name}.*")) for name in options.files]
    documents, _ = Corpus.open([str(path) for path in paths]).read_all()
    train, test = (documents.take(np.arange(half, len(documents), 2)) for half in (0, 1))
    size = int(test.text_bytes.sum()) / MB
    rows = []
    for order in options.orders:
        start = time.process_time()
        model = fit_ngram_model(train, order)
        fitted = time.process_time() - start
        path = scratch("ngram_speed") / f"{order}.arpa"
        model.write_arpa(path)
        model.score(test.take(np.arange(1)))  # the tables are made at the first call
        reference, step = kenlm.Model(str(path)), KenlmModel(str(path))
        step.score(test.take(np.arange(1)))
        _, lines = lines_of(test)
        feature = model.feature
        written = [feature.words(lines.take(np.array([n])))[0] for n in range(len(lines))]
        sentences = [line.tobytes() for line in written if len(line)]
        ours = seconds(lambda model=model: model.score(test), options.repeats)  # type: ignore[misc]
        theirs = seconds(
            lambda reference=reference, sentences=sentences: [  # type: ignore[misc]
                reference.score(one) for one in sentences
            ],
            options.repeats,
        )
        through = seconds(lambda step=step: step.score(test), options.repeats)  # type: ignore[misc]
        total = model.score(test)
        apart = abs(total.log10.sum() - sum(map(reference.score, sentences))) / total.words.sum()
        million = float(total.words.sum()) / 1e6
        rows.append(
            [
                *(order, int(model.sizes.sum()), fitted, size / ours, million / ours),
                *(million / theirs, million / through, theirs / ours, f"{apart:.0e}"),
            ]
        )
        path.unlink()
    header = ["order", "n-grams", "fit, s", "ours, MB/s", "ours, M words/s", "KenLM, M words/s"]
    header += ["KenlmModel, M words/s", "ours / KenLM", "log10 apart per word"]
    words = f"{int(train.text_bytes.sum()) / MB:.1f} MB to fit, {size:.1f} MB to score"
    settings = {"command": " ".join(["python", *sys.argv]), "text": words}
    title = "N-gram models: speed beside KenLM"
    print(write_results("ngram_speed", title, settings=settings, body=table(header, rows)))


if __name__ == "__main__":
    main()
