"""N-gram models against Kneser-Ney by its definition, with dictionaries, and against KenLM."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataworth.corpus.documents import Documents
from dataworth.errors import DataworthError
from dataworth.features.ngram_lm.fitting import fit_ngram_model
from dataworth.features.ngram_lm.model import NgramModel
from features.kneser_ney import Naive, sentences
from methods.modelled import texts
from testdata import read_rows

TEXTS = [
    *texts("sums", 30),
    "\n".join(texts("seas", 40)),
    "Two!\n\n three,\r\nÉtude 東京 x",
    "",
    "\n",
]
OTHERS = [
    *texts("seas", 5, seed=3),
    "Two ships\n \nof unknown words: 東京 étude",
    "",
    " ,\n",
    *TEXTS,
]


def docs(some: list[str]) -> Documents:
    return Documents.from_texts(some)


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_scores_are_kneser_ney_by_its_definition(order: int) -> None:
    model, naive = fit_ngram_model(docs(TEXTS), order), Naive(sentences(TEXTS), order)
    some = OTHERS[:8]
    found = model.score(docs(some))
    assert found.log10 == pytest.approx([naive.log10([text], order) for text in some], abs=1e-4)
    assert found.words.tolist() == [sum(len(s) - 1 for s in sentences([text])) for text in some]
    assert found.unknown[5] == 4 and np.isnan(found.nats[6])


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.text("abc \n", max_size=20), min_size=1, max_size=8).filter(
        lambda some: any(text.strip() for text in some)
    ),
    st.integers(1, 4),
)
def test_any_text_has_the_probability_of_the_definition(some: list[str], order: int) -> None:
    some = [" ".join(text) if "\n" not in text else text for text in some]
    found = fit_ngram_model(docs(some), order).score(docs(some)).log10
    naive = Naive(sentences(some), order)
    assert found == pytest.approx([naive.log10([text], order) for text in some], abs=1e-4)


def test_probabilities_of_all_words_add_up_to_one() -> None:
    model = fit_ngram_model(docs(TEXTS), 3)
    at_once = float(model.backoff[1] + model.log_prob[2])  # </s> right behind <s>, by backoff
    for history in ("", "and three ", "ships sail ", "unheard of "):
        logs = [model.explain(history + word)[-2][1] for word in [*model.words[3:], "unheard"]]
        logs.append(model.explain(history)[-1][1] if history else at_once)
        assert sum(10.0**log for log in logs) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("tokens", ["wordpunct", "mixed", "characters"])
def test_kenlm_agrees(tokens: str, tmp_path: Path, pool_files: list[Path]) -> None:
    kenlm = pytest.importorskip("kenlm")
    rows = itertools.chain(*(itertools.islice(read_rows(path), 40) for path in pool_files[:2]))
    real = [row["text"][:1500] for row in rows]
    model = fit_ngram_model(docs(real[::2] + TEXTS), 5, tokens)
    model.write_arpa(tmp_path / "model.arpa")
    reference = kenlm.Model(str(tmp_path / "model.arpa"))
    for text in [*real[1::8], *OTHERS]:
        lines = [line for line in _words(model, text) if line]
        wanted = [log for line in lines for log, _, _ in reference.full_scores(line)]
        assert [log for _, log in model.explain(text)] == pytest.approx(wanted, abs=1e-4)
        assert model.score(docs([text])).log10[0] == pytest.approx(sum(wanted), abs=1e-4)


def _words(model: NgramModel, text: str) -> list[str]:
    cut = [model.feature.words(docs([line])) for line in text.split("\n")]
    return [written.tobytes().decode().strip() for written, _ in cut]


def test_saved_arrays_make_the_model_again_and_batches_do_not_count() -> None:
    model = fit_ngram_model(docs(TEXTS), 4)
    saved = model.arrays()
    again = NgramModel.read(lambda name, kind, shape: saved[name], model.tokens)
    together = again.score(docs(OTHERS)).log10
    assert together.tolist() == [float(model.score(docs([one])).log10[0]) for one in OTHERS]
    assert len(again.score(docs([])).log10) == 0


def test_words_outside_the_vocabulary_are_one_word() -> None:
    """Fitted as if the text had <unk> in their place, which has a probability of its own."""
    some = ["a a b rare", "a b a", "b odd a"]
    model = fit_ngram_model(docs(some), 2, minimum=2)
    assert model.words == ["<unk>", "<s>", "</s>", "a", "b"]
    assert model.sizes[0] == 5
    lines = [[w if w in ("<s>", "</s>", "a", "b") else "<unk>" for w in s] for s in sentences(some)]
    naive = Naive(lines, 2)
    assert model.score(docs(["a b zzz"])).log10 == pytest.approx(naive.log10(["a b zzz"], 2))
    like = fit_ngram_model(docs(TEXTS), 2, like=model)
    assert like.words == model.words


def test_short_lines_have_no_long_ngrams(caplog: pytest.LogCaptureFixture) -> None:
    model = fit_ngram_model(docs(["a", "b"]), 5)
    assert model.order == 3 and "4 words" in caplog.text


def test_a_tokenizer_file_cuts_the_words(tmp_path: Path) -> None:
    from dataworth.lm.tokenizer import train_tokenizer

    path = tmp_path / "tokenizer.json"
    train_tokenizer(TEXTS, 300).save(str(path))
    model = fit_ngram_model(docs(TEXTS), 3, str(path))
    assert model.score(docs(OTHERS[:1])).nats[0] < math.log(300)


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataworthError, match="no document has a word"):
        fit_ngram_model(docs(["", " \n"]))
    model = fit_ngram_model(docs(["a b"]), 2)
    text = np.frombuffer(b"<s> b ", np.uint8)
    clash = replace(model, text=text)
    with pytest.raises(DataworthError, match="the word <s>, which has a meaning"):
        clash.write_arpa(tmp_path / "model.arpa")
    assert not (tmp_path / "model.arpa").exists()
