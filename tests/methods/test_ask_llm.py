"""Ask-LLM against the probabilities of a model's own logits."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dataworth.errors import ConfigError
from dataworth.methods.ask_llm import PROMPT, AskLLM
from methods.fitting import docs, fit, utility
from methods.modelled import POOL, model_folder, opened

SHORT = "one {text} two?"


@pytest.fixture
def template(tmp_path: Path) -> str:
    path = tmp_path / "prompt.txt"
    path.write_text(SHORT)
    return str(path)


def by_hand(prompt: str, text: str, answer: str, context: int) -> float:
    """The product of the answer's tokens' probabilities, the document cut to the context."""
    model, tokenizer = opened()
    before, after = prompt.split("{text}")
    ids = [tokenizer.encode(part).ids for part in (before, text, after, answer)]
    room = context - 1 - len(ids[0]) - len(ids[2]) - len(ids[3])
    asked = [0, *ids[0], *ids[1][:room], *ids[2]]
    chance = 1.0
    for token in ids[3]:
        with torch.no_grad():
            chance *= float(model(torch.tensor([asked]))[0, -1].softmax(-1)[token])
        asked.append(token)
    return chance


@pytest.mark.parametrize("answer", [" three", " blue", " unseen"])
def test_the_probability_is_that_of_the_model(template: str, answer: str) -> None:
    step = AskLLM(model_folder(), template=template, answer=answer)
    some = [*POOL[:6], "東京!", " ".join(POOL)]
    expected = [by_hand(SHORT, text, answer, 32) for text in some]
    assert utility(fit(step, POOL, {}), some) == pytest.approx(expected, rel=1e-4)
    assert len(set(expected)) > 5


def test_the_published_form_of_the_question() -> None:
    step = AskLLM(model_folder(), context=400)
    assert step.answer == " yes"
    expected = [by_hand(PROMPT, text, " yes", 400) for text in POOL[:3]]
    assert utility(fit(step, POOL, {}), POOL[:3]) == pytest.approx(expected, rel=1e-4)


def test_low_is_the_negative_and_an_empty_text_has_none(template: str) -> None:
    high, low = (
        fit(AskLLM(model_folder(), template=template, prefer=prefer), POOL, {})
        for prefer in ("high", "low")
    )
    some = docs([POOL[0], ""])
    one, two = high.annotate(some).to_pydict(), low.annotate(some).to_pydict()
    assert one["utility:ask_llm:"][0] == -two["utility:ask_llm:"][0] > 0
    assert one["utility:ask_llm:"][1] is None and one["drop"][1] == "without a token to predict"


def test_what_cannot_be_asked_is_told(tmp_path: Path, template: str) -> None:
    with pytest.raises(ConfigError, match="has no room for a document beside the prompt"):
        utility(fit(AskLLM(model_folder()), POOL, {}), POOL[:1])
    path = tmp_path / "other.txt"
    for text, message in ((b"no place", "has no {text}"), (b"\xff{text}", "it is not UTF-8")):
        path.write_bytes(text)
        with pytest.raises(ConfigError, match=message):
            AskLLM(model_folder(), template=str(path)).check()
    with pytest.raises(ConfigError, match="No such file"):
        AskLLM(model_folder(), template=str(tmp_path / "none")).check()
    AskLLM(model_folder(), template=template).check()


def test_probabilities_lie_between_0_and_1(template: str) -> None:
    found = np.array(utility(fit(AskLLM(model_folder(), template=template), POOL, {}), POOL))
    assert ((found > 0) & (found < 1)).all()
