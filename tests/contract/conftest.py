"""About thirty documents, and language models of two layers, built once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dataworth
from contract.cases import DISTILLED, ESTIMATOR, HEAD, LIKE, MODELS, PAIRS, SENTENCE, Case
from contract.ways import cut_units
from dataworth.corpus.documents import Documents

UNIT_BYTES = 1_000
CHAT_TEMPLATE = "{% for turn in messages %}{{ turn.role }}: {{ turn.content }}\n{% endfor %}"


@dataclass(frozen=True)
class World:
    """A folder with a pool, targets and models; all paths are relative to it.

    `pool`: two files of rows with id, text and domain. `chats`: rows of messages.
    """

    folder: Path
    rows: Sequence[dict[str, Any]]
    pool: Path = Path("pool")
    target: Path = Path("target.jsonl")
    chats: Path = Path("chats.jsonl")
    _runs: dict[str, dataworth.Scores] = field(default_factory=dict)

    @property
    def texts(self) -> list[str]:
        """The pool's texts."""
        return [row["text"] for row in self.rows]

    def write(self, path: Path | str, rows: Sequence[dict[str, Any]]) -> Path:
        """Write rows as a file of the world, and return its path there."""
        whole = self.folder / path
        whole.parent.mkdir(parents=True, exist_ok=True)
        whole.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        return Path(path)

    def score(self, case: Case, out: Path, **options: Any) -> dataworth.Scores:
        """Score the pool as a case says."""
        wanted = {str(value) for value in case.options.values()}
        if {SENTENCE, DISTILLED} & wanted and not (self.folder / SENTENCE).exists():
            from features.models import sentence_folder  # its packages take long to import

            sentence_folder((self.folder / SENTENCE).parent, self.texts)
        if DISTILLED in wanted and not (self.folder / DISTILLED).exists():
            from dataworth.features.embeddings import distil

            distil(str(self.folder / SENTENCE), self.folder / DISTILLED, dimensions=8)
        if HEAD in wanted and not (self.folder / HEAD).exists():
            from features.models import head_folder

            head_folder(self.folder / HEAD, self.texts, labels=2)
        if ESTIMATOR in wanted and not (self.folder / ESTIMATOR).exists():
            from features.models import estimator_file

            labels = [row["domain"] == "sums" for row in self.rows]
            estimator_file(self.folder / ESTIMATOR, self.texts, labels)
        options = {"steps": case.steps, "engine": 1, **options}
        if "field" in case.options:
            options["group_by"] = [*options.get("group_by", ()), case.options["field"]]
        pool, target = options.pop("pool", self.pool), options.pop("target", self.target)
        return dataworth.score(pool, {"sums": target}, out=out, **options)

    def expected(self, case: Case) -> dataworth.Scores:
        """The run that all others are compared with; made when it is first asked for."""
        name = f"{case}{sorted(case.options.items())}"
        if name not in self._runs:
            out = self.folder / "expected" / str(len(self._runs))
            self._runs[name] = self.score(case, out)
        return self._runs[name]


