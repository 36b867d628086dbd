"""Static models of model2vec: a vector for each token, distilled from a sentence model."""

from __future__ import annotations

import logging
import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.corpus.uid import checks, uids
from dataworth.errors import ConfigError, MissingExtra
from dataworth.features.embeddings.averages import average_rows
from dataworth.features.embeddings.base import (
    Texts,
    VectorFeature,
    Vectors,
    as_documents,
    batches,
    flat_ids,
    folder_identity,
    kept_by_folder,
    model_folder,
    unit_rows,
)
from dataworth.features.embeddings.running import one_thread
from dataworth.features.embeddings.sentence import SentenceModel, minilm_folder

_CHARACTER = 10  # the rank that characters get
_SPECIAL = re.compile(r"\[.+\]|<.+>")
_REMEMBERED = 1 << 15  # texts: 32 MiB of 256 numbers each
_RECIPE = 1  # of `distil`, grows when its results change
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DistilledVectors(VectorFeature):
    """A static model of model2vec: a vector for each token, distilled from a sentence model.

    `model`: a folder that `StaticModel.save_pretrained` wrote, or a name on the Hugging Face hub.
    All of a text counts. Needs the extra `embed`; without a network a folder can be made of any
    sentence model at hand by `distil`. Default: that of MiniLM, see `default_folder`.
    """

    model: str = ""

    name = "distilled_vectors"

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(_load(self._folder).table.shape[1])

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that determine the vectors."""
        return {"files": folder_identity(Path(self._folder))}

    def embed(self, texts: Texts) -> Vectors:
        """Embed texts as `StaticModel.encode` does with no token limit, float32 [n, dimension]."""
        documents, loaded = as_documents(texts), _load(self._folder)
        out = np.empty((len(documents), self.dimension), np.float32)
        for start, stop in batches(documents):
            part = documents.take(np.arange(start, stop)).texts()
            spans, ids = flat_ids(loaded.tokenizer, part)
            ids[ids == loaded.unknown] = -1
            out[start:stop] = average_rows(spans, ids, loaded.table)
        return unit_rows(out) if loaded.unit else out

    def values(self, documents: Documents) -> Vectors:
        """Return the vectors of documents; those of texts that were asked for lately are known.

        A step reads its sample when it is fitted and again when it annotates, and so does the next.
        """
        return _load(self._folder).recent.values(documents, self.embed)

    @property
    def _folder(self) -> str:
        return str(model_folder(self.model or default_folder(), "distilled vectors"))


def default_folder() -> str:
    """Return where the static model of MiniLM is kept; it is made where it is not there.

    That takes about a minute of one core, once: it stays in `$XDG_CACHE_HOME/dataworth`, or
    `~/.cache/dataworth`, under a name by the files of MiniLM. ConfigError without that package, or
    where the folder cannot be written.
    """
    source = folder_identity(Path(minilm_folder()))[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "dataworth"
    folder = cache / f"distilled-{_RECIPE}-{source}"
    if not folder.is_dir():
        log.warning("distilling a static model of MiniLM into %s: about a minute, once", folder)
        try:
            cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=cache) as temporary, one_thread("embed"):
                distil("", Path(temporary) / "model")
                if not folder.is_dir():  # another process may have been faster
                    (Path(temporary) / "model").rename(folder)
        except OSError as error:
            raise ConfigError(
                f"{folder}: cannot be written ({error.strerror}); set XDG_CACHE_HOME to a folder "
                "that can, or make a model by dataworth.features.embeddings.distil and give model="
            ) from error
    return str(folder)


def distil(
    model: str, folder: str | Path, *, dimensions: int = 256, sif: float = 3e-4
) -> DistilledVectors:
    """Make a static model of a sentence model, in a folder that model2vec loads.

    `model`: as in `SentenceModel`; "" is MiniLM (about a minute of one core). Each token's vector
    is the mean of its last hidden states when it stands alone between the special tokens; then the
    first principal `dimensions`; then the weight a / (a + p), p by Zipf's law. That is model2vec's
    recipe, whose `distill` asks for an older transformers, but for p: vocabularies list words by
    falling frequency behind special tokens and characters, which model2vec counts too. Here rank 1
    is the first word, a character has rank 10, and a special token weighs nothing.
    """
    try:
        from model2vec import StaticModel
    except ImportError as error:
        raise MissingExtra("distilling a static model", "embed") from error
    loaded = SentenceModel(model)._loaded
    tokens = range(loaded.tokenizer.get_vocab_size())
    if not 1 <= dimensions <= loaded.dimension:
        raise ConfigError(f"distil: dimensions must lie between 1 and {loaded.dimension}")
    rows = [
        loaded.means([[*loaded.head, token, *loaded.tail] for token in tokens[start : start + 512]])
        for start in range(0, len(tokens), 512)
    ]
    vectors = np.concatenate(rows).astype(np.float64)
    vectors -= vectors.mean(axis=0)
    _, axes = np.linalg.eigh(vectors.T @ vectors)
    vectors = vectors @ axes[:, ::-1][:, :dimensions]
    share = zipf_shares(loaded.tokenizer)
    vectors *= np.where(np.isfinite(share), sif / (sif + share), 0)[:, None]
    static = StaticModel(
        vectors.astype(np.float32), loaded.tokenizer, normalize=True, max_length=None
    )
    static.save_pretrained(str(folder))
    return DistilledVectors(str(folder))


def zipf_shares(tokenizer: Any) -> NDArray[np.float64]:
    """Return the share of text of each token by Zipf's law, [vocabulary]; inf for special ones."""
    names = [tokenizer.id_to_token(token) or "" for token in range(tokenizer.get_vocab_size())]
    special = np.array([bool(_SPECIAL.fullmatch(name)) for name in names])
    single = np.array([len(name.removeprefix("##").lstrip("Ġ▁")) <= 1 for name in names]) & ~special
    rank = np.cumsum(~single & ~special).astype(np.float64)
    total = float((1 / np.arange(1, max(rank[-1], 1) + 1)).sum())
    rank[single] = _CHARACTER
    return np.where(special, np.inf, 1 / (total * np.maximum(rank, 1)))


