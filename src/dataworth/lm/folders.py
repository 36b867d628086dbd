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
from dataworth.errors import ConfigError, RunError

CONFIG, ADAPTER = "config.json", "adapter_config.json"
_POINTER = b"version https://git-lfs"
_LARGEST_HEADER = 100_000_000  # bytes, as the safetensors library allows
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_LORA = re.compile(r"\.lora_(?:embedding_)?[AB]\.")
_ADAPTED = ("adapter_model.safetensors", "adapter_model.bin")
_OTHER_TASKS = re.compile(r"Classification|MaskedLM|QuestionAnswering|Reward|MultipleChoice")
_OTHER_ADAPTERS = ("SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS", "SEQ_2_SEQ_LM")
_STORED = re.compile(r"(?:[IU]\d+|F8_.*|F4.*|F6.*)$")  # types of quantised weights


def is_adapter(folder: Path) -> bool:
    """Tell if a folder holds an adapter and not the whole model."""
    return (folder / ADAPTER).is_file() and not (folder / CONFIG).is_file()


def base_name(folder: Path) -> str:
    """Return the folder or name of the model that an adapter was trained on; "" if unknown."""
    return str(facts_of(folder / ADAPTER).get("base_model_name_or_path") or "")


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
        task = facts_of(folder / ADAPTER).get("task_type")
        if task in _OTHER_ADAPTERS:
            raise ConfigError(
                f"{folder}: is an adapter for another task ({task}), not for a causal language "
                "model; give one of CAUSAL_LM"
            )
        _check_weights(folder, _ADAPTED)
        if Path(name).is_dir() and Path(name).samefile(folder):
            raise ConfigError(
                f"{folder}: is an adapter and {ADAPTER} names the adapter itself as its model; "
                "write the model's folder into it (base_model_name_or_path)"
            )
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
    facts = facts_of(folder / CONFIG)
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
    """Raise ConfigError for a quantised model, one of another task or with code of its own."""
    inner = facts.get("text_config")
    for part in (facts, inner if isinstance(inner, dict) else {}):
        for key in ("quantization_config", "compression_config", "quantization"):
            if how := part.get(key):
                method = (
                    how.get("quant_method") or how.get("format") if isinstance(how, dict) else 0
                )
                default = "MLX" if key == "quantization" else "bitsandbytes"
                raise _quantised(folder, str(method or default))
    names = facts.get("architectures")
    names = [str(name) for name in names] if isinstance(names, list) else []
    other = next((name for name in names if _OTHER_TASKS.search(name)), None)
    if facts.get("is_encoder_decoder") is True:
        other = names[0] if names else "encoder and decoder"
    if other:
        raise ConfigError(
            f"{folder}: is no causal language model but {other}; give one that predicts each token "
            "from those before it"
        )
    if facts.get("auto_map"):
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING

        if facts.get("model_type") not in CONFIG_MAPPING:
            raise ConfigError(
                f"{folder}: the model needs code that lies in its folder (auto_map in {CONFIG}), "
                "which is never run; give a model that transformers knows by itself"
            )


def _quantised(place: Path, how: str) -> ConfigError:
    return ConfigError(
        f"{place}: the model is quantised ({how}), so its weights have no gradients; give the "
        "weights in float32, float16 or bfloat16, or an adapter on such"
    )


def _check_weights(folder: Path, names: tuple[str, ...]) -> None:
    """Raise ConfigError for weights that are missing, cut off or Git-LFS pointers."""
    for name in names:
        index = folder / f"{name}.index.json"
        if (folder / name).is_file():
            check_file(folder / name)
            return
        if index.is_file():
            shards = facts_of(index).get("weight_map")
            if not isinstance(shards, dict) or not shards:
                raise ConfigError(f"{index}: names no files of weights; copy it again")
            for shard in sorted(set(shards.values())):
                if not (folder / str(shard)).is_file():
                    raise ConfigError(
                        f"{folder / str(shard)}: is missing, though {index.name} names it; copy "
                        "all files of the weights"
                    )
                check_file(folder / str(shard))
            return
    found = sorted(folder.glob("*-of-*.safetensors")) or sorted(folder.glob("*-of-*.bin"))
    if found:
        raise ConfigError(
            f"{folder}: has {found[0].name} but not {names[0]}.index.json, which says what lies in "
            "which file; copy it beside them"
        )
    others = [
        path.name
        for kind in ("gguf", "safetensors", "bin", "pt", "pth", "h5", "msgpack")
        for path in sorted(folder.glob(f"*.{kind}"))
    ]
    there = f"; {others[0]} is of another form or name" if others else ""
    raise ConfigError(
        f"{folder}: has no weights ({' or '.join(names)}){there}; copy them beside it"
    )


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
                kinds = [v["dtype"] for k, v in entries.items() if k.endswith(".weight")]
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise ConfigError(f"{path}: is no file of weights ({error})") from error
            if max(ends, default=0) + 8 + length != size:
                raise ConfigError(f"{path}: is cut off ({size:,} bytes); copy it again")
            if stored := next((kind for kind in kinds if _STORED.match(str(kind))), None):
                raise _quantised(path, str(stored))
        elif not size or (head[:2] == b"PK" and not zipfile.is_zipfile(path)):
            raise ConfigError(f"{path}: is cut off ({size:,} bytes); copy it again")


def _ends(entries: dict[str, Any]) -> Iterator[int]:
    return (int(v["data_offsets"][1]) for k, v in entries.items() if k != "__metadata__")


def facts_of(path: Path) -> dict[str, Any]:
    """Return a JSON object. Raise ConfigError if the file holds none."""
    with path.open("rb") as file:
        pointer = file.read(len(_POINTER)) == _POINTER
    if pointer:
        raise ConfigError(f"{path}: is a Git-LFS pointer and not the file itself; run git lfs pull")
    try:
        found = read_json(path)
    except RunError as error:
        raise ConfigError(f"{path}: is no JSON ({error.__cause__}); copy it again") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: is not a JSON object")
    return found
