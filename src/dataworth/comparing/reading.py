"""Plans read from YAML, JSON or a mapping, and checked before any work."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dataworth.comparing.plan import (
    BASELINE,
    BOUND,
    OF_SELECTION,
    OF_TARGET,
    PRESETS,
    SEEDS,
    SIZE,
    TOKENS,
    CandidatePlan,
    ComparePlan,
    SizePlan,
    TargetPlan,
)
from dataworth.comparing.weightings import KEY, SCALE, spread
from dataworth.config import describe
from dataworth.corpus.fields import Fields
from dataworth.corpus.read.find import URL
from dataworth.errors import ConfigError
from dataworth.flow.amounts import parse_share, parse_size
from dataworth.flow.loading import load_file
from dataworth.flow.targets import named
from dataworth.mechanism.budget import parse_budget, parse_quotas
from dataworth.mechanism.expression import parse_expression
from dataworth.mechanism.registry import MECHANISMS, WITHOUT_UTILITY
from dataworth.mechanism.registry import parse as parse_mechanism
from dataworth.methods.places import placed
from dataworth.methods.registry import parse_step

_FIELDS = ("text_field", "target_text_field", "target_template", "id_field", "group_by")
_READING = ("join", "template", "split_words", "txt", "max_line_bytes")
_MOST_SEEDS = 10_000
_KEYS = (
    *("title", "pool", "targets", "budget", "selections", "baseline", "seeds", "sizes", "tokens"),
    *(*_FIELDS, *_READING, "tokenizer", "vocabulary", "holdout", "sample_bytes", "max_bad"),
    *("training", "validation_bytes", "pool_bytes", "choices", "right", "minutes", "score_seed"),
    *("decontaminate", "keep_models", "preset", "transfer", "shift"),
)
_FLAGS = ("decontaminate", "keep_models", "transfer")
_VARIABLE = re.compile(r"\$(\w+|\{\w+\})")
_NAME = re.compile(r"[^\x00-\x1f:/\\]{1,60}")


def read_plan(plan: str | Path | Mapping[str, Any], *, minutes: float | None = None) -> ComparePlan:
    """Read a plan from a YAML or JSON file, a mapping, or the record that a comparison left.

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
    except (TypeError, ValueError, OverflowError, AttributeError) as error:
        said = " ".join(str(error).split())[:120]
        raise ConfigError(f"{where}: a value is of another kind than asked ({said})") from None


def _load(path: Path) -> Any:
    if path.is_dir():
        path = path / "plan.json"
    return load_file(path, "plan")


def _known(content: Mapping[Any, Any], known: Sequence[str], what: str) -> dict[str, Any]:
    """Return the keys with values; ConfigError for one that does not exist."""
    values = {}
    for key, value in content.items():
        name = str(key).replace("-", "_")
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else f"; there are {', '.join(known)}"
            raise ConfigError(f"there is no {what} {str(key)!r}{hint}")
        if value is not None:
            values[name] = value
    return values


def _plan(given: dict[str, Any], folder: Path, minutes: float | None) -> ComparePlan:
    for key, example in (
        ("pool", "pool: FOLDER"),
        ("targets", "targets: {math: math.jsonl}"),
        ("selections", "selections: {default: {steps: [STEP]}}"),
    ):
        if not given.get(key):
            raise ConfigError(f"has no {key}: add '{example}'")
    given = {**_preset(given.pop("preset", None)), **given}
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
        for name in ("title", "vocabulary", "choices", "score_seed", *_FLAGS)
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
    if given.get("target_template") is not None:
        simple["target_template"] = str(given["target_template"])
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
        shift={
            name: _paths(files, folder)
            for name, files in _mapping(given.get("shift", {}), "shift").items()
        },
        minutes=minutes,
        **simple,
    )
    for name in ("vocabulary", "choices"):
        if not isinstance(getattr(made, name), int) or getattr(made, name) < 1:
            raise ConfigError(f"{name} is a whole number above 0, not {getattr(made, name)!r}")
    for name in _FLAGS:
        if not isinstance(getattr(made, name), bool):
            raise ConfigError(f"{name} is true or false, not {getattr(made, name)!r}")
    if made.transfer and len(targets) < 2 and not made.shift:
        raise ConfigError(
            "transfer is to other targets or to text from elsewhere: give a second target, or "
            "'shift: {news: FILE}'"
        )
    if made.shift and not made.transfer:
        raise ConfigError("shift: is measured with 'preset: datacomp' or 'transfer: true'")
    return made


