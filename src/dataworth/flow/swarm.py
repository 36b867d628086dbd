"""A swarm: small models trained on many mixtures of a pool's groups.

swarm.json     what was asked for, the groups, and the targets that were measured
tokenizer.json, tokens/<n>/, held_out.parquet    what the models are trained and measured on
models/<n>/    a model for each mixture, runs/<n>.json its shares and losses
table.csv      all of them
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from dataworth.corpus.corpus import Corpus
from dataworth.engine.device import check_device, find_device
from dataworth.engine.files import (
    atomic,
    local_path,
    read_object,
    sweep,
    write_json,
    write_parquet,
)
from dataworth.engine.local import Engine
from dataworth.engine.progress import Progress
from dataworth.errors import ConfigError, InputError, check_extra
from dataworth.flow.amounts import parse_size
from dataworth.flow.domains import Domain, cut, read_domains
from dataworth.flow.given import fields_beside, fields_of
from dataworth.flow.identity import documents_record
from dataworth.flow.proxies import tokens_of
from dataworth.flow.scoring import input_record
from dataworth.flow.targets import called, named, open_targets, read_targets
from dataworth.flow.trainings import trainings
from dataworth.mixture.swarm import (
    FEWEST,
    FILE,
    GROUP,
    HELD_OUT,
    MODELS,
    ONLINE,
    ROUNDS,
    RUNS,
    TARGET,
    TARGETS,
    SwarmTable,
    draw_mixtures,
    read_table,
)
from dataworth.mixture.swarm_models import Run, TrainRuns, time_run
from dataworth.options import check
from dataworth.options.calls import SwarmOptions, same
from dataworth.table.folder import WorkFolder, differences, differing
from dataworth.version import __version__

log = logging.getLogger("dataworth")

_TOKENIZER_BYTES = 8 * 2**20
_RATIO_BYTES = 256 * 1024  # of a group's text whose tokens are counted
_TEXT_PER_TOKEN = 5  # bytes that are read for a token: more than one has


@dataclass(frozen=True)
class SwarmSettings:
    """The trainings of a swarm. `field`: its values are the groups. `mixtures`: how many models; 0
    prepares the groups' text alone, for mixtures that train themselves.

    `tokens`: of each training. `budget`: tokens of the run that the mixture is for, 0: all of the
    pool. `epochs`: most passes of that run over a group. A group's text in a training is the share
    tokens / budget of what it has, so that it is repeated as often as in that run. `held_out`:
    bytes of text of each group and target that losses are measured on. `holdout`: share of each
    target that is left for judging.
    """

    field: str
    mixtures: int = same(SwarmOptions, "mixtures")
    tokens: int = 500_000
    size: str = same(SwarmOptions, "size")
    budget: int = 0
    epochs: float = same(SwarmOptions, "epochs")
    held_out: int = 100_000
    vocabulary: int = same(SwarmOptions, "vocabulary")
    tokenizer: str = ""
    seed: int = same(SwarmOptions, "seed")
    max_bad: float = same(SwarmOptions, "max_bad")
    holdout: float = same(SwarmOptions, "holdout")

    def __post_init__(self) -> None:
        if self.mixtures and self.mixtures < FEWEST:
            raise ConfigError(
                f"a swarm has {FEWEST} mixtures or more, not {self.mixtures}: fewer tell nothing"
            )
        check(self)
        if min(self.tokens, self.held_out) < 1 or self.budget < 0:
            raise ConfigError("tokens, budget and held_out are at least 1")


@dataclass
class Swarm:
    """A swarm. `facts`: what swarm.json holds; in a dry run also the `seconds` that are left."""

    folder: Path
    facts: dict[str, Any]
    _keep: TemporaryDirectory[str] | None = field(default=None, repr=False)

    @property
    def models(self) -> int:
        """Number of models that are trained and measured."""
        return len(list((self.folder / RUNS).glob("*.json")))

    @property
    def mixtures(self) -> SwarmTable:
        """Shares and losses as arrays."""
        return read_table(self.folder)

    @property
    def table(self) -> pa.Table:
        """A row for each mixture: `share:GROUP`, `loss:group:GROUP` and `loss:target:TARGET`."""
        found = self.mixtures
        shares = {f"share:{n}": w for n, w in zip(found.names, found.weights.T, strict=True)}
        return pa.table({**shares, **{f"loss:{n}": v for n, v in found.losses.items()}})


class SwarmFolder(WorkFolder):
    """A folder of a swarm, locked while it is open."""

    noun = "swarm"
    record_file = FILE
    mark = "swarm"
    ours = (RUNS, MODELS, "tokens", ONLINE, ROUNDS)
    our_files = ("tokenizer.json", HELD_OUT, TARGETS, "table.csv")
    early = ("spool",)

    @staticmethod
    def open(folder: Path, record: dict[str, Any], *, overwrite: bool) -> SwarmFolder:
        """Start, or go on with what is there; RunError for a folder that holds something else."""
        opened = SwarmFolder.locked(folder)
        try:
            if overwrite:
                opened.clear()
            sweep(folder)
            if not (folder / FILE).is_file():
                write_json(folder / FILE, record)
            known = read_object(folder / FILE)
            changes = list(differences({name: known.get(name) for name in record}, record))
            if changes:
                raise differing(folder, "holds another swarm", changes)
        except BaseException:
            opened.close()
            raise
        return opened


def settings_of(options: SwarmOptions) -> SwarmSettings:
    """Return the settings of a call's options."""
    own = set(SwarmSettings.__dataclass_fields__) & set(SwarmOptions.__dataclass_fields__)
    values = {name: getattr(options, name) for name in own}
    values |= {
        "field": options.group_by,
        "tokens": tokens_of(options.tokens),
        "budget": 0 if options.budget is None else tokens_of(options.budget),
        "held_out": parse_size(options.held_out),
        "tokenizer": "" if options.tokenizer is None else str(Path(options.tokenizer).absolute()),
    }
    return SwarmSettings(**values)