@pytest.fixture(scope="session")
def _built(tmp_path_factory: pytest.TempPathFactory) -> World:
    import torch

    from features.models import causal_folder
    from methods.modelled import texts

    torch.set_num_threads(1)
    several = " ".join(texts("seas", 8, seed=3))  # windows of the models
    pairs = zip(texts("sums", 13), texts("seas", 13), strict=True)
    pool = [*(text for pair in pairs for text in pair), several, "東京 is far", "Two! (2)"]
    pool.append(pool[4])  # a copy
    target = texts("sums", 8, seed=1)
    kinds = ["sums", "seas"] * 13 + ["seas", "odd", "odd", "sums"]
    rows = [
        {"id": f"d{number}", "text": text, "domain": kind}
        for number, (text, kind) in enumerate(zip(pool, kinds, strict=True))
    ]
    world = World(tmp_path_factory.mktemp("world"), rows)
    world.write("pool/a.jsonl", rows[:17])
    world.write("pool/b.jsonl", rows[17:])
    world.write(world.target, [{"text": text} for text in target])
    world.write(world.chats, chats(pool))
    uids = Documents.from_texts(pool).uid.tolist()
    world.write("scores.jsonl", [{"uid": f"{u:016x}", "q": u % 7} for u in uids[:-3]])
    (world.folder / "words.txt").write_text("# licence: CC0\nsea\nsum\n")
    world.write("chats-target.jsonl", chats(target))
    _tables(world, kinds)
    for seed, name in enumerate(MODELS):
        folder = world.folder / name
        folder.parent.mkdir(exist_ok=True)
        causal_folder(folder, pool, hidden=8, seed=seed)
        (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
        _train(folder, pool)
    write_pairs(world.folder, [*pool, *target])
    _word_vectors(world.folder / "words", sorted({w for text in pool for w in text.split()}))
    return world


def chats(texts: Sequence[str]) -> list[dict[str, Any]]:
    """Each text as a question and an answer; the second is the first with the roles changed."""
    rows = []
    for text in [texts[0], *texts]:
        half = len(text) // 2
        roles = ("assistant", "user") if len(rows) == 1 else ("user", "assistant")
        parts = (text[:half], text[half:])
        turns = [{"role": role, "content": said} for role, said in zip(roles, parts, strict=True)]
        rows.append({"messages": turns})
    return rows


def _train(folder: Path, texts: Sequence[str]) -> None:
    """Take some steps of Adam, and keep its moments beside the model."""
    import torch

    from dataworth.lm.model import load_model, save_model
    from dataworth.lm.moments import save_moments
    from dataworth.lm.tokenizer import load_tokenizer
    from methods.modelled import loss

    model, tokenizer = load_model(folder), load_tokenizer(folder)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for text in texts:
        ids = torch.tensor([[0, *tokenizer.encode(text).ids, 0]])[:, :32]
        optimizer.zero_grad()
        loss(model, ids).backward()
        optimizer.step()
    save_model(model, folder, tokenizer)
    save_moments(folder, model.as_module(), optimizer, 0.01 * len(texts))


def _tables(world: World, kinds: Sequence[str]) -> None:
    """Write losses of models that order them as their scores do on sums, and not on others."""
    from dataworth.corpus.corpus import Corpus
    from dataworth.corpus.fields import Fields
    from methods.losses import losses_of, uids, write_tables

    fields = Fields(template="plain")
    talks, _ = Corpus.open(world.folder / world.chats, fields=fields).read_all()
    names = [*uids(world.texts), *(f"{uid:016x}" for uid in talks.uid.tolist())]
    good = [kind == "sums" for kind in [*kinds, kinds[0], *kinds]]
    rows = dict(zip(names, good, strict=True))
    write_tables(world.folder, list(rows), losses_of(list(rows.values())))


def _word_vectors(folder: Path, words: Sequence[str]) -> None:
    folder.mkdir()
    vectors = np.random.default_rng(0).standard_normal((len(words), 8)).astype(np.float32)
    np.save(folder / "vectors.npy", vectors)
    pq.write_table(pa.table({"word": list(words)}), folder / "words.parquet")


def write_pairs(folder: Path, texts: Sequence[str]) -> None:
    """Two vectors of each text in Parquet, and those of a target in a file of NumPy."""
    image = np.random.default_rng(1).standard_normal((len(texts), 8)).astype(np.float32)
    caption = image + np.random.default_rng(2).standard_normal(image.shape).astype(np.float32)
    columns = {"image": image.tolist(), "caption": caption.tolist()}
    pq.write_table(pa.table({"text": list(texts), **columns}), folder / PAIRS)
    np.save(folder / LIKE, image[:3])


@pytest.fixture
def world(_built: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The working folder, in which a pool has several units."""
    monkeypatch.chdir(_built.folder)
    cut_units(monkeypatch, UNIT_BYTES)
    yield _built