def _preset(name: Any) -> Mapping[str, Any]:
    """Return the values of a preset's keys. Raises ConfigError for one that there is not."""
    if name is None:
        return {}
    if name not in PRESETS:
        raise ConfigError(f"preset: there is no {name!r}; there are {', '.join(PRESETS)}")
    return PRESETS[name]


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
            parts = _known(parts, OF_TARGET, "key of a target")
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
            options = dict(_mapping(value or {}, "its options"))
            count = options.pop(KEY, None)
            if count is not None:
                options = {"scale": SCALE, **options}
            made = _candidate(str(name), options, folder)
            found += [made] if count is None else spread(made, count)
        except ConfigError as error:
            raise ConfigError(f"selections: {name}: {error}") from None
    names = [item.name for item in found]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f"selections: {twice!r} is there twice: name the weightings otherwise")
    if baseline not in names:
        if baseline != BASELINE:
            raise ConfigError(f"baseline: there is no selection {baseline!r}")
        found.insert(0, CandidatePlan(BASELINE, mechanism=WITHOUT_UTILITY))
    if any(item.bound and item.name == baseline for item in found):
        raise ConfigError(f"baseline: {baseline} is a bound, which others cannot be better than")
    return tuple(found)


def _candidate(name: str, options: Mapping[str, Any], folder: Path) -> CandidatePlan:
    given = _known(options, ("from", *OF_SELECTION, BOUND), "option")
    bound = given.pop(BOUND, False)
    if not isinstance(bound, bool):
        raise ConfigError(f"bound is true or false, not {bound!r}")
    if "from" in given:
        if len(given) > 1:
            raise ConfigError("a finished selection ('from') has no other options than 'bound'")
        return CandidatePlan(name, source=_paths(given["from"], folder)[0], bound=bound)
    steps = given.get("steps", ())
    if isinstance(steps, str | Mapping):
        steps = [steps]
    mechanism, utility = given.get("mechanism"), given.get("utility")
    if utility is not None:
        parse_expression(utility)
    if mechanism is not None:
        mechanism = describe(parse_mechanism(mechanism), MECHANISMS)
    made = CandidatePlan(
        name,
        tuple(placed(parse_step(step), folder, _expanded) for step in steps),
        mechanism,
        utility,
        str(given.get("scale", "raw")),
        tuple(str(quota) for quota in parse_quotas(given.get("quotas"))),
        int(given.get("max_repeat", 1)),
        str(given.get("duplicates", "drop")),
        bound=bound,
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
    if isinstance(given, int) and not isinstance(given, bool):
        given = range(min(given, _MOST_SEEDS + 1))
    seeds = given
    seeds = tuple(seeds) if isinstance(seeds, Sequence | range) else ()
    if not seeds or len(set(seeds)) < len(seeds) or not all(type(x) is int for x in seeds):
        raise ConfigError(f"seeds: a number of seeds, or a list of different ones, not {given!r}")
    if len(seeds) > _MOST_SEEDS:
        raise ConfigError(f"seeds: at most {_MOST_SEEDS:,}")
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


def _expanded(text: str) -> str:
    """Return text in which $NAME is what the environment has. ConfigError for what it has not."""
    expanded = os.path.expandvars(text)
    if unknown := _VARIABLE.search(expanded):
        raise ConfigError(f"{text}: the environment has no {unknown[0]}: set it")
    return expanded


def _paths(value: Any, folder: Path) -> tuple[str, ...]:
    """Return paths from the plan's folder, $NAME filled in from the environment; URLs unchanged.

    Raises ConfigError for a name that the environment does not have.
    """
    paths = []
    for item in value if isinstance(value, list | tuple) else [value]:
        if not isinstance(item, str | os.PathLike):
            raise ConfigError(f"{item!r} is no path: write it as text")
        text = _expanded(str(item))
        if not URL.match(text):
            text = os.path.normpath(folder / Path(text).expanduser())
        paths.append(text)
    return tuple(paths)
