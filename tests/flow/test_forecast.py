"""What a forecast of time and memory is made of."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from dataworth.attributing import forecast as told
from dataworth.attributing.forecast import Watch, peak, release, resident
from dataworth.features.gradients.language import Reader
from dataworth.features.gradients.reading import Reading
from dataworth.features.gradients.solving import Curvature
from dataworth.lm.model import ModelConfig, build, save_model
from dataworth.lm.tokenizer import train_tokenizer
from methods.modelled import POOL, docs


def test_growth_is_what_was_held_at_once() -> None:
    release()
    with Watch() as watch:
        for _ in range(3):
            held = np.ones(10_000_000)
            del held
    assert watch.growth == pytest.approx(80e6, rel=0.2)


def test_memory_now_and_at_the_peak() -> None:
    held = np.ones(10_000_000)
    most = resident()
    del held
    release()
    assert resident() < most - 60e6
    assert peak() >= most - 1e6  # the kernel counts some pages late


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model with a large vocabulary: its logits are most of the memory."""
    found = tmp_path_factory.mktemp("models") / "wide"
    config = ModelConfig(16, 1, 2, 24, vocabulary=8192, context=32)
    save_model(build(config, 0), found, train_tokenizer(POOL, 300))
    return found


# Each number of bytes is of a new process: what others have freed is not given back at once.
PEAKS = """
import sys
import numpy as np
import torch
from dataworth.corpus.documents import Documents
from dataworth.features.gradients.language import Reader
from dataworth.features.gradients.reading import Reading
from dataworth.features.gradients.solving import Curvature, solve
from dataworth.attributing.forecast import forecast, peak, release
torch.set_num_threads(1)
reader = Reader(sys.argv[1], Reading(layers=("*attention_norm*",)))
sample, how = Documents.from_texts(sys.argv[2:]), Curvature("dense", sample=40)
told = forecast(reader, sample, sample.take(np.array([0])), how, documents=40, workers=1).memory
release()
before = peak()
solve(reader, sample, how, 1000)
print(told, peak(), before)
"""


def test_a_dense_curvature_takes_what_was_estimated(folder: Path) -> None:
    """Logits of all windows, 64 times over, would be 2 GB."""
    command = [sys.executable, "-c", PEAKS, str(folder), *POOL]
    done = subprocess.run(command, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    told, found, before = (float(word) for word in done.stdout.split())
    assert found == pytest.approx(told, rel=0.25)
    assert found < before + 200e6


def test_time_follows_the_products(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dense curvature takes one for each parameter, others one for each step and query."""
    wide = Reader(str(folder), Reading(layers=("*attention_norm*",)))
    sample, asked = docs(POOL), docs(POOL[:3])
    monkeypatch.setattr(told, "_product", lambda *_: told.Product(1.0))

    def products(solver: str, steps: int) -> float:
        """Products with the whole sample, each taking a second a token."""
        how = Curvature(solver, sample=40, steps=steps)  # type: ignore[arg-type]
        found = told.forecast(wide, sample, asked, how, documents=1, workers=1)
        return found.seconds / float(wide.items(sample).tokens.sum())

    assert wide.engine.size == 16
    assert products("dense", 5) == pytest.approx(16, rel=0.05)
    assert products("ekfac_cg", 5) == pytest.approx(3 * 5, rel=0.05)
    assert products("lissa", 5) == pytest.approx(3 * 6 + 10, rel=0.05)
    assert products("ekfac", 5) < 1