class _Recent:
    """Vectors of the texts that were asked for last, in this process, by two hashes of each."""

    def __init__(self) -> None:
        self._vectors: dict[tuple[int, int], Vectors] = {}

    def values(self, documents: Documents, embed: Callable[[Documents], Vectors]) -> Vectors:
        """Return the vectors; `embed` is asked for those that are not known, a row each."""
        one = documents
        hashes = (hashed(one.data, one.starts, one.ends).tolist() for hashed in (uids, checks))
        keys = list(zip(*hashes, strict=True))
        found = [self._vectors.get(key) for key in keys]
        new = [row for row, vector in enumerate(found) if vector is None]
        if len(new) == len(keys):
            made = embed(documents)
        else:
            made = embed(documents.take(np.array(new, np.int64)))
        known = self._vectors if len(self._vectors) + len(new) <= _REMEMBERED else {}
        for row, vector in zip(new, made, strict=True):
            found[row] = known[keys[row]] = vector
        self._vectors = known
        return made if len(new) == len(keys) else np.stack([v for v in found if v is not None])


@dataclass(frozen=True)
class _Loaded:
    """`table` float32 [vocabulary, d]: each token's vector with its weight; `unknown`: a token."""

    tokenizer: Any
    table: Vectors
    unknown: int
    unit: bool
    recent: _Recent = field(default_factory=_Recent)


@kept_by_folder
def _load(folder: str) -> _Loaded:
    try:
        from model2vec import StaticModel
        from safetensors import SafetensorError
    except ImportError as error:
        raise MissingExtra("a static model of model2vec", "embed") from error
    try:
        model = StaticModel.from_pretrained(folder)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise ConfigError(f"{folder}: holds no static model of model2vec ({error})") from error
    # A tokenizer of its own: the model's is cut off at the model's longest text.
    tokenizer = type(model.tokenizer).from_str(model.tokenizer.to_str())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    table = model.embedding.astype(np.float32)
    if model.token_mapping is not None:
        table = table[model.token_mapping]
    if model.weights is not None:
        table = table * np.asarray(model.weights, np.float32)[:, None]
    unknown = -1 if model.unk_token_id is None else int(model.unk_token_id)
    return _Loaded(tokenizer, np.ascontiguousarray(table), unknown, bool(model.normalize))
