"""Perplexity under n-gram models of the target, a text and a file of KenLM, and CCNet buckets."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataworth.errors import ConfigError, DataworthError, InputError, MissingExtra
from dataworth.features.ngram_lm.fitting import fit_ngram_model
from dataworth.methods.fitted import Fitted
from dataworth.methods.ngram_perplexity import NgramPerplexity
from features.kneser_ney import Naive, sentences
from methods.fitting import docs, fit, utility
from methods.modelled import POOL, TARGET, texts

SOME = [*POOL[:6], "one\n\ntwo and three", "", " \n", "Unseen: 東京!"]


def by_hand(some: list[str], model: list[str], order: int) -> list[float | None]:
    naive = Naive(sentences(model), order)
    words = [sum(len(line) - 1 for line in sentences([text])) for text in some]
    logs = [naive.log10([text], order) * math.log(10) for text in some]
    return [-log / n if n else None for log, n in zip(logs, words, strict=True)]


def arpa(folder: Path, some: list[str] = TARGET) -> str:
    fit_ngram_model(docs(some), 3).write_arpa(folder / "model.arpa")
    return str(folder / "model.arpa")


def test_nats_per_word_under_the_target_a_text_and_kenlm(tmp_path: Path) -> None:
    pytest.importorskip("kenlm")
    (tmp_path / "model.txt").write_text("\n".join(TARGET))
    truth = by_hand(SOME, TARGET, 3)
    steps = [
        NgramPerplexity(3, keep="high"),
        NgramPerplexity(3, keep="high", text=str(tmp_path / "model.txt")),
        NgramPerplexity(keep="high", arpa=arpa(tmp_path)),
    ]
    assert [step.needs_target for step in steps] == [True, False, False]
    for step in steps:
        step.check()
        fitted = fit(step, POOL, {"sums": TARGET})
        assert fitted.columns[0].name.endswith("sums" if step.needs_target else ":")
        assert utility(fitted, SOME) == pytest.approx(truth, abs=1e-4)
    low = utility(fit(NgramPerplexity(3), POOL, {"sums": TARGET}), SOME)
    assert low == pytest.approx([None if one is None else -one for one in truth], abs=1e-4)


def test_head_middle_and_tail_are_percentiles_of_the_pool() -> None:
    fitted = fit(NgramPerplexity(3), POOL, {"sums": TARGET})
    losses = np.array(by_hand(POOL, TARGET, 3), np.float64)
    cuts = np.percentile(losses, (30, 60))
    assert fitted.cuts[0] == pytest.approx(cuts, rel=1e-4)
    batch = fitted.annotate(docs([*POOL, ""]))
    names = np.array(["head", "middle", "tail"])[np.searchsorted(cuts, losses, "right")]
    assert batch.column("bucket:ngram_perplexity:sums").to_pylist() == [*names, None]
    counts = [int((names == one).sum()) for one in ("head", "middle", "tail")]
    assert counts == [12, 12, 16] and sum(counts) == len(POOL)
    assert batch.column("drop").to_pylist() == [None] * len(POOL) + ["without a word"]


def test_buckets_that_do_not_stay_are_dropped_for_their_name() -> None:
    step = NgramPerplexity(3, buckets=("head",), percentiles=(50, 75))
    fitted = fit(step, POOL, {"sums": TARGET})
    drop = fitted.annotate(docs(POOL)).column("drop").to_pylist()
    assert [drop.count(one) for one in (None, "in the middle", "in the tail")] == [20, 10, 10]
    # With two targets a document stays that is in the head of one of them.
    both = fit(step, POOL, {"sums": TARGET, "seas": texts("seas", 6, seed=1)})
    assert both.annotate(docs(POOL)).column("drop").null_count > 20


def test_the_middle_and_what_is_saved(tmp_path: Path) -> None:
    step = NgramPerplexity(2, keep="middle")
    fitted = fit(step, POOL, {"a": TARGET, "b": texts("seas", 6, seed=1)})
    fitted.save(tmp_path)
    whole = fitted.annotate(docs(SOME))
    assert Fitted.load(step, tmp_path).annotate(docs(SOME)).equals(whole)
    assert fitted.annotate(docs([])).num_rows == 0
    ranks = np.argsort(np.argsort(np.array(by_hand(POOL, TARGET, 2), np.float64)))
    wanted = -np.abs((ranks + 0.5) / len(POOL) - 0.5)
    assert utility(fitted, POOL) == pytest.approx(wanted.tolist(), abs=0.013)


def test_files_that_are_no_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("kenlm")
    path = Path(arpa(tmp_path))
    whole = path.read_text()
    path.write_text(whole[: len(whole) // 2])
    (tmp_path / "bytes.txt").write_bytes(b"ab\xff")
    bad: list[tuple[dict[str, Any], str]] = [
        ({"arpa": str(path)}, "model.arpa: KenLM cannot read it"),
        ({"arpa": str(tmp_path / "none.arpa")}, "none.arpa: there is no such model file"),
        ({"text": str(tmp_path / "bytes.txt")}, r"bytes.txt: is no text in UTF-8 \(byte 2\)"),
        ({"text": str(tmp_path / "none.txt")}, "none.txt: cannot be read as text"),
    ]
    for options, message in bad:
        with pytest.raises(InputError, match=message) as caught:
            NgramPerplexity(**options).check()
        assert "\n" not in str(caught.value)
    monkeypatch.setattr("dataworth.errors.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="kenlm"):
        NgramPerplexity(arpa=str(path)).check()


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"buckets are some of head, middle, tail"):
        NgramPerplexity(buckets=("best",))
    with pytest.raises(ConfigError, match="percentiles rise"):
        NgramPerplexity(percentiles=(60, 30))
    with pytest.raises(ConfigError, match="give one of them"):
        NgramPerplexity(text="a", arpa="b")
    with pytest.raises(ConfigError, match="needs a target"):
        fit(NgramPerplexity(), POOL, {})
    with pytest.raises(DataworthError, match="sums: an n-gram model needs text"):
        fit(NgramPerplexity(), POOL, {"sums": [" "]})
    with pytest.raises(DataworthError, match="no document of the pool's sample has a loss"):
        fit(NgramPerplexity(), ["", " "], {"sums": TARGET})
