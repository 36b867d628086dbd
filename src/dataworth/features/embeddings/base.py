"""The interface of embedders, and helpers that all of them share."""

from __future__ import annotations

import hashlib
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cache, wraps
from pathlib import Path
from typing import Any, ClassVar, Concatenate, ParamSpec, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.errors import ConfigError

P = ParamSpec("P")
R = TypeVar("R")
Vectors = NDArray[np.float32]
Texts = Documents | Sequence[str]

_LOOKS, _LOOK_BYTES = 16, 1 << 16
# What may decide about a model's numbers; licences and read-mes may change without a new model.
_PARTS = (".safetensors", ".bin", ".npy", ".parquet", ".model", ".txt", ".json")
_BATCH_BYTES = 1 << 23
_FETCHED = ["*.safetensors", "*.json", "*.txt", "*.model"]


class Embedder(Protocol):
    """Texts → vectors. It is a `Feature` too, so that a column can be made of it."""

    @property
    def name(self) -> str:
        """The kind of embedding."""
        ...

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """All that the vectors depend on, as JSON."""
        ...

    def embed(self, texts: Texts) -> Vectors:
        """Embed texts, float32 [n, dimension]; zeros for a text of which nothing is known."""
        ...


class VectorFeature(ABC):
    """A base class by which an embedder is a feature."""

    columns: ClassVar[tuple[str, ...]] = ()
    dtype: ClassVar[str] = "float32"

    @abstractmethod
    def embed(self, texts: Texts) -> Vectors:
        """Embed texts, float32 [n, dimension]."""

    def values(self, documents: Documents) -> Vectors:
        """Return the vectors of documents, which a column holds."""
        return self.embed(documents)


def as_documents(texts: Texts) -> Documents:
    """Wrap texts as documents; documents stay as they are."""
    return texts if isinstance(texts, Documents) else Documents.from_texts(list(texts))


def as_texts(texts: Texts) -> list[str]:
    """Return documents as a list of texts."""
    return texts.texts() if isinstance(texts, Documents) else list(texts)


def batches(documents: Documents) -> list[tuple[int, int]]:
    """Split documents into ranges of about 8 MiB of text, whose lists of tokens fit into memory."""
    ends = np.cumsum(documents.text_bytes)
    edges = [0]
    while edges[-1] < len(documents):
        before = int(ends[edges[-1] - 1]) if edges[-1] else 0
        stop = int(np.searchsorted(ends, before + _BATCH_BYTES, side="right"))
        edges.append(max(stop, edges[-1] + 1))
    return list(itertools.pairwise(edges))


def flat_ids(tokenizer: Any, texts: list[str]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return every token's id, no special ones: (spans int64 [n+1], ids int32 [spans[-1]])."""
    found = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    spans = np.zeros(len(texts) + 1, np.int64)
    np.cumsum([len(item) for item in found], out=spans[1:])
    ids = np.fromiter((id_ for item in found for id_ in item.ids), np.int32, int(spans[-1]))
    return spans, ids


def unit_rows(vectors: NDArray[np.floating[Any]]) -> Vectors:
    """Scale rows to length 1; rows of zeros stay."""
    rows = np.asarray(vectors, np.float32)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(length > 0, length, 1), np.float32)


def model_folder(model: str, what: str) -> Path:
    """Return a model's folder: itself if it is one, else the Hugging Face model of that name.

    Raises ConfigError if there is neither a folder nor, here or on the hub, a model of that name.
    """
    path = Path(model)
    if model and path.is_dir():
        return path.resolve()
    if not model or path.is_file() or model.startswith(("/", ".", "~")):
        raise ConfigError(f"{what}: {model!r} is no folder of a model")
    return _downloaded(model, what)


@cache
def _downloaded(model: str, what: str) -> Path:
    try:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(model, allow_patterns=_FETCHED))
    except Exception as error:  # the hub's library raises many kinds, also without a network
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigError(
            f"{what}: {model!r} is neither a folder nor a model that could be loaded from the "
            f"Hugging Face hub ({reason}); give the path of a folder"
        ) from error


def kept_by_folder(load: Callable[Concatenate[str, P], R]) -> Callable[Concatenate[str, P], R]:
    """Return `load` with what it makes of a folder kept, until a file there changes."""
    known: dict[Any, tuple[Any, R]] = {}

    @wraps(load)
    def read(folder: str, /, *rest: P.args, **options: P.kwargs) -> R:
        place, files = (folder, *rest, *options.items()), _files(Path(folder))
        if place not in known or known[place][0] != files:
            known[place] = (files, load(folder, *rest, **options))
        return known[place][1]

    return read


def _files(folder: Path) -> list[tuple[Path, int, int]]:
    """Return name, size and time of the files of a model."""
    files = [path for path in folder.rglob("*") if path.suffix in _PARTS and path.is_file()]
    return sorted((path, path.stat().st_size, path.stat().st_mtime_ns) for path in files)


def folder_identity(folder: Path) -> str:
    """Return 32 hexadecimal digits that identify a model's folder, wherever it lies.

    Of every file of weights, vocabulary and configuration: its name, size, and sixteen stretches
    of 64 KiB spread evenly over it, with its first and last bytes. That takes no time on models of
    gigabytes, and training changes weights everywhere.
    """
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_file() or path.suffix not in _PARTS or name.startswith("."):
            continue
        size = path.stat().st_size
        digest.update(f"{name}\0{size}\0".encode())
        with path.open("rb") as file:
            last = max(size - _LOOK_BYTES, 0)
            for place in sorted({last * look // (_LOOKS - 1) for look in range(_LOOKS)}):
                file.seek(place)
                digest.update(file.read(_LOOK_BYTES))
    return digest.hexdigest()
