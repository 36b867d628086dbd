"""`dataworth.proxy`: small models of a pool, kept at points of their training, and used."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dataworth
from dataworth.errors import ConfigError, RunError
from dataworth.lm import proxies as training
from dataworth.lm.model import SIZES, load_model
from dataworth.lm.training import TrainConfig, schedule
from flow.comparing import NAMES, lines_of, words_of, world

FEW = {"tokens": "4k", "vocabulary": 300}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def made(place: Path, tmp_path_factory: pytest.TempPathFactory) -> dataworth.Proxies:
    out = tmp_path_factory.mktemp("made") / "proxies"
    return dataworth.proxy(place / "pool.jsonl", out=out, seeds=2, checkpoints=2, **FEW)


def test_models_and_checkpoints(made: dataworth.Proxies) -> None:
    names = [Path(path).name for path in made.checkpoints]
    assert names == ["seed-0-step-4", "seed-0", "seed-1-step-4", "seed-1"]
    assert made.models == [made.checkpoints[1], made.checkpoints[3]]
    assert "2 models, 4 checkpoints" in repr(made)
    losses = [one["loss"] for one in made.facts["models"]]
    assert losses[1] < losses[0] < np.log(300)
    assert [one["tokens"] for one in made.facts["models"][:2]] == [2048, 4096]
    config = TrainConfig(4000, SIZES["tiny"].learning_rate)
    rates = [config.learning_rate * schedule(config, step, 8) for step in (3, 7)]
    assert made.learning_rates == pytest.approx(rates * 2)
    weights = [load_model(path).embeddings().detach().numpy() for path in made.checkpoints]
    assert len({array.tobytes() for array in weights}) == 4


def test_a_pool_that_was_written_again_is_the_same(
    made: dataworth.Proxies, place: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(made.folder, out)
    shutil.copy(place / "pool.jsonl", tmp_path / "moved.jsonl")
    os.utime(tmp_path / "moved.jsonl", (1, 1))
    again = dataworth.proxy(tmp_path / "moved.jsonl", out=out, seeds=2, checkpoints=2, **FEW)
    assert again.facts == made.facts


def test_it_goes_on_and_more_seeds_are_added(
    made: dataworth.Proxies, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, pool = tmp_path / "out", place / "pool.jsonl"
    shutil.copytree(made.folder, out)
    seeds = []
    before = training.train

    def note(model: object, stream: object, config: TrainConfig, **more: object) -> object:
        seeds.append(config.seed)
        return before(model, stream, config, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(training, "train", note)
    more = dataworth.proxy(pool, out=out, seeds=3, checkpoints=2, **FEW)
    assert seeds == [2] and len(more.models) == 3
    fewer = dataworth.proxy(pool, out=out, seeds=1, checkpoints=2, **FEW)
    assert seeds == [2] and fewer.models == [str(out / "seed-0")]
    with pytest.raises(RunError, match="tokens: 4000 → 5000"):
        dataworth.proxy(pool, out=out, checkpoints=2, **{**FEW, "tokens": "5k"})
    again = dataworth.proxy(pool, out=out, overwrite=True, **FEW)
    assert seeds == [2, 0] and not (out / "seed-1").exists()
    assert np.array_equal(
        load_model(again.models[0]).embeddings().detach(),
        load_model(made.models[0]).embeddings().detach(),
    )


@pytest.mark.parametrize("method", ["tracin", "metagradient", "influence"])
def test_methods_use_them(method: str, made: dataworth.Proxies, place: Path) -> None:
    """What it is for: the right half of the pool is chosen through its gradients."""
    options: dict[str, dict[str, Any]] = {
        "tracin": {"models": made.checkpoints, "learning_rates": made.learning_rates},
        "metagradient": {"model": made.models[0]},
        "influence": {"model": made.models[0], "solver": "adam_cg", "sample": 20, "steps": 5},
    }
    selection = dataworth.select(
        place / "pool.jsonl",
        {"red": place / "red.jsonl"},
        "40-docs",
        steps=[{method: options[method]}],
        group_by="domain",
        engine=1,
    )
    codes, domains = selection.scores.table.codes("domain")
    chosen = [domains[code] for code in codes[selection.rows]]
    assert chosen.count("red") >= 36


def test_attribution_trains_its_own_model(place: Path, tmp_path: Path) -> None:
    lines = [line for name in NAMES for line in lines_of(name, 30, 5)]
    texts = [json.loads(line)["text"] for line in lines]
    ask = [" ".join(words_of("red")[:6])]
    out = tmp_path / "out"
    told = dataworth.attribute("tiny", texts, ask, trained="3k", sample=20, out=out, dry_run=True)
    assert told.facts["parameters"] > 50_000 and not out.exists()
    options = {"trained": "6k", "sample": 20, "top": 5, "out": out}
    found = dataworth.attribute("tiny", texts, ask, **options)
    helpful = ["".join(text for text, _ in doc["pieces"]) for doc in found.queries[0]["helpful"]]
    assert sum(text.startswith("red") for text in helpful) >= 4
    again = dataworth.attribute("tiny", texts, ask, **options)
    assert np.array_equal(again.scores, found.scores)
    facts = json.loads((out / "proxies" / "proxies.json").read_text())
    assert facts["models"][0]["tokens"] == 6144


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": "huge"}, "no size 'huge'; there are tiny"),
        ({"seeds": 0}, "at least 1"),
        ({"tokens": "1GB"}, "500k"),
        ({"tokens": "1k", "checkpoints": 9}, "9 checkpoints of a training of 2 steps"),
    ],
)
def test_wrong_options(place: Path, options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        dataworth.proxy(place / "pool.jsonl", **{**FEW, **options})  # type: ignore[arg-type]
