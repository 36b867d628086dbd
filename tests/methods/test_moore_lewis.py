"""Moore-Lewis with n-gram models and with causal models against the definition."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from dataworth.errors import ConfigError, DataworthError
from dataworth.methods.fitted import Fitted
from dataworth.methods.moore_lewis import MooreLewis
from dataworth.methods.moore_lewis_models import MooreLewisModels
from features.kneser_ney import Naive, sentences
from methods.fitting import docs, fit, utility
from methods.modelled import POOL, TARGET, model_folder, opened, texts, tokens, whole_loss

SOME = [*POOL[:6], "one\n\ntwo and three", "", "Unseen: 東京!"]
LONG = " ".join(texts("seas", 8))  # of several windows


def by_hand(some: list[str], order: int) -> list[float | None]:
    """With dictionaries: one vocabulary, and as many words of the pool as the target has."""
    inside = sentences(TARGET)
    counts = Counter(word for line in inside for word in line)
    known = {word for word, count in counts.items() if count >= 2} | {"<s>", "</s>"}
    few, words, size = [], 0, sum(len(line) - 2 for line in inside)
    for text in POOL:
        if words < size:
            few.append(text)
            words += sum(len(line) - 2 for line in sentences([text]))

    def masked(some: list[str]) -> list[list[str]]:
        return [[w if w in known else "<unk>" for w in line] for line in sentences(some)]

    models = [Naive(masked(some), order) for some in (few, TARGET)]
    for model in models:
        model.vocabulary = known - {"<s>"} | {"<unk>"}
    out: list[float | None] = []
    for text in some:
        outside, near = (model.log10([text], order) * math.log(10) for model in models)
        count = sum(len(line) - 1 for line in sentences([text]))
        out.append((near - outside) / count if count else None)
    return out


@pytest.mark.parametrize("order", [1, 3])
def test_the_difference_of_cross_entropies(order: int) -> None:
    fitted = fit(MooreLewis(order), POOL, {"sums": TARGET})
    assert utility(fitted, SOME) == pytest.approx(by_hand(SOME, order), abs=1e-4)
    like, unlike = (utility(fitted, texts(topic, 9, 5)) for topic in ("sums", "seas"))
    assert np.mean(like) > 0 > np.mean(unlike)  # type: ignore[arg-type]
    assert fitted.annotate(docs(SOME)).column("drop").to_pylist()[7] == "without a word"


def test_words_add_up_to_the_utility_and_batches_do_not_count(tmp_path: Path) -> None:
    step = MooreLewis(3)
    fitted = fit(step, POOL, {"a": TARGET, "b": texts("seas", 6, seed=1)})
    whole = fitted.annotate(docs(SOME))
    shares = fitted.explain(SOME[6], "utility:moore_lewis:a")
    assert sum(share for _, share in shares) == pytest.approx(whole.column(0)[6].as_py(), rel=1e-5)
    assert {word for word, _ in shares} == {"one", "two", "and", "three", "</s>"}
    alone = [fitted.annotate(docs([text])).column(1)[0].as_py() for text in SOME]
    assert alone == whole.column(1).to_pylist()
    fitted.save(tmp_path)
    assert Fitted.load(step, tmp_path).annotate(docs(SOME)).equals(whole)


def test_the_difference_under_two_causal_models() -> None:
    some = [*SOME, LONG]
    losses = []
    for seed in (0, 1):
        model, tokenizer = opened(seed)
        losses.append(np.array([whole_loss(model, tokenizer, text).item() for text in some]))
    counts = np.array([max(tokens(tokenizer, text), 1) for text in some])
    step = MooreLewisModels((model_folder(0), model_folder(1)))
    step.check()
    told = utility(fit(step, POOL, {}), some)
    assert told == pytest.approx(((losses[1] - losses[0]) / counts).tolist(), abs=1e-4)
    turned = utility(fit(MooreLewisModels(step.models[::-1]), POOL, {}), some)
    assert turned == pytest.approx([-one for one in told if one is not None], abs=1e-6)
    same = utility(fit(MooreLewisModels((model_folder(),) * 2), POOL, {}), some)
    assert same == [0.0] * len(some)


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    from features.models import causal_folder

    with pytest.raises(DataworthError, match="no document of the pool's sample has a word"):
        fit(MooreLewis(), [" "], {"sums": TARGET})
    with pytest.raises(DataworthError, match="the target 'sums' has no word"):
        fit(MooreLewis(), POOL, {"sums": [" "]})
    with pytest.raises(ConfigError, match="needs two models"):
        MooreLewisModels(("a",))
    other = str(causal_folder(tmp_path / "other", ["quite another text"], hidden=8))
    with pytest.raises(ConfigError, match="different tokenizers"):
        MooreLewisModels((model_folder(), other)).check()
