"""Small models of a pool, for what asks a model about each document: trained on random documents.

proxies.json   what was asked for, the files read, and each model: folder, seed, tokens, loss
seed-0/ …      the models, each with its tokenizer
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.engine.device import AUTO, check_device, find_device
from dataworth.engine.files import damaged, local_path, read_object, sweep, write_json
from dataworth.engine.local import Engine
from dataworth.engine.progress import Progress
from dataworth.errors import ConfigError, InputError, check_extra
from dataworth.flow.given import engine_of, fields_of
from dataworth.flow.identity import documents_record
from dataworth.flow.scoring import check_pool, input_record
from dataworth.mechanism.budget import parse_budget
from dataworth.options import check
from dataworth.options.calls import ProxyOptions, same
from dataworth.table import survey as surveys
from dataworth.table.folder import WorkFolder, differences, differing
from dataworth.version import __version__

log = logging.getLogger("dataworth")

FILE = "proxies.json"
SEED_FOLDERS = "seed-*"
TEXT_PER_TOKEN = 5
"""Bytes of text that are read for each token trained on: more than a token has, so that no text is
trained on twice, and models of different seeds have seen different parts of it."""
_TOKENIZER_BYTES = 8 * 2**20  # of the pool's sample that the tokenizer is trained on


@dataclass(frozen=True)
class ProxySettings:
    """Settings of the trained models. `size`: a name. `seeds`: models; `checkpoints`: of each.

    `tokenizer`: a file, or "" to train one of `vocabulary` tokens. `seed`: of the first model, of
    the documents and of the order in which they are read.
    """

    size: str = same(ProxyOptions, "size")
    tokens: int = 1_000_000
    seeds: int = same(ProxyOptions, "seeds")
    checkpoints: int = same(ProxyOptions, "checkpoints")
    vocabulary: int = same(ProxyOptions, "vocabulary")
    tokenizer: str = ""
    seed: int = same(ProxyOptions, "seed")
    max_bad: float = same(ProxyOptions, "max_bad")

    def __post_init__(self) -> None:
        check(self)
        if self.tokens < 1:
            raise ConfigError("tokens is at least 1")


class Proxies:
    """Models that were trained.

    `models`: folders, one for each seed. `checkpoints`: all that were kept, seed after seed, with
    `learning_rates` beside them. `facts`: what proxies.json holds.
    """

    def __init__(
        self, folder: Path, facts: dict[str, Any], keep: TemporaryDirectory[str] | None = None
    ) -> None:
        self.folder = folder
        self.facts = facts
        self._keep = keep

    def __repr__(self) -> str:
        return f"Proxies({len(self.models)} models, {len(self.checkpoints)} checkpoints)"

    @property
    def models(self) -> list[str]:
        """The folders of the finished models, by seed."""
        return [self._path(one) for one in self.facts["models"] if one["last"]]

    @property
    def checkpoints(self) -> list[str]:
        """The folders of all checkpoints, by seed and step; the last of each seed is its model."""
        return [self._path(one) for one in self.facts["models"]]

    @property
    def learning_rates(self) -> list[float]:
        """At each of the checkpoints."""
        return [float(one["learning_rate"]) for one in self.facts["models"]]

    def _path(self, one: dict[str, Any]) -> str:
        return str(self.folder / one["folder"])


class ProxyFolder(WorkFolder):
    """A folder of proxies, locked while it is open."""

    noun = "models"
    record_file = FILE
    mark = "proxies"
    ours = ()
    our_files = ("tokenizer.json",)
    early = ("spool",)

    def clear(self) -> None:
        """Remove the models too."""
        for path in self.folder.glob(SEED_FOLDERS):
            if (path / "config.json").is_file():
                shutil.rmtree(path, ignore_errors=True)
        super().clear()

    @staticmethod
    def open(folder: Path, record: dict[str, Any], *, overwrite: bool) -> ProxyFolder:
        """Start, or go on with what is there; RunError for a folder that holds something else."""
        opened = ProxyFolder.locked(folder)
        try:
            path = folder / FILE
            if overwrite:
                opened.clear()
            sweep(folder)
            if not path.is_file():
                write_json(path, {**record, "models": []})
            known = read_object(path)
            changes = list(differences({name: known.get(name) for name in record}, record))
            if changes:
                raise differing(folder, "holds other models", changes)
        except BaseException:
            opened.close()
            raise
        return opened


def run_proxies(options: ProxyOptions) -> Proxies:
    """Open the pool, then train; see `dataworth.proxy`."""
    check_device(options.device)
    check_extra("training a model", "lm")
    find_device(options.device)  # before any work
    tokenizer = "" if options.tokenizer is None else str(Path(options.tokenizer).absolute())
    own = {name: getattr(options, name) for name in ProxySettings.__dataclass_fields__}
    own |= {"tokens": tokens_of(options.tokens), "tokenizer": tokenizer}
    settings, out = ProxySettings(**own), options.out
    keep = TemporaryDirectory(prefix="dataworth-") if out is None else None
    folder = Path(keep.name) / "proxies" if keep is not None else local_path(str(out)).absolute()
    corpus = Corpus.open(
        options.pool,
        fields=fields_of(options),
        spool=folder / "spool",
        storage_options=options.storage_options,
        out=None if keep is not None else folder,
    )
    return train_proxies(
        corpus,
        settings,
        folder,
        engine=engine_of(options.engine),
        progress=options.progress or Progress(),
        overwrite=options.overwrite,
        device=options.device,
        keep=keep,
    )


def tokens_of(given: str | int) -> int:
    """Parse a number of tokens such as 500k. Raises ConfigError."""
    budget = parse_budget(given)
    if budget.unit != "tokens":
        raise ConfigError(f"tokens: a number of tokens such as 500k, not {given!r}")
    return int(budget.amount)


def train_proxies(
    corpus: Corpus,
    settings: ProxySettings,
    folder: Path,
    *,
    engine: Engine,
    progress: Progress,
    overwrite: bool = False,
    device: str = AUTO,
    keep: TemporaryDirectory[str] | None = None,
) -> Proxies:
    """Train the models that are not there yet; see `dataworth.proxy`."""
    from dataworth.lm.proxies import size_of, train_kept
    from dataworth.lm.tokenizer import load_tokenizer, save_tokenizer, train_tokenizer

    size_of(settings.size)
    record = {
        "proxies": {
            name: value
            for name, value in vars(settings).items()
            if name not in ("seeds", "max_bad")  # more of them may be added
        },
        "pool": documents_record(corpus, input_record(corpus)),
        "made_by": __version__,
    }
    with ProxyFolder.open(folder, record, overwrite=overwrite):
        facts = read_object(folder / FILE)
        _check_models(folder / FILE, facts)
        done = {int(one["seed"]) for one in facts["models"] if one["last"]}
        seeds = [settings.seed + i for i in range(settings.seeds)]
        left = [seed for seed in seeds if seed not in done]
        if left:
            sample = _sample(corpus, settings, engine, progress)
            path = folder / "tokenizer.json"
            if not path.is_file():
                some = _first(sample, _TOKENIZER_BYTES)
                made = (
                    load_tokenizer(settings.tokenizer)
                    if settings.tokenizer
                    else train_tokenizer(some.texts(), settings.vocabulary)
                )
                save_tokenizer(made, path)
            tokenizer = load_tokenizer(path)
            texts = _first(sample, settings.tokens * TEXT_PER_TOKEN).texts()
        for seed in left:
            kept = train_kept(
                texts,
                tokenizer,
                folder,
                size=settings.size,
                tokens=settings.tokens,
                seed=seed,
                points=settings.checkpoints,
                device=device,
            )
            facts["models"] = [*facts["models"], *(one.as_dict() for one in kept)]
            facts["models"].sort(key=lambda one: (one["seed"], one["step"]))
            write_json(folder / FILE, facts)
            log.info("proxy: %s, %.2f nats per token", folder / kept[-1].folder, kept[-1].loss)
    shown = {**facts, "models": [one for one in facts["models"] if one["seed"] in seeds]}
    return Proxies(folder, shown, keep)


def _check_models(path: Path, facts: dict[str, Any]) -> None:
    """Raise RunError for a record whose models are none, or lie outside of the folder."""
    with damaged(path):
        for one in facts["models"]:
            place = Path(one["folder"])
            if place.is_absolute() or ".." in place.parts:
                raise ValueError(f"{place} is not in the folder")
            _ = int(one["seed"]), int(one["step"]), float(one["learning_rate"]), bool(one["last"])


def _sample(
    corpus: Corpus, settings: ProxySettings, engine: Engine, progress: Progress
) -> Documents:
    """Return random documents of the pool, enough for the tokens and for the tokenizer."""
    enough = max(settings.tokens * TEXT_PER_TOKEN, _TOKENIZER_BYTES)
    surveyed = surveys.survey(
        corpus, engine, seed=settings.seed, sample_bytes=enough, progress=progress
    )
    check_pool(surveyed.bad, surveyed.documents, corpus, settings.max_bad, whole=surveyed.whole)
    if not int(surveyed.sample.text_bytes.sum()):
        raise InputError("the pool's documents are empty: there is nothing to train a model on")
    return surveyed.sample


def _first(documents: Documents, size: int) -> Documents:
    """Return the first documents, together about `size` bytes."""
    enough = int(np.searchsorted(np.cumsum(documents.text_bytes), size)) + 1
    return documents.take(np.arange(min(enough, len(documents))))
