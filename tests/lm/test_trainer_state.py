"""The moments of a checkpoint by transformers' Trainer are those of the optimizer that stepped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import dataworth
from dataworth.errors import ConfigError
from dataworth.features.gradients.language import Reader
from dataworth.lm.tokenizer import save_tokenizer, train_tokenizer
from methods.modelled import POOL, TARGET

SIZE = {"vocab_size": 300, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}


def checkpoint(folder: Path, groups: str = "two", **more: Any) -> tuple[Any, Any]:
    """A model with biases that stepped three times, saved as Trainer saves it; its optimizer."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    model = LlamaForCausalLM(LlamaConfig(**SIZE, **heads, attention_bias=True))
    named = list(model.named_parameters())
    plain = [value for name, value in named if "norm" in name or "bias" in name]
    rest = [value for name, value in named if "norm" not in name and "bias" not in name]
    optimizer: Any = {
        "two": lambda: torch.optim.AdamW(
            [{"params": rest, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}], lr=0.01
        ),
        "one": lambda: torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1),
        "sgd": lambda: torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9),
    }[groups]()
    lines = []
    for step in range(3):
        optimizer.param_groups[0]["lr"] = 0.03 - 0.01 * step
        ids = torch.randint(0, 300, (2, 8), generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        lines.append({"step": step + 1, "learning_rate": 0.03 - 0.01 * step})
    model.save_pretrained(folder)
    save_tokenizer(train_tokenizer(POOL, 300), folder)
    torch.save(optimizer.state_dict(), folder / "optimizer.pt")
    (folder / "trainer_state.json").write_text(json.dumps({"log_history": lines}))
    return model, optimizer


@pytest.mark.parametrize("groups", ["one", "two"])
@pytest.mark.parametrize("file", ["optimizer.pt", "optimizer.bin"])
def test_moments_are_those_of_the_optimizer(tmp_path: Path, groups: str, file: str) -> None:
    model, optimizer = checkpoint(tmp_path, groups)
    (tmp_path / "optimizer.pt").rename(tmp_path / file)
    reader = Reader(str(tmp_path))
    found = reader.moments()
    states = {name: optimizer.state[value] for name, value in model.named_parameters()}
    first = {name: state["exp_avg"] for name, state in states.items()}
    torch.testing.assert_close(found.first, reader.engine.blocks.flatten(first))
    assert found.step == 3
    assert float(found.rates.max()) == pytest.approx(0.06)
    decayed = {
        name: torch.full_like(value, 0.1 if groups == "one" or value.dim() > 1 else 0.0)
        for name, value in model.named_parameters()
    }
    torch.testing.assert_close(found.decay, reader.engine.blocks.flatten(decayed))
    made = dataworth.attribute(tmp_path, POOL, TARGET[:1], solver="adam")
    assert np.isfinite(made.scores).all()


def test_learning_rates_that_nobody_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint(tmp_path)
    (tmp_path / "trainer_state.json").unlink()
    assert float(Reader(str(tmp_path)).moments().rates.max()) == pytest.approx(0.03)
    assert "no learning rates were logged" in caplog.text


def changed(path: Path, change: Any) -> None:
    found = torch.load(path, weights_only=True)
    change(found)
    torch.save(found, path)


def shorter(found: Any) -> None:
    found["state"][0]["exp_avg"] = found["state"][0]["exp_avg"][:-1]


def fewer(found: Any) -> None:
    found["param_groups"][0]["params"].pop()


class Code:
    """Runs what it should not."""

    def __reduce__(self) -> Any:
        return print, ("run",)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (shorter, "of another model.* by their shapes"),
        (fewer, "of another model.* by their shapes"),
        (lambda found: found.clear(), "holds no state"),
        (lambda found: found["state"][0].pop("exp_avg_sq"), "not of Adam.*adamw_torch"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, change: Any, said: str) -> None:
    checkpoint(tmp_path)
    changed(tmp_path / "optimizer.pt", change)
    with pytest.raises(ConfigError, match=said) as caught:
        dataworth.attribute(tmp_path, POOL, TARGET[:1], solver="adam")
    assert "\n" not in str(caught.value) and "optimizer.pt" in str(caught.value)


def test_other_optimizers_and_files_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint(tmp_path, "sgd")
    with pytest.raises(ConfigError, match="not of Adam in full precision: its state holds"):
        Reader(str(tmp_path)).moments()
    for content in (b"no pickle", b""):
        (tmp_path / "optimizer.pt").write_bytes(content)
        with pytest.raises(ConfigError, match="not the state of an optimizer"):
            Reader(str(tmp_path)).moments()
    torch.save({"state": Code()}, tmp_path / "optimizer.pt")
    with pytest.raises(ConfigError, match="without running code"):
        Reader(str(tmp_path)).moments()
    assert "run\n" not in capsys.readouterr().out
    (tmp_path / "optimizer.pt").unlink()
    with pytest.raises(ConfigError, match=r"no moments\.npz beside the model.*optimizer\.pt"):
        Reader(str(tmp_path)).moments()
