"""The plan of a comparison: what is compared, on what, with how much training.

    pool: pool/*.jsonl.zst
    targets:
      math: {examples: math.target.jsonl, validation: math.val.jsonl}
      code: code.jsonl                      # halved: one half is learned from, the other validates
    budget: 1M                              # or for each target: {math: 500k, code: 1M}
    selections:
      default: {steps: [dsir]}
      best only: {steps: [dsir], mechanism: top_k}
      theirs: {from: theirs/{target}-{seed}.jsonl}
    seeds: 5
    sizes: [tiny]
    tokens: [200k]

Read from YAML, JSON or a mapping, and written back with every value filled in: what `read_plan`
makes of that is the same plan.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from dataworth.config import to_dict
from dataworth.corpus.fields import Fields
from dataworth.corpus.find import URL
from dataworth.errors import ConfigError
from dataworth.flow.amounts import parse_share, parse_size
from dataworth.flow.settings import ScoreSettings, fields_dict
from dataworth.flow.targets import named
from dataworth.mechanism.budget import parse_budget, parse_quotas
from dataworth.mechanism.expression import parse_expression
from dataworth.mechanism.registry import MECHANISMS
from dataworth.mechanism.registry import parse as parse_mechanism
from dataworth.methods.base import Step
from dataworth.methods.registry import STEPS, parse_step

BASELINE = "random"
SIZE = "tiny"
TOKENS = "200k"
SEEDS = 5
VOCABULARY = 4096
# Text that losses are measured on: all models of a comparison see the same, so that chance in it
# mostly cancels, and the smallest model is measured in a small part of the time of its training.
VALIDATION_BYTES = 64 * 1024
POOL_BYTES = 32 * 1024
CHOICES = 500

_FIELDS = ("text_field", "target_text_field", "id_field", "group_by")
_READING = ("join", "template", "split_words", "txt", "max_line_bytes")
_KEYS = (
    *("title", "pool", "targets", "budget", "selections", "baseline", "seeds", "sizes", "tokens"),
    *(*_FIELDS, *_READING, "tokenizer", "vocabulary", "holdout", "sample_bytes", "max_bad"),
    *("training", "validation_bytes", "pool_bytes", "choices", "right", "minutes", "score_seed"),
)
_OF_TARGET = ("examples", "validation", "choices")
_OF_SELECTION = ("steps", "mechanism", "utility", "scale", "quotas", "max_repeat", "duplicates")
_VARIABLE = re.compile(r"\$(\w+|\{\w+\})")
_NAME = re.compile(r"[^\x00-\x1f:/\\]{1,60}")


@dataclass(frozen=True)
class TargetPlan:
    """A target: examples to learn from, files to validate on, and questions with options.

    Without `validation`, the held-out half of the examples validates.
    """

    examples: tuple[str, ...]
    validation: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """JSON, as a plan has it."""
        return {name: list(getattr(self, name)) for name in _OF_TARGET if getattr(self, name)}


@dataclass(frozen=True)
class CandidatePlan:
    """One way of selecting: steps and a mechanism, or a `source`, a path of finished selections.

    In a source `{target}` and `{seed}` stand for their values.
    """

    name: str
    steps: tuple[Step, ...] = ()
    mechanism: str | None = None
    utility: str | None = None
    scale: str = "raw"
    quotas: tuple[str, ...] = ()
    max_repeat: int = 1
    duplicates: str = "drop"
    source: str | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """What its own steps are called by in its utility."""
        return ScoreSettings(self.steps).labels

    def as_dict(self) -> dict[str, Any]:
        """JSON, as a plan has it, with every setting."""
        if self.source is not None:
            return {"from": self.source}
        return {
            "steps": [to_dict(step, STEPS) for step in self.steps],
            **{name: getattr(self, name) for name in _OF_SELECTION[1:] if name != "quotas"},
            "quotas": list(self.quotas),
        }


@dataclass(frozen=True)
class SizePlan:
    """A model to train: a named size, its changes, or a folder to go on training from.

    `options`: of the model (`hidden`, `layers`, ...). `training`: of training, for this size.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    model: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON, as a plan has it."""
        more = {} if self.model is None else {"model": self.model}
        return {"name": self.name, **more, **self.options, "training": dict(self.training)}


@dataclass(frozen=True)
class ComparePlan:
    """A whole plan, checked. `budget` has every target's name; sizes in bytes, tokens of models.

    `right`: for each field the values that are right for each target, {field: {target: [value]}}:
    then the share of them is a metric. `minutes`: the time to fit into, None for any.
    """

    pool: tuple[str, ...]
    targets: Mapping[str, TargetPlan]
    budget: Mapping[str, str]
    candidates: tuple[CandidatePlan, ...]
    title: str = ""
    baseline: str = BASELINE
    seeds: tuple[int, ...] = tuple(range(SEEDS))
    sizes: tuple[SizePlan, ...] = (SizePlan(SIZE),)
    tokens: tuple[int, ...] = (int(parse_budget(TOKENS).amount),)
    fields: Fields = field(default_factory=Fields)
    target_text_field: tuple[str, ...] | None = None
    tokenizer: str | None = None
    vocabulary: int = VOCABULARY
    holdout: float = 0.5
    sample_bytes: int | None = None
    max_bad: float = 0.01
    training: Mapping[str, Any] = field(default_factory=dict)
    validation_bytes: int = VALIDATION_BYTES
    pool_bytes: int = POOL_BYTES
    choices: int = CHOICES
    right: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    minutes: float | None = None
    score_seed: int = 0

    def candidate(self, name: str) -> CandidatePlan:
        """The candidate of that name."""
        return next(item for item in self.candidates if item.name == name)

    @property
    def steps_of_all(self) -> list[Step]:
        """All steps, in the order of the candidates."""
        return [step for candidate in self.candidates for step in candidate.steps]

    def as_dict(self) -> dict[str, Any]:
        """JSON with every value, which `read_plan` reads back to an equal plan."""
        fields = fields_dict(self.fields)
        return {
            "title": self.title,
            "pool": list(self.pool),
            "text_field": fields.pop("text"),
            "target_text_field": self.target_text_field and list(self.target_text_field),
            "id_field": fields.pop("id"),
            "group_by": fields.pop("groups"),
            **fields,
            "targets": {name: target.as_dict() for name, target in self.targets.items()},
            "budget": dict(self.budget),
            "selections": {item.name: item.as_dict() for item in self.candidates},
            "baseline": self.baseline,
            "seeds": list(self.seeds),
            "sizes": [size.as_dict() for size in self.sizes],
            "tokens": list(self.tokens),
            "training": dict(self.training),
            "tokenizer": self.tokenizer,
            "vocabulary": self.vocabulary,
            "holdout": self.holdout,
            "sample_bytes": self.sample_bytes,
            "max_bad": self.max_bad,
            "validation_bytes": self.validation_bytes,
            "pool_bytes": self.pool_bytes,
            "choices": self.choices,
            "right": {
                name: {target: list(values) for target, values in of.items()}
                for name, of in self.right.items()
            },
            "minutes": self.minutes,
            "score_seed": self.score_seed,
        }


def read_plan(plan: str | Path | Mapping[str, Any], *, minutes: float | None = None) -> ComparePlan:
    """A plan from a YAML or JSON file, a mapping, or the record that a comparison left.

    Relative paths start at the file's folder (a mapping's: at the working folder). `minutes`
    takes the place of the plan's own. Raises ConfigError that names the key that is wrong.
    """
    if isinstance(plan, Mapping):
        content: Any = plan
        where, folder = "the plan", Path.cwd()
    else:
        path = Path(plan)
        content, where, folder = _load(path), str(path), path.absolute().parent
    if not isinstance(content, Mapping):
        raise ConfigError(f"{where}: a plan has a line for each key, such as 'pool: FOLDER'")
    if isinstance(content.get("plan"), Mapping):  # the record of a comparison
        content = content["plan"]
    try:
        return _plan(_known(content, _KEYS, "key"), folder, minutes)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def _load(path: Path) -> Any:
    if path.is_dir():
        path = path / "plan.json"
    try:
        text = path.read_text("utf-8")
        # YAML takes 1e-08 for text, which JSON does not.
        return json.loads(text) if text.lstrip().startswith("{") else yaml.safe_load(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); name a plan") from None
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}" if mark is not None else str(error).splitlines()[0]
        raise ConfigError(f"{path}: is neither YAML nor JSON ({place})") from None


def _known(content: Mapping[Any, Any], known: Sequence[str], what: str) -> dict[str, Any]:
    """The keys with values; ConfigError for one that does not exist."""
    found = {}
    for key, value in content.items():
        name = str(key).replace("-", "_")
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else f"; there are {', '.join(known)}"
            raise ConfigError(f"there is no {what} {str(key)!r}{hint}")
        if value is not None:
            found[name] = value
    return found


def _plan(given: dict[str, Any], folder: Path, minutes: float | None) -> ComparePlan:
    for key, example in (
        ("pool", "pool: FOLDER"),
        ("targets", "targets: {math: math.jsonl}"),
        ("selections", "selections: {default: {steps: [STEP]}}"),
    ):
        if not given.get(key):
            raise ConfigError(f"has no {key}: add '{example}'")
    targets = _targets(given["targets"], folder)
    baseline = str(given.get("baseline", BASELINE))
    candidates = _candidates(given["selections"], baseline, folder)
    if given.get("minutes") is not None and minutes is None:
        minutes = _number(given, "minutes", 0.0)
    holdout = parse_share(given.get("holdout", 0.5))
    for name, target in targets.items():
        if not target.validation and holdout == 0:
            raise ConfigError(
                f"targets: {name} has nothing to validate on: give it 'validation', or a holdout"
            )
    simple: dict[str, Any] = {
        name: given[name]
        for name in ("title", "vocabulary", "choices", "score_seed")
        if name in given
    }
    for name in ("validation_bytes", "pool_bytes", "sample_bytes"):
        if name in given:
            simple[name] = parse_size(given[name])
    if "max_bad" in given:
        simple["max_bad"] = parse_share(given["max_bad"])
    if "tokenizer" in given:
        simple["tokenizer"] = _paths(given["tokenizer"], folder)[0]
    if "target_text_field" in given:
        simple["target_text_field"] = _words(given["target_text_field"])
    made = ComparePlan(
        pool=_paths(given["pool"], folder),
        targets=targets,
        budget=_budgets(given.get("budget", "10%"), targets),
        candidates=candidates,
        baseline=baseline,
        seeds=_seeds(given.get("seeds", SEEDS)),
        sizes=_sizes(given.get("sizes", [SIZE]), folder),
        tokens=_tokens(given.get("tokens", TOKENS)),
        fields=_fields(given),
        holdout=holdout,
        training=_mapping(given.get("training", {}), "training"),
        right=_right(given.get("right", {}), targets),
        minutes=minutes,
        **simple,
    )
    for name in ("vocabulary", "choices"):
        if not isinstance(getattr(made, name), int) or getattr(made, name) < 1:
            raise ConfigError(f"{name} is a whole number above 0, not {getattr(made, name)!r}")
    return made


def _fields(given: Mapping[str, Any]) -> Fields:
    reading = {name: given[name] for name in _READING if name in given}
    if "max_line_bytes" in reading:
        reading["max_line_bytes"] = parse_size(reading["max_line_bytes"])
    groups = list(_words(given.get("group_by", ())))
    for name in _mapping(given.get("right", {}), "right"):
        groups += [name] if name not in groups else []
    for options in _mapping(given["selections"], "selections").values():
        if isinstance(options, Mapping):
            for quota in parse_quotas(options.get("quotas")):
                groups += [quota.field] if quota.field not in groups else []
    return Fields(
        text=_words(given.get("text_field", "text")),
        id=given.get("id_field"),
        groups=tuple(groups),
        **reading,
    )


def _targets(given: Any, folder: Path) -> dict[str, TargetPlan]:
    found = {}
    for name, value in named(_mapping(given, "targets")).items():
        if not _NAME.fullmatch(name):
            raise ConfigError(f"targets: the name {name!r} is too long, or has signs of paths")
        parts = value if isinstance(value, Mapping) else {"examples": value}
        try:
            parts = _known(parts, _OF_TARGET, "key of a target")
        except ConfigError as error:
            raise ConfigError(f"targets: {name}: {error}") from None
        if not parts.get("examples"):
            raise ConfigError(f"targets: {name}: has no examples: add 'examples: FILE'")
        found[name] = TargetPlan(**{key: _paths(item, folder) for key, item in parts.items()})
    return dict(sorted(found.items()))


def _candidates(given: Any, baseline: str, folder: Path) -> tuple[CandidatePlan, ...]:
    given = _mapping(given, "selections")
    found = []
    for name, value in given.items():
        if not _NAME.fullmatch(str(name)):
            raise ConfigError(f"selections: the name {name!r} is too long, or has signs of paths")
        try:
            found.append(_candidate(str(name), _mapping(value or {}, "its options"), folder))
        except ConfigError as error:
            raise ConfigError(f"selections: {name}: {error}") from None
    if baseline not in [item.name for item in found]:
        if baseline != BASELINE:
            raise ConfigError(f"baseline: there is no selection {baseline!r}")
        found.insert(0, CandidatePlan(BASELINE, mechanism="random"))
    return tuple(found)


def _candidate(name: str, options: Mapping[str, Any], folder: Path) -> CandidatePlan:
    if "from" in options:
        if len(options) > 1:
            raise ConfigError("a finished selection ('from') has no other options")
        return CandidatePlan(name, source=_paths(options["from"], folder)[0])
    given = _known(options, _OF_SELECTION, "option")
    steps = given.get("steps", ())
    if isinstance(steps, str | Mapping):
        steps = [steps]
    mechanism, utility = given.get("mechanism"), given.get("utility")
    if utility is not None:
        parse_expression(utility)
    if mechanism is not None:
        from dataworth.config import describe

        mechanism = describe(parse_mechanism(mechanism), MECHANISMS)
    made = CandidatePlan(
        name,
        tuple(parse_step(step) for step in steps),
        mechanism,
        utility,
        str(given.get("scale", "raw")),
        tuple(str(quota) for quota in parse_quotas(given.get("quotas"))),
        int(given.get("max_repeat", 1)),
        str(given.get("duplicates", "drop")),
    )
    if not made.steps and not mechanism:
        raise ConfigError("says nothing: give it 'steps', a 'mechanism', or 'from: PATH'")
    return made


def _budgets(given: Any, targets: Mapping[str, TargetPlan]) -> dict[str, str]:
    if not isinstance(given, Mapping):
        return dict.fromkeys(targets, str(parse_budget(given)))
    missing = [name for name in targets if name not in given]
    unknown = [str(name) for name in given if name not in targets]
    if missing or unknown:
        raise ConfigError(f"budget: one for each target, but not for {(missing + unknown)[0]!r}")
    return {name: str(parse_budget(given[name])) for name in targets}


def _seeds(given: Any) -> tuple[int, ...]:
    seeds = range(given) if isinstance(given, int) and not isinstance(given, bool) else given
    seeds = tuple(seeds) if isinstance(seeds, Sequence | range) else ()
    if not seeds or len(set(seeds)) < len(seeds) or not all(type(x) is int for x in seeds):
        raise ConfigError(f"seeds: a number of seeds, or a list of different ones, not {given!r}")
    return seeds


def _tokens(given: Any) -> tuple[int, ...]:
    found = []
    for item in given if isinstance(given, list | tuple) else [given]:
        budget = parse_budget(item)
        if budget.unit != "tokens":
            raise ConfigError(f"tokens: a number of tokens such as 200k, not {item!r}")
        found.append(int(budget.amount))
    if not found:
        raise ConfigError("tokens: give at least one number, such as 200k")
    return tuple(sorted(set(found)))


def _sizes(given: Any, folder: Path) -> tuple[SizePlan, ...]:
    found = []
    for item in given if isinstance(given, list | tuple) else [given]:
        if isinstance(item, str):
            found.append(SizePlan(item))
            continue
        options = dict(_mapping(item, "sizes"))
        training = _mapping(options.pop("training", {}), "training")
        model = options.pop("model", None)
        if model is not None:
            local = (folder / str(model)).exists()
            model = _paths(model, folder)[0] if local else str(model)
        name = str(options.pop("name", Path(model).name if model else ""))
        if not name:
            raise ConfigError("sizes: a size that is described wants a name: {name: mine, ...}")
        found.append(SizePlan(name, options, training, model))
    names = [size.name for size in found]
    if not found or len(set(names)) < len(names):
        raise ConfigError("sizes: give at least one, each with a name of its own")
    return tuple(found)


def _right(given: Any, targets: Mapping[str, TargetPlan]) -> dict[str, dict[str, tuple[str, ...]]]:
    found = {}
    for name, of in _mapping(given, "right").items():
        of = _mapping(of, "right")
        unknown = [str(target) for target in of if target not in targets]
        if unknown:
            raise ConfigError(f"right: there is no target {unknown[0]!r}")
        found[str(name)] = {target: _words(values) for target, values in of.items()}
    return found


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{what}: wants a name for each entry, not {value!r}")
    return {str(key): item for key, item in value.items()}


def _words(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(str(item) for item in value)


def _number(given: Mapping[str, Any], name: str, least: float) -> float:
    value = given[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= least:
        raise ConfigError(f"{name}: a number above {least:g}, not {value!r}")
    return float(value)


def _paths(value: Any, folder: Path) -> tuple[str, ...]:
    """Paths from the plan's folder, $NAME standing for what the environment has; URLs as they are.

    Raises ConfigError for a name that the environment does not have.
    """
    found = []
    for item in value if isinstance(value, list | tuple) else [value]:
        text = os.path.expandvars(str(item))
        if unknown := _VARIABLE.search(text):
            raise ConfigError(f"{item}: the environment has no {unknown[0]}: set it")
        if not URL.match(text):
            text = os.path.normpath(folder / Path(text).expanduser())
        found.append(text)
    return tuple(found)
