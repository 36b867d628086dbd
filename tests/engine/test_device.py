"""Names of devices and dtypes: what they stand for, and what is refused before any work."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from typing import Any

import pytest
import torch

from dataworth.engine import device as devices
from dataworth.engine.device import check_device, find_device, find_dtype, processes, spread
from dataworth.errors import ConfigError


def cuda(monkeypatch: pytest.MonkeyPatch, count: int, capability: int = 8, free: int = 9) -> None:
    """A torch that says it has so many GPUs; nothing can run on them."""
    module = torch.cuda
    monkeypatch.setattr(module, "is_available", lambda: count > 0)
    monkeypatch.setattr(module, "device_count", lambda: count)
    monkeypatch.setattr(module, "get_device_capability", lambda device=None: (capability, 0))
    monkeypatch.setattr(module, "mem_get_info", lambda device=None: (free << 30, free << 30))


def test_names(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda(monkeypatch, 0)
    assert str(find_device("auto")) == str(find_device("cpu")) == "cpu"
    cuda(monkeypatch, 2)
    assert str(find_device("auto")) == str(find_device("cuda")) == "cuda:0"
    assert str(find_device("cuda:1")) == str(find_device(torch.device("cuda:1"))) == "cuda:1"
    assert str(find_device("cpu")) == "cpu"


@pytest.mark.parametrize(
    ("device", "dtype", "said"),
    [
        ("cuda", "float32", "device cuda: .*take device=cpu"),
        ("mps", "float32", "device mps: .*take device=cpu"),
        ("gpu", "float32", "device is auto, cpu, cuda, cuda:1 or mps, not 'gpu'"),
        ("cuda:", "float32", "device is auto"),
        ("cpu:0", "float32", "device is auto"),
        ("mps:0", "float32", "device is auto"),
        ("", "float32", "device is auto"),
        (1, "float32", "device is auto"),
        ("auto", "int8", "dtype is one of float32"),
        ("auto", "float16", "dtype float16 is for GPUs"),
        ("cpu", "float16", "dtype float16 is for GPUs"),
    ],
)
def test_what_is_not_there_is_refused_in_one_line(
    device: Any, dtype: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda(monkeypatch, 0)
    with pytest.raises(ConfigError, match=said) as caught:
        check_device(device, dtype)
        find_dtype(dtype, find_device(device))
    assert "\n" not in str(caught.value)


def test_a_number_and_a_dtype_that_the_gpus_do_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda(monkeypatch, 2, capability=7)
    with pytest.raises(ConfigError, match="no such GPU; there are cuda:0, cuda:1"):
        find_device("cuda:2")
    with pytest.raises(ConfigError, match="bfloat16: cuda:1 has no products of it"):
        find_dtype("bfloat16", find_device("cuda:1"))
    assert find_dtype("float16", find_device("cuda")) == torch.float16
    assert not devices.has_bfloat16(find_device("cuda"))


def test_gradients_are_not_for_mps() -> None:
    with pytest.raises(ConfigError, match="step: gradients are summed in float64: mps"):
        check_device("mps", where="step", sums="float64")


def test_worker_processes_share_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda(monkeypatch, 2, free=5)
    process = multiprocessing.current_process()
    assert spread("auto") == "cuda:0"  # the process itself
    for name, place in (("SpawnProcess-1", "cuda:1"), ("SpawnProcess-12", "cuda:0")):
        monkeypatch.setattr(process, "name", name)
        assert spread("auto") == spread("cuda") == place
        assert spread("cuda:1") == "cuda:1" and spread("cpu") == "cpu"
    assert processes("auto", 16) == 4 and processes("cuda:0", 16) == 2 and processes("cpu", 9) == 9
    cuda(monkeypatch, 1, free=0)
    assert processes("cuda", 16) == 1


def test_names_are_checked_without_torch() -> None:
    code = (
        "import sys; from dataworth.engine.device import check_device; check_device('cuda:1'); "
        "assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_gpu_without_memory_ends_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    import typer

    from dataworth.cli.errors import guard

    with pytest.raises(typer.Exit) as caught, guard():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nMore")
    assert caught.value.exit_code == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "batch_tokens" in said


def test_a_device_enters_no_key() -> None:
    from dataworth.flow.identity import identity_of
    from dataworth.methods.registry import STEPS

    step = STEPS["embedding_similarity"]
    assert identity_of(step(device="cpu")) == identity_of(step())
