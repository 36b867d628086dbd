"""What the study of embeddings works on: documents by role, two language models, the vectors.

Used by embeddings.py, which measures and writes the tables. All that is dear lies in the scratch
folder and is used again: token streams, models, stores (which go on where they stopped), measures.

Roles, by a hash of uid: enough documents for `judge_tokens` train the judge model, whose losses on
all others are what embeddings are judged by. Enough for `proxy_tokens` of the others train the
proxy model, whose embeddings are judged: it has its own seed, so the two share no more than the
tokenizer. Of what is left, `documents` are the study's, and some more are for validation.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from common import cores, data_folder, scratch
from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.corpus.fields import Fields
from dataworth.corpus.uid import hash_uid
from dataworth.engine.files import atomic, read_json, write_json
from dataworth.engine.local import Engine
from dataworth.engine.progress import Progress
from dataworth.features.embeddings import (
    DistilledVectors,
    NgramProjection,
    SentenceModel,
    StateAverage,
    TokenAverage,
    Vectors,
    WordVectors,
    distil,
    fit_centring,
)
from dataworth.features.feature import Feature, FeatureColumn
from dataworth.features.losses import DocumentLosses, per_token
from dataworth.flow.features import feature_column

BYTES_PER_TOKEN = 2.8  # of our tokenizer on this pool, about
FILES = 16  # that a subset is written to: units for several workers
_STREAM = 0x726F6C6573  # of `hash_uid`: roles
RANDOM, UNTRAINED = "random vectors", "averaged tokens, untrained model"
TOKENS, STATES = "averaged tokens", "averaged last states"
MINILM, STATIC, GLOVE = "MiniLM", "distilled from MiniLM", "GloVe"
SIF, NGRAMS = "GloVe, rare words more", "n-gram projection"
EMBEDDINGS = (TOKENS, STATES, MINILM, STATIC, GLOVE, SIF, NGRAMS, UNTRAINED, RANDOM)
CHEAP = (TOKENS, STATIC, GLOVE, SIF, NGRAMS, UNTRAINED, RANDOM)
"""Those that are computed for the whole pool."""


@dataclass(frozen=True)
class Sizes:
    """What a run of the study is made with.

    `documents`: of the study; `validation`: documents of each domain, at most. `judge`, `proxy`:
    names of `lm.model.SIZES`; `judge_tokens`, `proxy_tokens`: what they are trained on. `window`:
    first tokens of a document whose loss counts. `wide`: documents for the measures of the cheap
    embeddings, at most all that the judge model was not trained on; 0 to leave these out.
    """

    documents: int = 6_000
    validation: int = 25
    judge: str = "small"
    judge_tokens: int = 8_000_000
    proxy: str = "small"
    proxy_tokens: int = 4_000_000
    window: int = 256
    wide: int = 100_000


class Study:
    """The documents, models and vectors of one run, computed when they are first asked for."""

    def __init__(self, sizes: Sizes, workers: int) -> None:
        self.sizes = sizes
        name = hashlib.blake2b(json.dumps(asdict(sizes)).encode(), digest_size=4).hexdigest()
        self.folder = scratch(f"embeddings/{name}")
        write_json(self.folder / "sizes.json", asdict(sizes))
        self.engine = Engine(workers or cores())
        self.progress = Progress("lines", every=60)

    @cached_property
    def pool(self) -> Corpus:
        """The real pool."""
        return Corpus.open(data_folder() / "pool", fields=Fields(groups=("domain", "source")))

    @cached_property
    def documents(self) -> Documents:
        """All documents of the pool in memory, exact copies left out, in the order of the roles."""
        blocks = [block.documents for unit in self.pool.units for block in self.pool.blocks(unit)]
        whole = Documents.concatenate(blocks)
        _, first = np.unique(whole.uid, return_index=True)
        first = np.sort(first)
        # Place in its source, from 0 to 1: where a piece stands in its book.
        sources = np.unique(whole.columns["source"].to_numpy(False)[first], return_inverse=True)[1]
        place = np.empty(len(first))
        for source in range(int(sources.max()) + 1):
            rows = np.flatnonzero(sources == source)
            place[rows] = np.arange(len(rows)) / len(rows)
        order = np.argsort(hash_uid(0, whole.uid[first], _STREAM))
        self._place = place[order]
        return whole.take(first[order])

    @cached_property
    def roles(self) -> dict[str, NDArray[np.int64]]:
        """Rows of `documents` for "judge", "proxy", "study", "validation"; "rest" is all but judge.

        The study comes first in "rest", so that the wide measures hold it. "all" is the pool, if
        `wide` asks for so many.
        """
        sizes, ends = self.sizes, np.cumsum(self.documents.text_bytes) / BYTES_PER_TOKEN
        judge = int(np.searchsorted(ends, sizes.judge_tokens)) + 1
        proxy = int(np.searchsorted(ends, sizes.judge_tokens + sizes.proxy_tokens)) + 1
        study = proxy + sizes.documents
        total = len(self.documents)
        if study >= total:
            raise SystemExit(f"the pool has {total:,} documents, too few for these sizes")
        held: list[int] = []
        left: dict[int, int] = {}
        domains = self.codes("domain")
        for row in range(study, total):
            domain = int(domains[row])
            if left.setdefault(domain, sizes.validation) > 0:
                left[domain] -= 1
                held.append(row)
        rest = np.concatenate(
            [np.arange(proxy, study), np.arange(judge, proxy), np.arange(study, total)]
        )
        return {
            "judge": np.arange(judge),
            "proxy": np.arange(judge, proxy),
            "study": np.arange(proxy, study),
            "validation": np.array(held, np.int64),
            "rest": rest[: self.sizes.wide],
            "all": np.arange(total if self.sizes.wide >= total else 0),
        }

    def codes(self, name: str) -> NDArray[np.int64]:
        """A group field of all documents as codes by name, int64 [documents]."""
        values = self.documents.columns[name].to_numpy(False)
        return np.unique(values.astype(str), return_inverse=True)[1].astype(np.int64)

    def covariates(self, rows: NDArray[np.int64]) -> dict[str, dict[str, NDArray[Any]]]:
        """Trivial signals of some documents: `numbers` and `labels` for `residualise`.

        The language is known by the source, within the multilingual domain alone; the share of
        bytes beyond ASCII stands for scripts elsewhere.
        """
        documents = self.documents.take(rows)
        beyond = np.array(
            [
                (documents.data[start:end] > 127).mean()
                for start, end in zip(documents.starts, documents.ends, strict=True)
            ]
        )
        domain = documents.columns["domain"].to_numpy(False)
        source = documents.columns["source"].to_numpy(False)
        language = np.where(domain == "multilingual", source, "").astype(str)
        numbers = {
            "log bytes": np.log(documents.text_bytes),
            "beyond ASCII": beyond,
            "place in its source": self._place[rows],
        }
        return {"numbers": numbers, "labels": {"language": language}}

    def corpus(self, role: str) -> Corpus:
        """The documents of a role as files, in the role's order."""
        folder, rows = self.folder / "corpora" / role, self.roles[role]
        edges = np.linspace(0, len(rows), FILES + 1).astype(int)
        for number in range(FILES):
            path = folder / f"{number:02d}.jsonl"
            if not path.exists():
                with atomic(path) as temporary, temporary.open("wb") as file:
                    for row in rows[edges[number] : edges[number + 1]].tolist():
                        file.write(orjson.dumps({"text": self.documents.text(row)}) + b"\n")
        return Corpus.open(folder)

    def model(self, role: str) -> str:
        """The folder of the judge or proxy model, trained on its role's documents."""
        from dataworth.lm.model import SIZES, save_model
        from dataworth.lm.model import build as new_model
        from dataworth.lm.packing import open_stream, write_stream
        from dataworth.lm.training import TrainConfig, train

        folder = self.folder / "models" / role
        if (folder / "config.json").exists():
            return str(folder)
        untrained = role == "untrained"
        size = SIZES[self.sizes.proxy if untrained else getattr(self.sizes, role)]
        model = new_model(size.model, 0 if role == "judge" else 1)
        if not untrained:
            stream_folder = self.folder / "streams" / role
            if not stream_folder.exists():
                texts = (self.documents.text(row) for row in self.roles[role].tolist())
                write_stream(texts, self.tokenizer, stream_folder)
            print(f"training the {role} model", flush=True)
            config = TrainConfig(
                tokens=getattr(self.sizes, f"{role}_tokens"),
                learning_rate=size.learning_rate,
                batch_sequences=size.batch_sequences,
                checkpoint_every=200,
                seed=0 if role == "judge" else 1,
            )
            stream = open_stream(stream_folder)
            trained = train(model, stream, config, folder=self.folder / "checkpoints" / role)
            facts = {"seconds": trained.seconds, "epochs": trained.epochs, "curve": trained.curve}
            write_json(self.folder / "models" / f"{role}.json", facts)
        save_model(model, folder, self.tokenizer)
        return str(folder)

    @cached_property
    def tokenizer(self) -> Any:
        """4,096 tokens, learned from documents of the two models."""
        from dataworth.lm.tokenizer import load_tokenizer, save_tokenizer, train_tokenizer

        path = self.folder / "tokenizer.json"
        if not path.exists():
            rows = [*self.roles["judge"][:4000].tolist(), *self.roles["proxy"][:4000].tolist()]
            save_tokenizer(train_tokenizer(self.documents.text(row) for row in rows), path)
        return load_tokenizer(path)

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each document of the study, its end included, int64 [documents]."""
        texts = [self.documents.text(row) for row in self.roles["study"].tolist()]
        found = self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return np.array([len(item.ids) + 1 for item in found], np.int64)

    def embedder(self, name: str) -> Feature:
        """The embedder of a row of the tables."""
        makers: dict[str, Callable[[], Feature]] = {
            TOKENS: lambda: TokenAverage(self.model("proxy")),
            STATES: lambda: StateAverage(self.model("proxy"), windows=0),
            UNTRAINED: lambda: TokenAverage(self.model("untrained")),
            MINILM: SentenceModel,
            STATIC: self._static,
            GLOVE: WordVectors,
            SIF: lambda: WordVectors(sif=1e-3),
            NGRAMS: NgramProjection,
        }
        return makers[name]()

    def _static(self) -> DistilledVectors:
        folder = scratch("embeddings/distilled-minilm")
        if not (folder / "model.safetensors").exists():
            print("distilling a static model", flush=True)
            distil("", folder)
        return DistilledVectors(str(folder))

    def column(self, name: str, *, wide: bool) -> FeatureColumn:
        """An embedder's vectors over the study, or, if `wide`, over the whole pool."""
        corpus = self.pool if wide else self.corpus("study")
        folder = self.folder / "stores" / ("pool" if wide else "study") / slug(name)
        return feature_column(corpus, self.embedder(name), folder, self.engine, self.progress)

    def vectors(self, name: str, role: str) -> Vectors:
        """The vectors of "study" or "rest", as they were computed, float32 [rows, dimension]."""
        rows = self.roles[role]
        if name == RANDOM:
            return np.random.default_rng(0).normal(size=(len(rows), 256)).astype(np.float32)
        wide = name in CHEAP and self.sizes.wide > 0
        if not wide and role != "study":
            raise ValueError(f"{name} is computed for the study alone")
        column = self.column(name, wide=wide)
        return column.rows(column.find(self.documents.uid[rows]))

    def centred(self, name: str, role: str, components: int = 0) -> Vectors:
        """The same without their mean, and first `components`, of length 1."""
        vectors = self.vectors(name, role)
        return fit_centring(vectors, components)(vectors)

    def losses(self, role: str) -> NDArray[np.float64]:
        """The judge model's loss a token of "study" or "rest", nats, over the window."""
        feature = DocumentLosses(self.model("judge"), window=self.sizes.window)
        folder = self.folder / "stores" / role / "losses"
        losses = feature_column(self.corpus(role), feature, folder, self.engine, self.progress)
        return per_token(losses)[losses.find(self.documents.uid[self.roles[role]])]

    def unigram_losses(self, role: str) -> NDArray[np.float64]:
        """The mean loss over the window under the frequencies of tokens that the judge has seen."""
        from dataworth.lm.packing import open_stream

        self.model("judge")  # writes its stream
        stream = open_stream(self.folder / "streams" / "judge")
        counts = np.bincount(stream.tokens, minlength=stream.vocabulary) + 1.0
        nats = np.log(counts.sum()) - np.log(counts)
        texts = [self.documents.text(row) for row in self.roles[role].tolist()]
        out = np.empty(len(texts))
        for start in range(0, len(texts), 1024):
            some = self.tokenizer.encode_batch_fast(texts[start : start + 1024])
            out[start : start + 1024] = [
                nats[item.ids[: self.sizes.window]].mean() for item in some
            ]
        return out

    def kept(self, name: str, compute: Callable[[], Any]) -> Any:
        """A result that is JSON: computed once."""
        path = self.folder / "results" / f"{name}.json"
        if not path.exists():
            write_json(path, compute())
        return read_json(path)


def slug(name: str) -> str:
    """A name as part of a file's name."""
    return name.replace(",", "").replace(" ", "-").lower()