def run_swarm(options: SwarmOptions) -> Swarm:
    """Train the models that are not there yet, and measure what is not; see `dataworth.swarm`."""
    fields, settings = fields_of(options, (options.group_by,)), settings_of(options)
    target_fields = fields_beside(fields, options.target_text_field, options.target_template)
    storage_options, device, out = options.storage_options, options.device, options.out
    dry_run, progress = options.dry_run, options.progress or Progress()
    engine = Engine(1, "threads") if options.engine in (None, 1) else options.engine
    if not isinstance(engine, Engine):
        engine = Engine(engine, "processes")
    check_device(device)
    check_extra("training a swarm", "lm")
    find_device(device)
    from dataworth.lm.proxies import size_of

    size_of(settings.size)
    keep = TemporaryDirectory(prefix="dataworth-") if out is None or dry_run else None
    there = None if out is None else local_path(str(out)).absolute()
    folder = Path(keep.name) / "swarm" if keep is not None else local_path(str(out)).absolute()
    targets = open_targets(
        named(options.target), target_fields, None if dry_run else folder / "spool", storage_options
    )
    corpus = Corpus.open(
        options.pool,
        fields=fields,
        spool=folder / "spool",
        storage_options=storage_options,
        out=there,
        others=called(targets),
    )
    asked = {k: v for k, v in vars(settings).items() if k not in ("mixtures", "max_bad", "holdout")}
    record = {
        "swarm": asked,
        "pool": documents_record(corpus, input_record(corpus)),
        "made_by": __version__,
    }
    with SwarmFolder.open(folder, record, overwrite=options.overwrite):
        if "domains" not in read_object(folder / FILE):
            _prepare(folder, corpus, settings, device, engine, progress)
        facts = read_object(folder / FILE)
        marks = _measured(folder, facts, targets, settings)
        facts["targets"] = {**facts.get("targets", {}), **marks}
        runs = _runs(facts, settings)
        work = TrainRuns(
            folder, settings.size, settings.tokens, settings.seed, facts["compiled"], device, marks
        )
        if dry_run:
            done = 0 if there is None else len(list((there / RUNS).glob("*.json")))
            left = max(len(runs) - done, 0)
            each = time_run(work, runs[0]) if runs else 0.0
            facts |= {"left": left, "seconds": left * each / min(engine.size, max(left, 1))}
            return Swarm(folder, facts, keep)
        write_json(folder / FILE, facts)
        _train(work, runs, engine, progress)
        shutil.rmtree(folder / "spool", ignore_errors=True)
        swarm = Swarm(folder, facts, keep)
        if runs:
            with atomic(folder / "table.csv") as temporary:
                pa_csv.write_csv(swarm.table, temporary)
    return swarm


