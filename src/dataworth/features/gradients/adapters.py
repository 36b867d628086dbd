"""Checks of model folders, and the loading of models stored as an adapter of PEFT.

An adapter (LoRA and its like) is a few trained parameters beside a base model, which the file
`adapter_config.json` names. transformers loads both frozen; the gradients that count are those of
the adapter.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from torch import nn

from dataworth.errors import ConfigError
from dataworth.features.embeddings.base import folder_identity
from dataworth.features.embeddings.causal import load
from dataworth.lm.folders import ADAPTER, base_name, check_model_folder, is_adapter

_CONFIG = "config.json"
_SHOWN = 6  # models that an error names


def check_folder(folder: Path) -> None:
    """Check that a folder holds a model; raise ConfigError that says what it holds instead.

    Other files than these two may hold a model's configuration one day: what has neither and no
    models inside is left to whoever loads it.
    """
    if is_adapter(folder) and importlib.util.find_spec("peft") is None:
        raise ConfigError(f"{folder}: is an adapter, which needs PEFT: pip install peft")
    if is_adapter(folder) or (folder / _CONFIG).is_file():
        check_model_folder(folder)
        return
    models = [path.parent.name for path in sorted(folder.glob(f"*/{_CONFIG}"))]
    models += [path.parent.name for path in sorted(folder.glob(f"*/{ADAPTER}"))]
    if models:
        names = ", ".join(str(folder / name) for name in models[:_SHOWN])
        more = f" and {len(models) - _SHOWN} more" if len(models) > _SHOWN else ""
        raise ConfigError(f"{folder}: is no model but holds some; name one: {names}{more}")


def loaded(folder: Path) -> Any:
    """Load the model (`dataworth.lm.llama.LanguageModel`). ConfigError if it cannot be loaded."""
    check_folder(folder)
    try:
        return load(str(folder))
    except ConfigError as error:
        if not is_adapter(folder):
            raise
        raise ConfigError(
            f"{folder}: is an adapter for the model {base_name(folder)!r}, which could not be "
            f"loaded; put it there, or its path into {ADAPTER} (base_model_name_or_path): {error}"
        ) from error


def base_of(folder: Path) -> Path | None:
    """Return the folder of an adapter's base model; None if it is not on this machine."""
    name = base_name(folder)
    return Path(name) if name and Path(name).is_dir() else None


def identity_of(folder: Path) -> str:
    """Return the identity of a model, wherever it lies; an adapter's with its base."""
    identity = folder_identity(folder)
    base = base_of(folder) if is_adapter(folder) else None
    return identity if base is None else f"{identity}-{folder_identity(base)}"


def thaw(model: nn.Module, folder: Path) -> None:
    """Set `requires_grad` on an adapter's parameters and on no other ones.

    A whole model stays as it is. Raises ConfigError if nothing of the model is trained then.
    """
    if is_adapter(folder):
        model.requires_grad_(False)
        adapted: Any = model
        adapted.set_adapter(adapted.active_adapters())
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError(
            f"{folder}: none of the model's parameters is trained (all are frozen as it is "
            "loaded), so no gradient can be taken; give the whole model in float32, or a LoRA "
            "adapter merged into it (merge_and_unload)"
        )
