"""Training against a plain loop over transformers' Llama, and that a run is the same each time."""

import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dataworth.errors import ConfigError, DataworthError, RunError
from dataworth.lm.model import CausalLM, build, load_model, save_model
from dataworth.lm.packing import TokenStream, sequences, stream_of
from dataworth.lm.steps import document_segments, loss_function, numbers
from dataworth.lm.training import Progress, TrainConfig, schedule, train
from lm.lm_tools import SHAPE, as_transformers, sharp, small_tokenizer, some_texts

PLAIN = TrainConfig(
    tokens=32 * 4 * 12,
    learning_rate=1e-2,
    batch_sequences=4,
    precision="float32",
    compile=False,
    log_every=5,
)


@pytest.fixture(scope="module")
def stream() -> TokenStream:
    return stream_of(some_texts(60, 60), small_tokenizer())


def same(first: Any, second: Any) -> bool:
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_schedule_values() -> None:
    cosine = TrainConfig(tokens=1, learning_rate=1.0, warmup=0.2, final=0.1)
    found = [schedule(cosine, step, 10) for step in range(10)]
    wanted = [0.5, 1.0] + [0.1 + 0.45 * (1 + math.cos(math.pi * i / 8)) for i in range(8)]
    assert found == pytest.approx(wanted)
    wsd = replace(cosine, schedule="wsd", decay=0.4, final=0.0)
    assert [schedule(wsd, step, 10) for step in range(10)] == pytest.approx(
        [0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25]
    )
    assert schedule(replace(cosine, warmup=0.0), 0, 1) == 1.0


@pytest.mark.parametrize("name", ["cosine", "wsd"])
@pytest.mark.parametrize("warmup", [0.0, 0.03, 1.0])
def test_schedules_stay_between_zero_and_one(name: Any, warmup: float) -> None:
    for steps in (1, 2, 7, 50):
        config = TrainConfig(tokens=1, learning_rate=1.0, schedule=name, warmup=warmup, final=0.0)
        found = [schedule(config, step, steps) for step in range(steps)]
        assert all(0 < one <= 1 for one in found)
        assert max(found) == 1.0


@pytest.mark.parametrize("z_loss", [0.0, 1e-2])
def test_training_is_that_of_a_plain_loop(
    stream: TokenStream, tmp_path: Path, z_loss: float
) -> None:
    """transformers' Llama, torch's AdamW, cross-entropy of all logits: the same weights."""
    config = replace(PLAIN, apart=False, epsilon=1e-4, clip=0.5, z_loss=z_loss)
    model = sharp(SHAPE)
    theirs = as_transformers(model, tmp_path / "start")
    matrices = [one for one in theirs.parameters() if one.ndim > 1]
    vectors = [one for one in theirs.parameters() if one.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}],
        betas=config.betas,
        eps=1e-4,
    )
    rows, losses = sequences(stream, 32, config.tokens, 0), []
    for step in range(12):
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 * schedule(config, step, 12)
        inputs, targets = (torch.from_numpy(one) for one in rows.batch(4 * step, 4))
        logits = theirs(input_ids=inputs).logits.flatten(0, 1)
        loss = torch.nn.functional.cross_entropy(logits, targets.flatten())
        losses.append(loss.item())
        (loss + z_loss * logits.logsumexp(-1).square().mean()).backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
        optimizer.step()
        optimizer.zero_grad()

    seen: list[Progress] = []
    trained = train(model, stream, config, on_step=seen.append)
    assert [one.loss for one in seen] == pytest.approx(losses, rel=1e-4)
    assert trained.model is model
    ours = as_transformers(model, tmp_path / "end")
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=2e-4, msg=name)


@pytest.mark.parametrize("which", ["ours", "theirs"])
def test_the_loss_of_a_packed_batch_is_that_of_its_documents(tmp_path: Path, which: str) -> None:
    """Each piece of a document in a row, run alone, has the losses that it has in the batch."""
    model: Any = sharp(SHAPE)
    stream = stream_of(some_texts(60, 8), small_tokenizer())
    if which == "theirs":
        from dataworth.lm.model import HuggingFaceLM

        model = HuggingFaceLM(as_transformers(model, tmp_path / "model"))
    inputs, targets = sequences(stream, 32, 32 * 6, 3).batch(0, 6)
    loss, compiled = loss_function(model, False, 1, "cpu")
    tensors = torch.from_numpy(inputs), torch.from_numpy(targets)
    _, nats = loss(model, *tensors, stream.end, 0.0, torch.float32)
    total, pieces = 0.0, 0
    for row, wanted in zip(inputs, targets, strict=True):
        starts = [0, *(place for place in range(1, 32) if row[place] == stream.end), 32]
        for begin, end in pairwise(starts):
            with torch.no_grad():
                logits = model(torch.from_numpy(row[None, begin:end]))[0].double()
            logs = logits.log_softmax(-1)[torch.arange(end - begin), wanted[begin:end]]
            total, pieces = total - float(logs.sum()), pieces + 1
    assert pieces > 10
    assert not compiled
    assert float(nats) == pytest.approx(total / inputs.size, rel=1e-5)
    _, joined = loss(model, *tensors, -1, 0.0, torch.float32)
    assert abs(float(joined) - float(nats)) > 1e-3


