"""The device and the dtype of models: the one place that reads these two options.

    place = find_device("auto")                  # CUDA if there, else the CPU
    numbers = find_dtype("bfloat16", place)

torch is imported only when a device is looked for, never when a name is checked.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import re
import threading
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from dataworth.errors import ConfigError, MissingExtra

if TYPE_CHECKING:
    import torch
    from torch import device as torch_device

AUTO = "auto"
DTYPES = ("float32", "bfloat16", "float16", "float64")
Dtype = Literal["float32", "bfloat16", "float16", "float64"]
HELP = (
    "Where models run: auto (CUDA if there is a GPU, else the CPU), cpu, cuda, cuda:1 or mps. "
    "Results differ between devices by rounding."
)

_HALF = "dtype float16 is for GPUs: the CPU has no products of it; take bfloat16 or float32"
_KINDS = ["cpu", "cuda", "mps"]
_NAME = re.compile(r"([a-z]+)(?::(\d+))?")
_PROCESS = 2 << 30  # bytes of a GPU that a process takes for training small models
_in_use: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)


def check_device(
    device: str, dtype: str = "float32", *, where: str = "", sums: str = "float32"
) -> None:
    """Raise ConfigError for a name that no device or dtype has; torch is not asked.

    `where`: what the message begins with, such as the name of a step. `sums`: the numbers in which
    the device adds up, whatever the model's are.
    """
    start = f"{where}: " if where else ""
    match = _NAME.fullmatch(device) if isinstance(device, str) else None
    kind = match[1] if match else None
    if device != AUTO and (kind not in _KINDS or (match and match[2] and kind in ("cpu", "mps"))):
        raise ConfigError(f"{start}device is auto, cpu, cuda, cuda:1 or mps, not {device!r}")
    if dtype not in DTYPES:
        raise ConfigError(f"{start}dtype is one of {', '.join(DTYPES)}, not {dtype!r}")
    if dtype == "float16" and device == "cpu":
        raise ConfigError(f"{start}{_HALF}")
    if device == "mps" and "float64" in (dtype, sums):
        what = "dtype float64" if dtype == "float64" else "gradients are summed in float64"
        raise ConfigError(f"{start}{what}: mps has none of it; take device=cpu, or cuda")


def find_device(device: str | torch.device = AUTO) -> torch.device:
    """Return the device of a name, with its number. Raises ConfigError for one that is not there.

    "auto" is the first CUDA device if there is one, else the CPU; MPS is taken only if asked for.
    """
    torch = _torch()
    device = str(device)
    check_device(device)
    if device == AUTO:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = device.partition(":")
    if kind != "cpu" and not (count := _count(kind)):
        raise ConfigError(f"device {device}: {_missing(kind)}; take device=cpu, or auto")
    if kind not in ("cpu", "mps"):
        module = torch.get_device_module(kind)
        # The one that the process has chosen, without waking CUDA for the question.
        place = int(number or (module.current_device() if module.is_initialized() else 0))
        if place >= count:
            names = ", ".join(f"{kind}:{one}" for one in range(count))
            raise ConfigError(f"device {device}: there is no such GPU; there are {names}")
        kind = f"{kind}:{place}"
    found: torch_device = torch.device(kind)
    return found


def find_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """Return the numbers of a name. Raises ConfigError for what the device cannot multiply."""
    check_device(device.type, dtype)
    if dtype == "bfloat16" and device.type == "cuda" and not has_bfloat16(device):
        raise ConfigError(
            f"dtype bfloat16: {device} has no products of it (its capability is below 8.0); take "
            "float16 or float32"
        )
    match: torch.dtype = getattr(_torch(), dtype)
    return match


def has_bfloat16(device: torch.device) -> bool:
    """Tell if the device multiplies bfloat16 itself, rather than by way of float32."""
    torch = _torch()
    if device.type == "cuda":  # AMD's are "cuda" too, and all that torch supports have it
        return bool(torch.version.hip or torch.cuda.get_device_capability(device)[0] >= 8)
    if device.type != "cpu":
        return False
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was given: for timing. The CPU never lags behind."""
    if device.type != "cpu":
        _torch().get_device_module(device).synchronize(device)


@contextlib.contextmanager
def exclusive(device: torch.device) -> Iterator[None]:
    """Let one thread of the process at a time run models on a GPU; on the CPU all of them.

    Threads do not make a GPU faster, and each would hold a batch's numbers in its memory. Only for
    what waits for no other thread inside the block.
    """
    with contextlib.nullcontext() if device.type == "cpu" else _in_use[str(device)]:
        yield


def spread(device: str) -> str:
    """Return the device of this worker process: GPUs take turns where none is named."""
    torch = _torch()
    found = find_device(device)
    if found.type != "cuda" or device not in (AUTO, "cuda"):
        return str(found)
    number = multiprocessing.current_process().name.rpartition("-")[2]
    return f"cuda:{int(number) % torch.cuda.device_count() if number.isdigit() else 0}"


def processes(device: str, wanted: int) -> int:
    """Return how many of the wanted processes find room on the GPUs that they share, at least 1."""
    torch = _torch()
    found = find_device(device)
    if found.type != "cuda":
        return wanted
    named = device not in (AUTO, "cuda")
    places = [found.index] if named else range(torch.cuda.device_count())
    room = sum(torch.cuda.mem_get_info(place)[0] // _PROCESS for place in places)
    return max(1, min(wanted, int(room)))


def _count(kind: str) -> int:
    torch = _torch()
    if kind == "mps":
        return int(torch.backends.mps.is_available())
    module = torch.get_device_module(kind)
    return int(module.device_count()) if module.is_available() else 0


def _missing(kind: str) -> str:
    torch = _torch()
    if kind == "mps":
        return "torch finds no GPU of Apple here"
    if torch.version.cuda is None and torch.version.hip is None:
        return "this torch was built without CUDA (pip install torch from pytorch.org's index)"
    return "torch finds no GPU here (nvidia-smi tells if the driver sees one)"


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingExtra("what runs a model", "lm") from error
    return torch
