"""One library's turn: read the work, do it in timed phases, leave the figures and the scores.

Run by `gradient_peers.py` with the library's own Python, so nothing of dataworth is imported here.
A work folder holds model/ (a Hugging Face Llama and its tokenizer), train.npy and queries.npy
(int64 [n, length], every sequence of one length, so that nobody pads) and work.json.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is loaded
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

torch.set_num_threads(1)


class Work:
    """The work of one process: `job`, its inputs, and what has been measured so far."""

    def __init__(self, arguments: list[str]) -> None:
        folder, self.job, out = arguments
        self.folder, self.out = Path(folder), Path(out)
        self.out.mkdir(parents=True)
        self.settings: dict[str, Any] = json.loads((self.folder / "work.json").read_text("utf-8"))
        self.train = torch.from_numpy(np.load(self.folder / "train.npy"))
        self.queries = torch.from_numpy(np.load(self.folder / "queries.npy"))
        self.batch = int(self.settings["batch"])
        self.phases: dict[str, float] = {}
        self.cpu = 0.0
        self.before = 0
        self.stored = 0

    @property
    def model_folder(self) -> str:
        """Of the model and its tokenizer."""
        return str(self.folder / "model")

    def model(self, attention: str | None = None) -> nn.Module:
        """The model, in float32 and evaluation mode; `attention`: its implementation."""
        from transformers import AutoModelForCausalLM

        model: nn.Module = AutoModelForCausalLM.from_pretrained(
            self.model_folder, dtype=torch.float32, attn_implementation=attention
        )
        return model.eval()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time what is done within."""
        self.before = self.before or memory("VmRSS")
        start, cpu = time.perf_counter(), time.process_time()
        yield
        self.phases[name] = time.perf_counter() - start
        self.cpu += time.process_time() - cpu

    def batches(self, rows: Tensor) -> Iterator[Tensor]:
        """Rows, `batch` at a time."""
        for start in range(0, len(rows), self.batch):
            yield rows[start : start + self.batch]

    def done(self, scores: Any = None, stored: Any = None) -> None:
        """Leave the figures, the scores [train, queries], and those of the store alone."""
        for name, found in (("scores", scores), ("stored", stored)):
            if isinstance(found, Tensor):
                found = found.detach().numpy()
            if found is not None:
                np.save(self.out / f"{name}.npy", np.asarray(found, np.float32))
        facts = {
            "phases": self.phases,
            "cpu": self.cpu,
            "stored": self.stored,
            "peak": memory("VmHWM"),
            "before": self.before,
        }
        (self.out / "facts.json").write_text(json.dumps(facts), "utf-8")


def linears(model: nn.Module) -> list[str]:
    """The names of the linear layers of the transformer's blocks: what every library covers."""
    return [name for name, _ in model.named_modules() if name.endswith("_proj")]


def summed_loss(logits: Tensor, ids: Tensor) -> Tensor:
    """Nats of the next tokens, summed over a batch."""
    return functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="sum"
    )


def memory(what: str) -> int:
    """Resident memory of this process in bytes: `VmRSS`, now, or `VmHWM`, at its largest.

    Not that of `wait4`: it counts what the parent held when it started the process.
    """
    for line in Path("/proc/self/status").read_text("utf-8").splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"the kernel does not tell {what}")


def size_of(folder: Path) -> int:
    """Bytes of the files under a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def begin() -> Work:
    """The work that the command line names: folder, job, where to leave what is found."""
    return Work(sys.argv[1:])
