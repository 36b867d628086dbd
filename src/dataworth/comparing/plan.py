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
      right ones: {from: right/{target}.jsonl, bound: true}   # knows the answer
    seeds: 5
    sizes: [tiny]
    tokens: [200k]

Read from YAML, JSON or a mapping, and written back with every value filled in: what `read_plan`
makes of that is the same plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dataworth.config import to_dict
from dataworth.corpus.fields import Fields
from dataworth.flow.settings import ScoreSettings, fields_dict
from dataworth.mechanism.budget import parse_budget
from dataworth.methods.base import Step
from dataworth.methods.registry import STEPS

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

OF_TARGET = ("examples", "validation", "choices")
OF_SELECTION = ("steps", "mechanism", "utility", "scale", "quotas", "max_repeat", "duplicates")
BOUND, KEEP = "bound", "keep_models"
PRESETS: Mapping[str, Mapping[str, Any]] = {"datacomp": {"transfer": True, "decontaminate": True}}
"""Values of keys that a plan's `preset` sets where the plan does not."""
GROWS = ("selections", "seeds", "sizes", "tokens")
"""Keys of a plan that may get more or fewer values later: what is there is not done again."""


@dataclass(frozen=True)
class TargetPlan:
    """A target: examples to learn from, files to validate on, and questions with options.

    Without `validation`, the held-out half of the examples validates.
    """

    examples: tuple[str, ...]
    validation: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the target as JSON, as a plan has it."""
        return {name: list(getattr(self, name)) for name in OF_TARGET if getattr(self, name)}


@dataclass(frozen=True)
class CandidatePlan:
    """One way of selecting: steps and a mechanism, or a `source`, a path of finished selections.

    In a source `{target}` and `{seed}` stand for their values. `bound`: it knows the answer, so the
    others are measured by it, and it is never named the best.
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
    bound: bool = False

    @property
    def labels(self) -> tuple[str, ...]:
        """Names that its utility may call its own steps' columns by."""
        return ScoreSettings(self.steps).labels

    def as_dict(self) -> dict[str, Any]:
        """Return every setting as JSON, as a plan has it."""
        bound = {"bound": True} if self.bound else {}
        if self.source is not None:
            return {"from": self.source, **bound}
        return {
            "steps": [to_dict(step, STEPS) for step in self.steps],
            **{name: getattr(self, name) for name in OF_SELECTION[1:] if name != "quotas"},
            "quotas": list(self.quotas),
            **bound,
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
        """Return the size as JSON, as a plan has it."""
        more = {} if self.model is None else {"model": self.model}
        return {"name": self.name, **more, **self.options, "training": dict(self.training)}


@dataclass(frozen=True)
class ComparePlan:
    """A whole plan, checked. `budget` has every target's name; sizes in bytes, tokens of models.

    `right`: for each field the values that are right for each target, {field: {target: [value]}}:
    then the share of them is a metric. `minutes`: the time to fit into, None for any.
    `decontaminate`: keep out of all selections what shares a long run of words with a validation
    set. `keep_models`: leave the models that are trained in the folder.
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
    target_template: str | None = None
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
    decontaminate: bool = False
    keep_models: bool = False
    transfer: bool = False
    shift: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def candidate(self, name: str) -> CandidatePlan:
        """Return the candidate of that name."""
        return next(item for item in self.candidates if item.name == name)

    @property
    def steps_of_all(self) -> list[Step]:
        """All steps, in the order of the candidates."""
        return [step for candidate in self.candidates for step in candidate.steps]

    def as_dict(self) -> dict[str, Any]:
        """Return every value as JSON, which `read_plan` reads back to an equal plan."""
        fields = fields_dict(self.fields)
        return {
            "title": self.title,
            "pool": list(self.pool),
            "text_field": fields.pop("text"),
            "target_text_field": self.target_text_field and list(self.target_text_field),
            "target_template": self.target_template,
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
            **({"decontaminate": True} if self.decontaminate else {}),
            **({KEEP: True} if self.keep_models else {}),
            **({"transfer": True} if self.transfer else {}),
            **({"shift": {name: list(x) for name, x in self.shift.items()}} if self.shift else {}),
        }

    def with_sizes_of(self, before: ComparePlan, asked: ComparePlan) -> ComparePlan:
        """Return this plan, whose sizes compile as they did before unless `asked` says how.

        A plan that has grown could afford to compile what was not compiled, in other numbers.
        """
        known = {size.name: size for size in before.sizes}
        said = {
            size.name for size in asked.sizes if "compile" in {**asked.training, **size.training}
        }
        sizes = []
        for size in self.sizes:
            compiles = known[size.name].training.get("compile") if size.name in known else None
            if compiles is not None and size.name not in said:
                size = replace(size, training={**size.training, "compile": compiles})
            sizes.append(size)
        return replace(self, sizes=tuple(sizes))

    def labelled(self, other: ComparePlan) -> ComparePlan:
        """Return this plan with another's labels: title, bounds, and if models are kept."""
        bounds = {item.name for item in other.candidates if item.bound}
        candidates = tuple(replace(item, bound=item.name in bounds) for item in self.candidates)
        kept = other.keep_models
        return replace(self, title=other.title, candidates=candidates, keep_models=kept)


def unlabelled(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return a plan's JSON without labels, which change no number and so make no other plan."""
    selections = {
        name: {key: value for key, value in options.items() if key != "bound"}
        for name, options in plan.get("selections", {}).items()
    }
    rest = {name: value for name, value in plan.items() if name != KEEP}
    return {**rest, "selections": selections, "title": ""}


def fixed(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a plan's JSON stays as it is in a comparison's folder.

    A plan that fits into some minutes gave up seeds, sizes or tokens for them, and stays whole.
    """
    whole = unlabelled(plan)
    grows = GROWS if plan.get("minutes") is None else ()
    return {name: value for name, value in whole.items() if name not in grows}
