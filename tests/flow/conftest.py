"""Small pools of real documents, and units so small that a pool has several."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from flow.pools import cut_small, texts


@pytest.fixture
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pools of a megabyte have several units."""
    cut_small(monkeypatch)


@pytest.fixture(scope="session")
def lines(small_pool: Path) -> list[bytes]:
    """The first 700 documents of the small pool, which are of all domains."""
    return small_pool.read_bytes().split(b"\n")[:700]


@pytest.fixture(scope="session")
def math(target_file: Callable[..., Path]) -> Path:
    return target_file("math")


@pytest.fixture(scope="session")
def code(target_file: Callable[..., Path]) -> Path:
    return target_file("code")


@pytest.fixture(scope="session")
def tokenizer(lines: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small byte-pair tokenizer, trained on some of the pool."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.train_from_iterator(texts(lines[:100]), trainers.BpeTrainer(vocab_size=600))
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    made.save(str(path))
    return path


@pytest.fixture
def swift(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attributions that leave memory as it is: a look at all objects takes longer than the rest."""
    pytest.importorskip("torch")
    for module in ("forecast", "attribution"):
        monkeypatch.setattr(f"dataworth.attributing.{module}.release", lambda: None)
