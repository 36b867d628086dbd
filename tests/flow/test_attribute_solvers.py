"""Solvers of `dataworth.attribute`: cosines by hand, the check on a tiny model, adapters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dataworth
from dataworth.attributing import checking
from dataworth.errors import ConfigError
from dataworth.features.gradients.language import Reader
from dataworth.features.gradients.solving import Curvature
from dataworth.results.doubts import attribution as doubts
from methods.modelled import POOL, TARGET, gradient, model_folder, opened, texts

LONG = " ".join(texts("seas", 8))  # of several windows
SOME = [*POOL[:8], LONG]

pytestmark = pytest.mark.usefixtures("swift")


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    path = tmp_path / "pool.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in SOME))
    return path


def test_cosines_are_those_of_gradients(pool: Path) -> None:
    model, tokenizer = opened()
    found = dataworth.attribute(model_folder(), pool, TARGET[:2], solver="cosine", engine=1)

    def unit(some: list[str]) -> np.ndarray:
        vector = gradient(model, tokenizer, some)
        return vector / np.linalg.norm(vector)

    truth = [[unit([text]) @ unit([query]) for query in TARGET[:2]] for text in SOME]
    assert found.scores == pytest.approx(np.array(truth), abs=1e-5)
    assert found.facts["solver"] == "cosine" and found.facts["unit"].startswith("cosine")
    for query in found.queries:
        for doc in query["helpful"]:
            parts = doc["start"] + sum(value for _, value in doc["pieces"])
            assert parts == pytest.approx(doc["score"], abs=2e-3)


def test_the_check_is_kept_and_shown(pool: Path, tmp_path: Path, monkeypatch: Any) -> None:
    given: dict[str, Any] = {"solver": "diagonal", "out": tmp_path / "out", "engine": 1}
    without = dataworth.attribute(model_folder(), pool, TARGET[:1], **given)
    assert "check" not in without.facts
    monkeypatch.setattr(checking, "self_check", small(checking.self_check))
    found = dataworth.attribute(model_folder(), pool, TARGET[:1], check=True, **given)
    check = found.facts["check"]
    assert 0 < check["correlation"] < 1 and check["parameters"] < 8192
    assert np.array_equal(found.scores, without.scores)

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(checking, "self_check", forbidden)
    again = dataworth.attribute(model_folder(), pool, TARGET[:1], check=True, **given)
    assert again.facts["check"] == check
    assert json.loads((tmp_path / "out" / "attribution.json").read_text())["check"] == check
    page = (tmp_path / "out" / "attribution.html").read_text()
    assert f"correlation {check['correlation']:.2f} with the exact answer" in page


def small(real: Any) -> Any:
    """The check with fewer examples, since a test has no time."""
    return lambda *args, **kwargs: real(*args, **kwargs, examples=8, queries=3, steps=8)


@pytest.mark.parametrize("solver", ["identity", "cosine", "kfac", "ekfac_cg", "lissa"])
def test_other_solvers_can_be_checked(solver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "self_check", small(checking.self_check))
    reader = Reader(model_folder())
    how = Curvature(solver, steps=2)  # type: ignore[arg-type]
    assert -1 <= checking.agreement(reader, how)["correlation"] <= 1


@pytest.mark.parametrize(("solver", "said"), [("adam_cg", "optimizer"), ("dense", "exact answer")])
def test_why_there_is_no_check(solver: str, said: str) -> None:
    found = checking.agreement(Reader(model_folder()), Curvature(solver))  # type: ignore[arg-type]
    assert "correlation" not in found and said in found["why"]


def test_what_is_left_unsolved_is_told(pool: Path) -> None:
    given: dict[str, Any] = {"solver": "ekfac_cg", "engine": 1, "damping": 1e-4}
    short = dataworth.attribute(model_folder(), pool, TARGET[:1], steps=1, **given)
    assert short.facts["residual"] > 0.1 and "residual" in short.facts["about"]
    assert any("residual" in doubt for doubt in doubts(short.facts))
    plain = dataworth.attribute(model_folder(), pool, TARGET[:1], solver="diagonal", engine=1)
    assert "residual" not in plain.facts
    assert not any("residual" in doubt for doubt in doubts(plain.facts))


def adapter(folder: Path, *, base: str | None = None) -> Path:
    """A LoRA adapter of one GPT-2 layer's attention, with its base model, trained not at all."""
    peft = pytest.importorskip("peft")
    transformers = pytest.importorskip("transformers")
    import torch

    tokenizer = opened()[1]
    torch.manual_seed(0)
    shape = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 32}
    config = transformers.GPT2Config(vocab_size=tokenizer.get_vocab_size(), **shape)
    transformers.GPT2LMHeadModel(config).save_pretrained(folder / "base")
    model = transformers.GPT2LMHeadModel.from_pretrained(folder / "base")
    lora = peft.LoraConfig(
        r=2, target_modules=["c_attn"], fan_in_fan_out=True, init_lora_weights=False
    )
    model = peft.get_peft_model(model, lora)
    model.save_pretrained(folder / "lora")
    (folder / "lora" / "tokenizer.json").write_text(tokenizer.to_str())
    if base is not None:
        path = folder / "lora" / "adapter_config.json"
        facts = json.loads(path.read_text()) | {"base_model_name_or_path": base}
        path.write_text(json.dumps(facts))
    return folder / "lora"


def test_an_adapter_is_attributed_by_its_own_parameters(pool: Path, tmp_path: Path) -> None:
    folder = adapter(tmp_path)
    found = dataworth.attribute(folder, pool, TARGET[:1], solver="identity", engine=1)
    assert found.facts["parameters"] == 2 * (16 + 48)  # r * (rows + columns)
    peft = pytest.importorskip("peft")
    transformers = pytest.importorskip("transformers")
    import torch

    base = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "base")
    model = peft.PeftModel.from_pretrained(base, folder, is_trainable=True).eval()
    tokenizer = opened()[1]

    def slope(text: str, reduction: str) -> np.ndarray:
        ids = torch.tensor([[0, *tokenizer.encode(text).ids, 0]])
        logits = model(input_ids=ids).logits
        loss = torch.nn.functional.cross_entropy(logits[0, :-1], ids[0, 1:], reduction=reduction)
        trained = [p for p in model.parameters() if p.requires_grad]
        grads = torch.autograd.grad(loss, trained)
        return torch.cat([g.flatten() for g in grads]).numpy()

    asked = slope(TARGET[0], "mean")
    short = [row for row, text in enumerate(SOME) if len(tokenizer.encode(text).ids) < 30]
    truth = np.array([slope(SOME[row], "sum") @ asked for row in short])
    assert len(short) > 5
    np.testing.assert_allclose(found.scores[short, 0], truth, atol=1e-4 * np.abs(truth).max())


def test_an_adapter_without_its_base_says_so(pool: Path, tmp_path: Path) -> None:
    folder = adapter(tmp_path, base="/nowhere/at-all")
    with pytest.raises(ConfigError, match="adapter for the model '/nowhere/at-all'"):
        dataworth.attribute(folder, pool, TARGET[:1], solver="identity")


def test_another_base_is_another_model(tmp_path: Path) -> None:
    folder = adapter(tmp_path)
    before = Reader(str(folder)).identity
    config = tmp_path / "base" / "config.json"
    config.write_text(config.read_text() + "\n")
    assert Reader(str(folder)).identity != before
