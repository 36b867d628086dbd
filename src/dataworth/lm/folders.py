"""Checks of a model folder before its weights are loaded, and refusals of what cannot be used.

transformers makes up what is missing: random numbers for weights, an empty tokenizer. A folder is
therefore looked at first, and refused in one line that says what to mend.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from dataworth.engine.files import read_json
from dataworth.errors import ConfigError

CONFIG, ADAPTER = "config.json", "adapter_config.json"
_POINTER = b"version https://git-lfs"
_LARGEST_HEADER = 100_000_000  # bytes, as the safetensors library allows
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_LORA = re.compile(r"\.lora_(?:embedding_)?[AB]\.")
_ADAPTED = ("adapter_model.safetensors", "adapter_model.bin")


def is_adapter(folder: Path) -> bool:
    """Tell if a folder holds an adapter and not the whole model."""
    return (folder / ADAPTER).is_file() and not (folder / CONFIG).is_file()


def base_name(folder: Path) -> str:
    """Return the folder or name of the model that an adapter was trained on; "" if unknown."""
    return str(_facts(folder / ADAPTER).get("base_model_name_or_path") or "")


def check_model_folder(folder: Path) -> None:
    """Raise ConfigError for a model that cannot be loaded as its author left it.

    Only configurations and the heads of weight files are read.
    """
    if is_adapter(folder):
        name = base_name(folder)
        if not name:
            raise ConfigError(
                f"{folder}: is an adapter and {ADAPTER} names no model that it is for; write that "
                "model's folder into it (base_model_name_or_path)"
            )
        _check_weights(folder, _ADAPTED)
        if Path(name).is_dir():
            check_model_folder(Path(name))
        elif name.startswith(("/", ".", "~")):
            raise ConfigError(
                f"{folder}: is an adapter for the model {name!r}, which is not there; put it "
                f"there, or its path into {ADAPTER} (base_model_name_or_path)"
            )
        return
    if not (folder / CONFIG).is_file():
        return
    facts = _facts(folder / CONFIG)
    _check_plain(folder, facts)
    if "dataworth" not in facts:
        _check_weights(folder, _WEIGHTS)


def check_adapter(folder: Path, names: Iterable[str]) -> None:
    """Raise ConfigError for an adapter that lacks weights of the model that it was put on.

    `names`: of the parameters of the whole. Those that are missing would have random numbers.
    """
    wanted = {re.sub(r"\.default(?=\.|$)", "", name) for name in names if _LORA.search(name)}
    path = next(folder / name for name in _ADAPTED if (folder / name).is_file())
    if path.suffix == ".safetensors":
        with path.open("rb") as file:
            held = set(json.loads(file.read(int.from_bytes(file.read(8), "little"))))
    else:
        import torch

        held = set(torch.load(path, map_location="cpu", weights_only=True))
    held = {name.removeprefix("base_model.model.") for name in held}
    lost = sorted(name for name in wanted if name not in held)
    if lost:
        raise ConfigError(
            f"{path}: lacks {len(lost):,} of the {len(wanted):,} weights of the adapter on "
            f"{base_name(folder)!r} ({', '.join(lost[:2])}); copy it again, or name the model that "
            f"it was trained on in {ADAPTER} (base_model_name_or_path)"
        )


def _check_plain(folder: Path, facts: dict[str, Any]) -> None:
    """Raise ConfigError for a quantised model and for one that needs code of its own."""
    how = facts.get("quantization_config") or facts.get("compression_config")
    if how:
        method = how.get("quant_method") if isinstance(how, dict) else None
        raise ConfigError(
            f"{folder}: the model is quantised ({method or 'bitsandbytes'}), so its weights have "
            "no gradients; give the weights in float32, float16 or bfloat16, or an adapter on such"
        )
    if facts.get("auto_map"):
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING

        if facts.get("model_type") not in CONFIG_MAPPING:
            raise ConfigError(
                f"{folder}: the model needs code that lies in its folder (auto_map in {CONFIG}), "
                "which is never run; give a model that transformers knows by itself"
            )


def _check_weights(folder: Path, names: tuple[str, ...]) -> None:
    """Raise ConfigError for weights that are missing, cut off or Git-LFS pointers."""
    for name in names:
        index = folder / f"{name}.index.json"
        if (folder / name).is_file():
            check_file(folder / name)
            return
        if index.is_file():
            shards = _facts(index).get("weight_map") or {}
            for shard in sorted(set(shards.values())):
                if not (folder / str(shard)).is_file():
                    raise ConfigError(
                        f"{folder / str(shard)}: is missing, though {index.name} names it; copy "
                        "all files of the weights"
                    )
                check_file(folder / str(shard))
            return
    raise ConfigError(f"{folder}: has no weights ({' or '.join(names)}); copy them beside it")


def check_file(path: Path) -> None:
    """Raise ConfigError for a file of weights that was cut off or is a Git-LFS pointer."""
    with path.open("rb") as file:
        head = file.read(len(_POINTER))
        if head == _POINTER:
            raise ConfigError(
                f"{path}: is a Git-LFS pointer and not the file itself; run git lfs pull"
            )
        size = path.stat().st_size
        if path.suffix == ".safetensors":
            length = int.from_bytes(head[:8], "little")
            if len(head) < 8 or length > min(size - 8, _LARGEST_HEADER):
                raise ConfigError(f"{path}: is cut off or no file of weights; copy it again")
            file.seek(8)
            try:
                entries = json.loads(file.read(length))
                ends = list(_ends(entries))
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise ConfigError(f"{path}: is no file of weights ({error})") from error
            if max(ends, default=0) + 8 + length != size:
                raise ConfigError(f"{path}: is cut off ({size:,} bytes); copy it again")
        elif not size or (head[:2] == b"PK" and not zipfile.is_zipfile(path)):
            raise ConfigError(f"{path}: is cut off ({size:,} bytes); copy it again")


def _ends(entries: dict[str, Any]) -> Iterator[int]:
    return (int(v["data_offsets"][1]) for k, v in entries.items() if k != "__metadata__")


def _facts(path: Path) -> dict[str, Any]:
    """Return a JSON object. Raise ConfigError if the file holds none."""
    with path.open("rb") as file:
        pointer = file.read(len(_POINTER)) == _POINTER
    if pointer:
        raise ConfigError(f"{path}: is a Git-LFS pointer and not the file itself; run git lfs pull")
    found = read_json(path)
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: is not a JSON object")
    return found
