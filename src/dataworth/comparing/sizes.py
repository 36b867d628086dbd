"""Models and training of a plan with every value filled in: what a comparison's numbers hang on."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any

from dataworth.comparing.plan import ComparePlan, SizePlan
from dataworth.engine.device import AUTO, find_device
from dataworth.errors import ConfigError, check_extra

if TYPE_CHECKING:
    import torch

# Of each training, or of this machine; `compile` is decided for all trainings of a size together.
_NOT_SET = ("tokens", "seed", "device", "log_every", "checkpoint_every", "keep")
_OF_SIZE = ("learning_rate", "batch_sequences", "compile")
CONTINUED_RATE = 3e-4  # for models that were trained before, unless the plan says otherwise
BASE = "base"


def check_lm() -> None:
    """Raise MissingExtra unless what trains and judges is installed."""
    check_extra("compare", "lm")


def versions() -> dict[str, str]:
    """Return the versions of the packages that numbers depend on."""
    import tokenizers
    import torch

    return {"torch": torch.__version__, "tokenizers": tokenizers.__version__}


def resolve(plan: ComparePlan, device: str = AUTO) -> ComparePlan:
    """Return the plan with every value of models and training; compiling depends on the device.

    Raises ConfigError for a size or an option of training that does not exist.
    """
    from dataworth.lm.training import TrainConfig

    known = {item.name for item in fields(TrainConfig)} - set(_NOT_SET)
    given = _checked(plan.training, known, "training")
    shared = {name: value for name, value in given.items() if name not in _OF_SIZE}
    sample = asdict(_config(TrainConfig, {"learning_rate": 1.0, **shared}))
    training = {name: _plain(sample[name]) for name in sorted(known - set(_OF_SIZE))}
    own = {name: given[name] for name in _OF_SIZE if name in given}
    total = sum(plan.tokens) * len(plan.seeds) * len(plan.candidates)
    place = find_device(device)
    sizes = tuple(_size(size, plan, own, known, total, place) for size in plan.sizes)
    return replace(plan, training=training, sizes=sizes)


def _size(
    size: SizePlan,
    plan: ComparePlan,
    own: Mapping[str, Any],
    known: set[str],
    total: int,
    place: torch.device,
) -> SizePlan:
    from dataworth.lm.model import SIZES, ModelConfig
    from dataworth.lm.steps import loss_function

    where = f"sizes: {size.name}"
    training = {**own, **_checked(size.training, known, where)}
    if size.model is not None:
        if size.options:
            raise ConfigError(f"{where}: a model that is there has no {next(iter(size.options))}")
        training = {
            "learning_rate": CONTINUED_RATE,
            "batch_sequences": 8,
            "compile": False,
            **training,
        }
        return replace(size, training=dict(sorted(training.items())))
    options = {name: _read(value) for name, value in size.options.items()}
    name = str(options.pop(BASE, size.name))
    if name in SIZES:
        preset = SIZES[name]
        shape = {**asdict(preset.model), "vocabulary": plan.vocabulary, **options}
        defaults = {
            "learning_rate": preset.learning_rate,
            "batch_sequences": preset.batch_sequences,
        }
    else:
        shape, defaults = {"vocabulary": plan.vocabulary, **options}, {"batch_sequences": 8}
        if "hidden" not in options:
            raise ConfigError(
                f"{where}: there is no such size; there are {', '.join(SIZES)}, or describe one: "
                "{name: mine, base: tiny, hidden: 64, ...}, or {model: FOLDER}"
            )
    config = _config(ModelConfig, shape, where)
    training = {"compile": "auto", **defaults, **training}
    if "learning_rate" not in training:
        raise ConfigError(f"{where}: give it 'training: {{learning_rate: ...}}'")
    if training["compile"] == "auto":
        from dataworth.lm.model import build

        training["compile"] = loss_function(build(config), "auto", total, place)[1]
    return replace(size, options=asdict(config), training=dict(sorted(training.items())))


def _config(kind: Any, options: Mapping[str, Any], where: str = "training") -> Any:
    try:
        return kind(**({"tokens": 1} if where == "training" else {}), **options)
    except TypeError as error:
        said = str(error).rpartition(")")[2].strip() or str(error)
        raise ConfigError(f"{where}: {said}") from None


def _checked(given: Mapping[str, Any], known: set[str], where: str) -> dict[str, Any]:
    for name in given:
        if name not in known:
            raise ConfigError(
                f"{where}: training has no option {name!r}; it has {', '.join(sorted(known))}"
            )
    return {name: _read(value) for name, value in given.items()}


def _read(value: Any) -> Any:
    """Return a value as Python has it: YAML takes 1e-3 for text, and JSON has no tuples."""
    if isinstance(value, list):
        return tuple(_read(item) for item in value)
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return float(value)
    return value


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
