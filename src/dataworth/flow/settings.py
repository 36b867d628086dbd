"""What a run depends on, resolved: the one form that is hashed, compared, stored and read back."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any

from dataworth.config import to_dict
from dataworth.corpus.fields import Fields
from dataworth.corpus.write.shards import check_format
from dataworth.errors import ConfigError
from dataworth.mechanism.cut import MOST_REPEATS
from dataworth.mechanism.expression import SCALES, parse_expression
from dataworth.methods.base import Step
from dataworth.methods.registry import STEPS, parse_step
from dataworth.table.survey import SAMPLE_BYTES


def check_numbers(settings: Any, whole: Sequence[str], broken: Sequence[str] = ()) -> None:
    """Raise ConfigError for settings that are no whole numbers of 64 bits, or no numbers."""
    for name in (*whole, *broken):
        value = getattr(settings, name)
        fits = isinstance(value, Integral if name in whole else Real)
        if not fits or isinstance(value, bool) or not -(2**63) <= value < 2**63:
            kind = "a whole number" if name in whole else "a number"
            raise ConfigError(f"{name} is {kind} of at most 64 bits, not {str(value)[:60]!r}")


@dataclass(frozen=True)
class ScoreSettings:
    """What the table depends on, beside the pool and the targets.

    `steps`: filters and methods, in order. `fields`, `target_fields`: how rows are read.
    `seed`: of the sample and of the halves of the targets. `holdout`: the share of each target
    that nothing is fitted or tuned on (0 to below 1). `sample_bytes`: text of the random sample.
    `max_bad`: share of bad lines past which the run fails. `tokenizer`: a `tokenizer.json` by
    which tokens are estimated and counted; without one, tokens are bytes / 4.
    """

    steps: tuple[Step, ...]
    fields: Fields = field(default_factory=Fields)
    target_fields: Fields = field(default_factory=Fields)
    seed: int = 0
    holdout: float = 0.5
    sample_bytes: int = SAMPLE_BYTES
    max_bad: float = 0.01
    tokenizer: str | None = None

    def __post_init__(self) -> None:
        check_numbers(self, ("seed", "sample_bytes"), ("holdout", "max_bad"))
        if not 0 <= self.holdout < 1:
            raise ConfigError(f"holdout must be at least 0 and below 1, not {self.holdout}")
        if not 0 <= self.max_bad <= 1:
            raise ConfigError(f"max_bad is a share between 0 and 1, not {self.max_bad}")
        if self.sample_bytes < 1 << 16:
            raise ConfigError(f"sample_bytes must be at least 65,536, not {self.sample_bytes}")

    @property
    def labels(self) -> tuple[str, ...]:
        """What the steps' columns are called by: their names, numbered from the second one on."""
        seen: Counter[str] = Counter()
        labels = []
        for step in self.steps:
            seen[step.name] += 1
            labels.append(step.name if seen[step.name] == 1 else f"{step.name}_{seen[step.name]}")
        return tuple(labels)

    def as_dict(self) -> dict[str, Any]:
        """JSON, with every setting."""
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


@dataclass(frozen=True)
class ChoiceSettings:
    """What a choice depends on, beside the table: all as text and JSON.

    See `dataworth.select` for what each one means.
    """

    budget: str
    utility: str | None = None
    scale: str = "raw"
    mechanism: str | None = None
    proportions: Mapping[str, float] | None = None
    quotas: tuple[str, ...] = ()
    max_repeat: int = 1
    exclude: tuple[str, ...] = ()
    duplicates: str = "drop"
    seed: int = 0
    mixture: str | None = None

    def __post_init__(self) -> None:
        check_numbers(self, ("seed", "max_repeat"))
        if self.duplicates not in ("drop", "keep"):
            raise ConfigError(f"duplicates must be drop or keep, not {self.duplicates!r}")
        if self.scale not in SCALES:
            raise ConfigError(f"scale must be one of {', '.join(SCALES)}, not {self.scale!r}")
        if not 1 <= self.max_repeat <= MOST_REPEATS:
            raise ConfigError(
                f"max_repeat must be between 1 and {MOST_REPEATS}, not {self.max_repeat}"
            )
        if self.utility is not None:
            parse_expression(self.utility)  # told now, not after the pool was scored

    def as_dict(self) -> dict[str, Any]:
        """JSON, with every setting."""
        proportions = dict(sorted(self.proportions.items())) if self.proportions else None
        return {
            "budget": self.budget,
            "utility": self.utility,
            "scale": self.scale,
            "mechanism": self.mechanism,
            "proportions": proportions,
            "quotas": list(self.quotas),
            "max_repeat": self.max_repeat,
            "exclude": list(self.exclude),
            "duplicates": self.duplicates,
            "seed": self.seed,
            **({} if self.mixture is None else {"mixture": self.mixture}),
        }


@dataclass(frozen=True)
class WriteSettings:
    """How a selection is written: `form` (None: as the pool), shard size, order of the rows."""

    form: str | None = None
    shard_bytes: int = 256_000_000
    order: str = "shuffled"

    def __post_init__(self) -> None:
        check_numbers(self, ("shard_bytes",))
        if self.form is not None:
            check_format(self.form)
        if self.order not in ("shuffled", "pool", "rank"):
            raise ConfigError(f"order must be shuffled, pool or rank, not {self.order!r}")
        if self.shard_bytes < 1:
            raise ConfigError(f"shard_bytes must be at least 1, not {self.shard_bytes}")

    def as_dict(self) -> dict[str, Any]:
        """JSON, with every setting."""
        return {"form": self.form, "shard_bytes": self.shard_bytes, "order": self.order}


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


def fields_dict(fields: Fields) -> dict[str, Any]:
    """The settings of `Fields` as JSON."""
    return {
        "text": list(fields.text),
        "join": fields.join,
        "id": fields.id,
        "groups": list(fields.groups),
        "template": fields.template,
        "split_words": fields.split_words,
        "txt": fields.txt,
        "max_line_bytes": fields.max_line_bytes,
    }


def fields_from(values: Mapping[str, Any]) -> Fields:
    """`Fields` from JSON."""
    return Fields(**{**values, "text": tuple(values["text"]), "groups": tuple(values["groups"])})


def fingerprint(value: Any) -> str:
    """Twelve hexadecimal digits of a JSON value."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