def test_segments_begin_at_ends() -> None:
    found = document_segments(torch.tensor([[5, 0, 4, 0, 0, 3]]), 0)
    assert found.tolist() == [[0, 1, 1, 2, 3, 3]]
    assert document_segments(torch.tensor([[5, 0]]), -1).tolist() == [[0, 0]]


def test_a_seed_is_a_result(stream: TokenStream) -> None:
    first = train(build(SHAPE), stream, PLAIN)
    again = train(build(SHAPE), stream, PLAIN)
    other = train(build(SHAPE), stream, replace(PLAIN, seed=1))
    assert same(first.model, again.model)
    assert first.curve == again.curve
    assert not same(first.model, other.model)


def test_it_says_what_it_did(stream: TokenStream) -> None:
    seen: list[Progress] = []
    trained = train(build(SHAPE), stream, PLAIN, on_step=seen.append)
    assert trained.tokens_seen == PLAIN.tokens
    assert trained.epochs == PLAIN.tokens / len(stream)
    assert (trained.precision, trained.compiled) == ("float32", False)
    assert [one.step for one in seen] == list(range(1, 13))
    assert [tokens for tokens, _ in trained.curve] == [640, 1280, 1536]
    losses = [one.loss for one in seen]
    wanted = [np.mean(losses[:5]), np.mean(losses[5:10]), np.mean(losses[10:])]
    assert [loss for _, loss in trained.curve] == pytest.approx(wanted)
    assert losses[-1] < losses[0] - 0.5
    assert seen[0].learning_rate == pytest.approx(1e-2)  # round(0.1 * 12) = 1 step of warm-up
    more = train(build(SHAPE), stream, replace(PLAIN, tokens=129))
    assert more.tokens_seen == 256  # whole steps


def test_half_precision_trains_alike(stream: TokenStream) -> None:
    full = train(build(SHAPE), stream, PLAIN)
    half = train(build(SHAPE), stream, replace(PLAIN, precision="bfloat16"))
    assert half.precision == "bfloat16"
    assert half.curve != full.curve
    assert half.curve[-1][1] == pytest.approx(full.curve[-1][1], rel=0.02)
    assert all(one.dtype == torch.float32 for one in half.model.as_module().parameters())


class _StopError(Exception):
    pass


@pytest.mark.parametrize("mup_base", [None, 16])
def test_a_stopped_run_goes_on_to_the_same_result(
    stream: TokenStream, tmp_path: Path, mup_base: int | None
) -> None:
    shape = replace(SHAPE, mup_base=mup_base)
    whole = train(build(shape), stream, PLAIN)
    config = replace(PLAIN, checkpoint_every=4)

    def stop(progress: Progress) -> None:
        if progress.step == 7:
            raise _StopError

    with pytest.raises(_StopError):
        train(build(shape), stream, config, folder=tmp_path, on_step=stop)
    seen: list[Progress] = []
    resumed = train(build(shape), stream, config, folder=tmp_path, on_step=seen.append)
    assert seen[0].step == 5
    assert same(resumed.model, whole.model)
    assert resumed.curve == whole.curve
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000012"]

    done = train(build(shape), stream, config, folder=tmp_path, on_step=seen.append)
    assert len(seen) == 8  # nothing was left to do
    assert same(done.model, whole.model)


CHILD = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from lm.test_training import PLAIN, SHAPE, build, replace, stream_of, train
from lm.lm_tools import small_tokenizer, some_texts
def kill(progress):
    if progress.step == 9:
        os.kill(os.getpid(), signal.SIGKILL)
