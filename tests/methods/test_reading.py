"""How methods with a model read documents: context, windows, batches, device, numbers, factors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dataworth
from cli.conftest import Invoke, _compiled, _log_as_it_was, dw  # noqa: F401
from dataworth.config import parse_call
from dataworth.errors import ConfigError
from dataworth.features.gradients.language import Reader
from dataworth.features.gradients.reading import Reading
from dataworth.methods.registry import STEPS
from methods.fitting import fit, utility
from methods.modelled import POOL, TARGET, model_folder

NAMES = ("influence", "tracin", "trak", "grand", "el2n", "self_influence", "metagradient")
ASKED: dict[str, Any] = {
    "context": 16,
    "windows": 2,
    "batch_tokens": 64,
    "device": "cpu",
    "dtype": "float64",
    "chats": "text",
}


def step(name: str, **options: Any) -> Any:
    given = {"model": model_folder()} if "model" in fields(name) else {"models": (model_folder(),)}
    if name == "metagradient":
        given |= {"runs": 1}
    return STEPS[name](**given, **options)


def fields(name: str) -> set[str]:
    return set(STEPS[name].__dataclass_fields__)


def utilities(name: str, **options: Any) -> list[float]:
    alone = name in ("grand", "el2n", "self_influence")
    fitted = fit(step(name, **options), POOL, {} if alone else {"sums": TARGET})
    return [float(value) for value in utility(fitted, POOL) if value is not None]


@pytest.mark.parametrize("name", NAMES)
def test_options_are_taken_and_refused(name: str) -> None:
    made = step(name, **ASKED)
    assert {option: getattr(made, option) for option in ASKED} == ASKED
    text = ", ".join(f"{option}={value!r}" for option, value in ASKED.items())
    folder = model_folder()
    wanted = f"model={folder!r}" if "model" in fields(name) else f"models={[folder]!r}"
    parsed = parse_call(f"{name}({wanted}, {text})", STEPS)
    assert {option: getattr(parsed, option) for option in ASKED} == ASKED
    for wrong in (
        {"context": 1},
        {"windows": -1},
        {"batch_tokens": -1},
        {"device": "gpu"},
        {"dtype": "int8"},
        {"chats": "none"},
        *([{"factor_width": 0}] if "factor_width" in fields(name) else []),
    ):
        with pytest.raises(ConfigError, match=next(iter(wrong))) as caught:
            step(name, **wrong)
        assert "\n" not in str(caught.value)


def test_a_device_that_is_not_there() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ConfigError, match="device cuda: ") as caught:
        dataworth.attribute(model_folder(), POOL, TARGET[:1], solver="identity", device="cuda")
    assert "\n" not in str(caught.value)


def test_windows_are_no_longer_than_is_said(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(model_folder(), tmp_path / "model"))
    config = json.loads((folder / "config.json").read_text())
    config["dataworth"]["context"] = config["max_position_embeddings"] = 131_072
    (folder / "config.json").write_text(json.dumps(config))
    reader = Reader(str(folder))
    assert reader.context == 2048
    assert Reader(str(folder), Reading(context=4096)).context == 4096
    found = dataworth.attribute(folder, POOL, TARGET[:1], solver="identity")
    (note,) = [note for note in found.facts["notes"] if "windows of" in note]
    assert note == (
        "Documents are read in windows of 2,048 tokens, though the model was made for 131,072 "
        "(context)."
    )


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_scores_do_not_depend_on_batches_and_little_on_numbers(dtype: str) -> None:
    plain = {"solver": "identity", "context": 16}
    whole = dataworth.attribute(model_folder(), POOL, TARGET[:2], **plain)
    other = dataworth.attribute(model_folder(), POOL, TARGET[:2], batch_tokens=16, **plain)
    np.testing.assert_allclose(other.scores, whole.scores, rtol=1e-3, atol=1e-3)
    near = dataworth.attribute(model_folder(), POOL, TARGET[:2], dtype=dtype, **plain)
    assert np.corrcoef(near.scores.ravel(), whole.scores.ravel())[0, 1] > 0.99
    few = dataworth.attribute(model_folder(), POOL, TARGET[:2], windows=1, **plain)
    tokens = whole.tokens
    assert np.array_equal(few.tokens, np.minimum(tokens, 15))


def test_the_command_takes_them_and_tells(
    tmp_path: Path,
    dw: Invoke,  # noqa: F811
) -> None:
    pool = tmp_path / "pool.jsonl"
    pool.write_text("".join(json.dumps({"text": text}) + "\n" for text in POOL))
    options = ["--context", "16", "--windows", "2", "--batch-tokens", "64", "--device", "cpu"]
    options += ["--dtype", "float64", "--chats", "text", "--factor-width", "8"]
    done = dw("attribute", model_folder(), pool, "--ask", TARGET[0], *options, "--json")
    assert done.exit_code == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["context"] == 16
    assert "factors in blocks of 8" in facts["about"] and "(factor_width 8)" in facts["about"]
    wrong = dw("attribute", model_folder(), pool, "--ask", TARGET[0], "--device", "gpu")
    assert wrong.exit_code == 2 and "device is auto, cpu, cuda" in wrong.stderr


def test_methods_take_the_width_of_factors() -> None:
    narrow = utilities("influence", factor_width=8)
    assert not np.array_equal(narrow, utilities("influence"))
    assert np.corrcoef(narrow, utilities("influence"))[0, 1] > 0.5
    assert np.isfinite(utilities("self_influence", factor_width=8)).all()


@pytest.mark.parametrize("name", NAMES)
def test_every_method_reads_so(name: str) -> None:
    short = utilities(name, context=8, windows=1)
    assert np.isfinite(short).all()
    assert not np.array_equal(short, utilities(name, windows=1))
