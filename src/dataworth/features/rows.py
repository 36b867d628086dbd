"""Rows of small files beside the pool: benchmarks, scores, lists of words."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
import zstandard

from dataworth.errors import InputError

_JSON = (".jsonl", ".json", ".jsonl.gz", ".json.gz", ".jsonl.zst")


def read_text(path: Path) -> str:
    """Return a file's text, uncompressed by its name. InputError names a file that cannot be."""
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
        elif path.suffix == ".zst":
            with zstandard.ZstdDecompressor().stream_reader(data) as reader:
                data = reader.read()
        return data.decode("utf-8")
    except (OSError, EOFError, UnicodeDecodeError, zstandard.ZstdError) as error:
        raise InputError(f"{path}: cannot be read ({error}); give another file") from error


def read_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of a Parquet or JSON-lines file. InputError names file and line."""
    if path.suffix == ".parquet":
        try:
            yield from pq.read_table(path).to_pylist()
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{path}: is no Parquet file ({error}); give another one") from error
        return
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise InputError(f"{path}, line {number}: is no JSON ({error}); mend it") from error
        if not isinstance(row, Mapping):
            raise InputError(f"{path}, line {number}: is no object; give one object a line")
        yield row


def benchmark_texts(path: Path) -> list[str]:
    """Return the examples of a benchmark's file as texts: of a row all its strings, joined.

    Of a text file the parts between empty lines. Of a YAML file, a task of lm-eval, those of the
    local files that it names under `data_files`.
    """
    if path.suffix in (".yaml", ".yml"):
        return [text for file in _data_files(path) for text in benchmark_texts(file)]
    if path.suffix == ".parquet" or path.name.endswith(_JSON):
        return ["\n".join(_strings(row)) for row in read_rows(path)]
    return [part for part in read_text(path).split("\n\n") if part.strip()]


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item)


class _Loader(yaml.SafeLoader):
    """YAML with tags such as `!function`, whose values are not looked at."""


_Loader.add_multi_constructor("!", lambda loader, suffix, node: None)


def _data_files(path: Path) -> list[Path]:
    try:
        task = yaml.load(read_text(path), _Loader)
    except yaml.YAMLError as error:
        raise InputError(f"{path}: is no YAML ({error}); mend it") from error
    options = task.get("dataset_kwargs") if isinstance(task, Mapping) else None
    named = options.get("data_files") if isinstance(options, Mapping) else None
    files = [path.parent / file for file in _strings(named)]
    if not files or not all(file.is_file() for file in files):
        raise InputError(
            f"{path}: names no local files under dataset_kwargs, data_files; give the benchmark's "
            "own files"
        )
    return files