stream = stream_of(some_texts(60, 60), small_tokenizer())
train(build(SHAPE), stream, replace(PLAIN, checkpoint_every=3), folder=sys.argv[2], on_step=kill)
"""


def test_a_killed_run_goes_on_to_the_same_result(stream: TokenStream, tmp_path: Path) -> None:
    tests = str(Path(__file__).parent.parent)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.run(
        [sys.executable, "-c", CHILD, tests, str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert child.returncode == -signal.SIGKILL, child.stderr
    whole = train(build(SHAPE), stream, PLAIN)
    seen: list[Progress] = []
    config = replace(PLAIN, checkpoint_every=3)
    resumed = train(build(SHAPE), stream, config, folder=tmp_path, on_step=seen.append)
    assert seen[0].step > 6
    assert same(resumed.model, whole.model)
    assert resumed.curve == whole.curve


def test_checkpoints_can_be_kept(stream: TokenStream, tmp_path: Path) -> None:
    config = replace(PLAIN, checkpoint_every=5, keep=True)
    train(build(SHAPE), stream, config, folder=tmp_path)
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-00000005", "step-00000010", "step-00000012"]


def test_another_training_in_the_folder_is_refused(stream: TokenStream, tmp_path: Path) -> None:
    train(build(SHAPE), stream, PLAIN, folder=tmp_path)
    with pytest.raises(RunError, match=r"learning_rate: 0\.01 → 0\.02"):
        train(build(SHAPE), stream, replace(PLAIN, learning_rate=2e-2), folder=tmp_path)
    with pytest.raises(RunError, match="weights"):
        train(build(SHAPE, 1), stream, PLAIN, folder=tmp_path)
    with pytest.raises(RunError, match="stream"):
        train(build(SHAPE), stream_of(some_texts(9), small_tokenizer()), PLAIN, folder=tmp_path)


def test_a_damaged_checkpoint_is_named(stream: TokenStream, tmp_path: Path) -> None:
    train(build(SHAPE), stream, PLAIN, folder=tmp_path)
    state = tmp_path / "checkpoints" / "step-00000012" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:100])
    with pytest.raises(DataworthError, match=r"cannot be read .*delete the folder"):
        train(build(SHAPE), stream, PLAIN, folder=tmp_path)


def test_a_loss_that_is_no_number_stops_the_run(stream: TokenStream) -> None:
    model = build(SHAPE)
    with torch.no_grad():
        model.norm.weight.fill_(torch.nan)
    with pytest.raises(DataworthError, match="the loss is nan at step 1 of 12"):
        train(model, stream, PLAIN)


def test_a_transformers_model_goes_on_training(stream: TokenStream, tmp_path: Path) -> None:
    """As our own model of the same weights does, and resumed bit for bit."""
    from dataworth.lm.model import HuggingFaceLM

    config = replace(PLAIN, epsilon=1e-4, checkpoint_every=4)
    ours = train(sharp(SHAPE), stream, config)
    theirs = HuggingFaceLM(as_transformers(sharp(SHAPE), tmp_path / "start"))
    trained = train(theirs, stream, config)
    np.testing.assert_allclose(
        [loss for _, loss in trained.curve], [loss for _, loss in ours.curve], rtol=1e-3
    )

    def stop(progress: Progress) -> None:
        if progress.step == 6:
            raise _StopError

    again = HuggingFaceLM(as_transformers(sharp(SHAPE), tmp_path / "start"))
    with pytest.raises(_StopError):
        train(again, stream, config, folder=tmp_path / "run", on_step=stop)
    again = HuggingFaceLM(as_transformers(sharp(SHAPE), tmp_path / "start"))
    assert same(train(again, stream, config, folder=tmp_path / "run").model, theirs)
    save_model(theirs, tmp_path / "end")
    ids = torch.arange(20)[None]
    torch.testing.assert_close(load_model(tmp_path / "end")(ids), theirs(ids))


def test_a_compiled_run_is_the_same_and_compiled_once(stream: TokenStream) -> None:
    import torch._dynamo

    shape = replace(SHAPE, layers=1)
    config = replace(PLAIN, tokens=32 * 4 * 4, compile=True)
    plain = train(build(shape), stream, replace(config, compile=False))
    first = train(build(shape), stream, config)
    assert first.compiled
    # A second model, another rate and another seed need no new program: one would raise here.
    with torch._dynamo.config.patch(error_on_recompile=True):
        again = train(build(shape), stream, config)
        other = train(build(shape, 1), stream, replace(config, learning_rate=1e-3, seed=1))
    assert same(first.model, again.model)
    assert not same(first.model, other.model)
    assert [x for _, x in first.curve] == pytest.approx([x for _, x in plain.curve], rel=1e-4)


def test_auto_compiles_long_runs_of_our_models_alone(tmp_path: Path) -> None:
    cpu = torch.device("cpu")
    theirs = as_transformers(build(SHAPE), tmp_path / "model")
    assert loss_function(build(SHAPE), "auto", 1_000, cpu)[1] is False
    assert loss_function(build(SHAPE), "auto", 10**7, cpu)[1] is True
    assert loss_function(theirs, "auto", 10**7, cpu)[1] is False
    assert numbers("float32", cpu) == torch.float32
    assert numbers("auto", cpu) in (torch.float32, torch.bfloat16)


def test_torch_threads_are_put_back(stream: TokenStream) -> None:
    before = torch.get_num_threads()
    seen: list[int] = []
    config = replace(PLAIN, threads=before + 1, tokens=128)
    train(build(SHAPE), stream, config, on_step=lambda _: seen.append(torch.get_num_threads()))
    assert seen == [before + 1]
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    "wrong",
    [
        {"tokens": 0},
        {"schedule": "linear"},
        {"precision": "int8"},
        {"warmup": 1.5},
        {"learning_rate": 0.0},
        {"checkpoint_every": 0},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="training"):
        replace(PLAIN, **wrong)


def test_a_foreign_vocabulary_is_refused(stream: TokenStream) -> None:
    with pytest.raises(ConfigError, match="the model's own tokenizer"):
        train(CausalLM(replace(SHAPE, vocabulary=200)), stream, PLAIN)