def _prepare(
    folder: Path,
    corpus: Corpus,
    settings: SwarmSettings,
    device: str,
    engine: Engine,
    progress: Progress,
) -> None:
    """Read the pool once, and write the tokens and the held-out texts of each group."""
    from dataworth.lm.model import SIZES, build
    from dataworth.lm.packing import stream_of, write_stream
    from dataworth.lm.steps import loss_function
    from dataworth.lm.tokenizer import load_tokenizer, save_tokenizer, train_tokenizer

    domains = read_domains(
        corpus,
        settings.field,
        capacity=settings.tokens * _TEXT_PER_TOKEN + settings.held_out,
        seed=settings.seed,
        max_bad=settings.max_bad,
        engine=engine,
        progress=progress,
    )
    _check_domains(domains, settings.field)
    texts = {name: domain.split(settings.held_out) for name, domain in domains.items()}
    total = sum(domain.bytes for domain in domains.values())
    if settings.tokenizer:
        tokenizer = load_tokenizer(settings.tokenizer)
    else:
        some = [
            text
            for name, domain in domains.items()
            for text in cut(texts[name][0], max(_TOKENIZER_BYTES * domain.bytes // total, 1))
        ]
        tokenizer = train_tokenizer(some, settings.vocabulary)
    ratios = {}
    for name, (train, _) in texts.items():
        stream = stream_of(cut(train, _RATIO_BYTES), tokenizer)
        ratios[name] = len(stream) / max(int(stream.bytes.sum()), 1)
    tokens = {name: round(domain.bytes * ratios[name]) for name, domain in domains.items()}
    budget = settings.budget or sum(tokens.values())
    share = min(settings.tokens / budget, 1.0)
    facts = []
    for number, (name, domain) in enumerate(domains.items()):
        used = max(min(round(share * tokens[name]), settings.tokens), 1)
        some = cut(texts[name][0], int(used / ratios[name] * 1.2) + 1000)
        stream = write_stream(some, tokenizer, folder / "tokens" / str(number))
        one = {"name": name, "documents": domain.documents, "tokens": tokens[name]}
        facts.append({**one, "used": min(used, len(stream))})
    held = [(GROUP + name, text) for name, (_, texts_held) in texts.items() for text in texts_held]
    _write_texts(folder / HELD_OUT, held)
    save_tokenizer(tokenizer, folder / "tokenizer.json")
    # All models are trained in one way, however many are trained in one process.
    preset = SIZES[settings.size].model
    model = build(type(preset)(**{**vars(preset), "vocabulary": tokenizer.get_vocab_size()}))
    every = settings.tokens * max(settings.mixtures, 1)
    compiled = loss_function(model, "auto", every, find_device(device))[1]
    known = read_object(folder / FILE)
    write_json(folder / FILE, {**known, "budget": budget, "compiled": compiled, "domains": facts})


def _check_domains(domains: Mapping[str, Domain], field: str) -> None:
    """Raise ConfigError for a single group, or one that cannot be trained and measured on."""
    if len(domains) < 2:
        raise ConfigError(
            f"all documents have the {field} {next(iter(domains))!r}: a mixture takes two groups"
        )
    for name, domain in domains.items():
        if len(np.unique(domain.sample.uid)) < 2:
            raise InputError(
                f"the group {name!r} of {field} has fewer than two different texts, one to train "
                "on and one to measure: leave it out of the pool, or give it more"
            )


def _write_texts(path: Path, rows: list[tuple[str, str]]) -> None:
    write_parquet(path, pa.table({"name": [n for n, _ in rows], "text": [t for _, t in rows]}))


def _measured(
    folder: Path,
    facts: Mapping[str, Any],
    targets: Mapping[str, Corpus],
    settings: SwarmSettings,
) -> dict[str, str]:
    """Write the texts of the targets to measure, and return a fingerprint of each by name."""
    read = read_targets(
        targets, holdout=settings.holdout, max_bad=settings.max_bad, seed=settings.seed
    )
    rows, marks = [], {}
    for name, documents in read.fit.items():
        texts = cut(documents.texts(), settings.held_out)
        digest = hashlib.blake2b("\0".join(texts).encode(), digest_size=8)
        marks[name] = digest.hexdigest()
        rows += [(TARGET + name, text) for text in texts]
    if rows:
        _write_texts(folder / TARGETS, rows)
    return marks


def _runs(facts: Mapping[str, Any], settings: SwarmSettings) -> list[Run]:
    """Return the trainings: the mixtures, and the tokens of each group that each of them has."""
    held = np.array([one["tokens"] for one in facts["domains"]], np.float64)
    caps = np.minimum(settings.epochs * held / facts["budget"], 1.0)
    if not settings.mixtures:
        return []
    mixtures = draw_mixtures(held / held.sum(), caps, settings.mixtures, settings.seed)
    return [Run(number, tuple(shares.tolist())) for number, shares in enumerate(mixtures)]


def _train(work: TrainRuns, runs: list[Run], engine: Engine, progress: Progress) -> None:
    """Train and measure what is left, and tell how it goes."""
    left = [run for run in runs if not work.is_done(run)]
    for _ in trainings(work, left, engine, progress, name="swarm", device=work.device):
        pass
