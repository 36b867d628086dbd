"""Resolved settings of a run: the one form that is hashed, compared, stored and read back."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from dataworth.config import to_dict
from dataworth.corpus.fields import Fields
from dataworth.corpus.write.shards import check_format
from dataworth.errors import ConfigError
from dataworth.mechanism.expression import parse_expression
from dataworth.methods.base import Step
from dataworth.methods.registry import STEPS, parse_step
from dataworth.options import check
from dataworth.options.calls import Choosing, Order, Reading, Scoring, Writing, same
from dataworth.table.survey import SAMPLE_BYTES


@dataclass(frozen=True)
class ScoreSettings:
    """Settings that the table depends on, beside the pool and the targets.

    `steps`: filters and methods, in order. `fields`, `target_fields`: how rows are read.
    `seed`: of the sample and of the halves of the targets. `holdout`: the share of each target
    that nothing is fitted or tuned on (0 to below 1). `sample_bytes`: text of the random sample.
    `max_bad`: share of bad lines past which the run fails. `tokenizer`: a `tokenizer.json` by
    which tokens are estimated and counted; without one, tokens are bytes / 4.
    """

    steps: tuple[Step, ...]
    fields: Fields = field(default_factory=Fields)
    target_fields: Fields = field(default_factory=Fields)
    seed: int = same(Scoring, "seed")
    holdout: float = same(Scoring, "holdout")
    sample_bytes: int = same(Scoring, "sample_bytes", default=SAMPLE_BYTES)
    max_bad: float = same(Reading, "max_bad")
    tokenizer: str | None = None

    def __post_init__(self) -> None:
        check(self)

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the steps' columns: the steps' names, numbered from the second of a name on."""
        seen: Counter[str] = Counter()
        labels = []
        for step in self.steps:
            seen[step.name] += 1
            labels.append(step.name if seen[step.name] == 1 else f"{step.name}_{seen[step.name]}")
        return tuple(labels)

    def as_dict(self) -> dict[str, Any]:
        """Return every setting as JSON."""
        return {
            "steps": [to_dict(step, STEPS) for step in self.steps],
            "fields": fields_dict(self.fields),
            "target_fields": fields_dict(self.target_fields),
            "seed": self.seed,
            "holdout": self.holdout,
            "sample_bytes": self.sample_bytes,
            "max_bad": self.max_bad,
            "tokenizer": self.tokenizer,
        }


@dataclass(frozen=True, kw_only=True)
class ChoiceSettings(Choosing):
    """Settings that a choice depends on, beside the table: options of choosing as text and JSON."""

    budget: str
    mechanism: str | None = None
    quotas: tuple[str, ...] = ()
    mixture: str | None = None
    exclude: tuple[str, ...] = ()
    seed: int = same(Scoring, "seed")

    def __post_init__(self) -> None:
        check(self)
        if self.utility is not None:
            parse_expression(self.utility)  # told now, not after the pool was scored

    def as_dict(self) -> dict[str, Any]:
        """Return every setting as JSON."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values |= {name: list(values[name]) for name in ("quotas", "exclude")}
        values["proportions"] = dict(sorted((self.proportions or {}).items())) or None
        if self.mixture is None:
            del values["mixture"]
        return values


@dataclass(frozen=True)
class WriteSettings:
    """Settings of writing: `form` (None: as the pool), shard size, order of the rows."""

    form: str | None = None
    shard_bytes: int = same(Writing, "shard_bytes")
    order: Order = same(Writing, "order")

    def __post_init__(self) -> None:
        check(self)
        if self.form is not None:
            check_format(self.form)

    def as_dict(self) -> dict[str, Any]:
        """Return every setting as JSON."""
        return asdict(self)


def deciding(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration, or settings of scoring, as JSON without what cannot change a result:
    the options of steps that are marked `run_only`. A step that is no longer there stays whole.
    """
    changed = dict(configuration)
    if isinstance(changed.get("score"), Mapping):
        changed["score"] = deciding(changed["score"])
    if "steps" in changed:
        changed["steps"] = [_deciding_step(step) for step in changed["steps"]]
    return changed


def _deciding_step(step: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        return to_dict(parse_step(step), STEPS, run_only=False)
    except ConfigError:
        return step


def fields_dict(read: Fields) -> dict[str, Any]:
    """Return the settings of `Fields` as JSON."""
    return {**asdict(read), "text": list(read.text), "groups": list(read.groups)}


def fields_from(values: Mapping[str, Any]) -> Fields:
    """Return `Fields` from JSON."""
    return Fields(**{**values, "text": tuple(values["text"]), "groups": tuple(values["groups"])})


def fingerprint(value: Any) -> str:
    """Return twelve hexadecimal digits that stand for a JSON value."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
