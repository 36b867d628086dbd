"""Training, evaluation and embeddings on another device, which a CPU stands for: see `standin`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dataworth.comparing.losses import loss_of, pack
from dataworth.engine import device as devices
from dataworth.lm.checkpoints import _MOMENTS, State, _load
from dataworth.lm.llama import CausalLM, ModelConfig, build
from dataworth.lm.packing import TokenStream
from dataworth.lm.predictions import predict
from dataworth.lm.training import TrainConfig, Trained, train
from standin import NAME, StandIn, install

pytestmark = pytest.mark.alone  # torch counts devices when it first goes back

IDS = np.random.default_rng(0).integers(1, 24, 96).astype(np.uint32)
CONFIG = TrainConfig(
    tokens=64,
    learning_rate=1e-2,
    batch_sequences=2,
    precision="float32",
    compile=False,
    log_every=1,
)


@pytest.fixture(autouse=True)
def second(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    monkeypatch.setattr(devices, "_KINDS", [*devices._KINDS, NAME])
    # Tensors of a Python backend cannot be made in inference mode; it differs in bookkeeping alone.
    monkeypatch.setattr(torch, "inference_mode", torch.no_grad)
    yield install()


def model() -> CausalLM:
    return build(ModelConfig(8, 1, 2, 16, 24, 16), 0)


def trained(device: str, folder: Path | None = None, steps: int = 2) -> Trained:
    starts = np.arange(0, 97, 12, dtype=np.int64)
    stream = TokenStream(IDS, starts, np.diff(starts), 0, 24, "some")
    config = replace(CONFIG, device=device, tokens=32 * steps)
    return train(model(), stream, config, folder=folder)


def test_a_training_and_what_is_measured(second: StandIn) -> None:
    expected = trained("cpu")
    with second:
        found = trained(NAME)
        parameter = found.model.embeddings()
        assert parameter.device.type == NAME
        np.testing.assert_allclose(found.curve, expected.curve, rtol=1e-4)
        items = [IDS[:30].tolist(), IDS[30:45].tolist()]
        how = (items, [1, 1], 16, 0.5, 64, 1, "float32")
        ours = predict(found.model, *how)  # type: ignore[arg-type]
        packed = pack(items, 0, 16, 45)
        loss = loss_of(found.model, packed, torch.float32, compiled=False)  # type: ignore[arg-type]
    theirs = predict(expected.model, *how)  # type: ignore[arg-type]
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one[0], other[0], rtol=1e-3)
    cpu = loss_of(expected.model, packed, torch.float32, compiled=False)  # type: ignore[arg-type]
    assert loss == pytest.approx(cpu, rel=1e-4)


def test_a_training_goes_on_there_from_a_checkpoint_of_the_cpu(
    tmp_path: Path, second: StandIn
) -> None:
    expected = trained("cpu", tmp_path)
    with second:
        again = trained(NAME, tmp_path)
    assert again.curve == expected.curve


def test_what_the_optimizer_remembers_lies_beside_its_parameters(second: StandIn) -> None:
    with second:
        module = model().to(NAME)
        optimizer = torch.optim.AdamW(module.parameters(), fused=True)
        tensors = {}
        for name, value in model().named_parameters():
            tensors[f"weight.{name}"] = value.detach()
            tensors |= {f"{kind}.{name}": torch.ones(value.shape) for kind in _MOMENTS}
        _load(State(module, optimizer), tensors, 3)
        places = {one.device.type for of in optimizer.state.values() for one in of.values()}
    assert places == {NAME}


def test_a_pass_over_hidden_states(second: StandIn) -> None:
    from dataworth.features.embeddings.causal import _state_sums

    pieces = np.array([[0, 12], [12, 20], [20, 21]], np.int64)
    ids = IDS.astype(np.int32)
    expected = _state_sums(model(), ids, pieces, "float32")
    with second:
        found = _state_sums(model().to(NAME), ids, pieces, "float32")
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
