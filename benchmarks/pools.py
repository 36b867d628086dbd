"""Pools to measure on, made of the real pool: any size, format, document length and dirt.

    python benchmarks/pools.py                     lists what can be made
    python benchmarks/pools.py plain repeat:500MB  makes these under $DATAWORTH_BENCH_DIR

| name              | what it is                                                                   |
|-------------------|------------------------------------------------------------------------------|
| plain             | the pool as it is, shuffled, in 8 plain JSONL files                          |
| zst, gz, parquet  | the same documents in the same order, in 8 files of that format              |
| repeat:SIZE       | SIZE (such as 100MB, 5GB) of plain JSONL in 8 files, the pool over and over  |
| zst:SIZE, ...     | the documents of repeat:SIZE in 8 files of that format                       |
| part:SIZE         | the first SIZE of `plain` in 2 files, for what is slow                       |
| sixth             | about every sixth document of `plain`, by hash of the text, in 8 files       |
| ascii, mixed      | 200 MB of ASCII-only documents, and of the others (most of them not English) |
| joined            | pieces of one source joined into documents of 50 to 50,000 words             |
| planted           | the pool with bad lines and near duplicates, and a list of what was planted  |

Repeated pools hold no document twice. Round 0 is the pool itself; in round r, document i is cut at
a word near the middle and gets the second half of another document of its domain, so that uids,
lengths and n-grams differ from those of all other rounds while each domain keeps its language. A
text that was made before (only very short ones) is left out.

Everything is a function of the data and `SEED`; a pool that is already there is not made again.
"""

from __future__ import annotations

import gzip
import random
import re
import shutil
import sys
import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from common import data_folder, scratch
from dataworth.corpus.documents import Documents
from dataworth.corpus.uid import hash_uid
from dirt import plant

SEED = 2302
SIXTH = 0x7369787468  # the stream of `hash_uid`
FILES = 8
SCRIPT_BYTES = 200_000_000
UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9}
WORD = re.compile(r"\S+")
Row = dict[str, Any]


def build(name: str) -> Path:
    """The folder of pool `name`, made now if it is not there; *.jsonl* or *.parquet inside it.

    Raises SystemExit if there is no pool of that name.
    """
    kind, _, size = name.partition(":")
    if kind not in BUILDERS:
        raise SystemExit(f"no pool {name}: there are {', '.join(BUILDERS)}")
    folder = scratch("pools") / name.replace(":", "-")
    if not folder.exists():
        start = time.perf_counter()
        partial = folder.with_name(folder.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        (partial / "pool").mkdir(parents=True)
        BUILDERS[kind](partial, parse_size(size) if size else 0)
        partial.rename(folder)
        total = sum(file.stat().st_size for file in files(folder / "pool"))
        seconds = time.perf_counter() - start
        print(f"{name}: {total / 1e6:,.0f} MB in {seconds:.0f} s, {folder}", file=sys.stderr)
    return folder / "pool"


def files(folder: Path) -> list[Path]:
    """The files of a pool, by name."""
    return sorted(path for path in folder.iterdir() if path.is_file())


def parse_size(text: str) -> int:
    """Bytes of a size such as 100MB or 5GB (powers of ten)."""
    match = re.fullmatch(r"(\d+)(KB|MB|GB)", text)
    if match is None:
        raise SystemExit(f"{text} is not a size such as 100MB or 5GB")
    return int(match[1]) * UNITS[match[2]]


def plain_name(name: str) -> str:
    """The pool of plain JSONL that holds the same documents as pool `name`."""
    kind, _, size = name.partition(":")
    if kind not in ("zst", "gz", "parquet"):
        return name
    return f"repeat:{size}" if size else "plain"


def plain_of(size: int) -> list[Path]:
    """The files that a pool in another format is made of."""
    unit, one = next(item for item in reversed(UNITS.items()) if size % item[1] == 0)
    return files(build(f"repeat:{size // one}{unit}" if size else "plain"))


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a file in order: JSONL, plain or compressed, or Parquet."""
    if path.suffix == ".parquet":
        yield from pq.read_table(path).to_pylist()
        return
    with path.open("rb") as file:
        if path.suffix == ".zst":
            data = zstandard.ZstdDecompressor().stream_reader(file).read()
        else:
            data = gzip.decompress(file.read()) if path.suffix == ".gz" else file.read()
    yield from (orjson.loads(line) for line in data.split(b"\n") if line.strip())


def pool_rows() -> list[Row]:
    """All documents of the pool, in one fixed mixed order."""
    return list(_pool_rows())


@cache
def _pool_rows() -> tuple[Row, ...]:
    folder = data_folder() / "pool"
    names = sorted(
        path for path in folder.iterdir() if ".jsonl" in path.name or path.suffix == ".parquet"
    )
    rows = [row for path in names for row in read_rows(path)]
    random.Random(SEED).shuffle(rows)
    return tuple(rows)


def repeated(rows: Sequence[Row]) -> Iterator[Row]:
    """The documents, then endlessly more of them in which no text occurs twice: see the top."""
    seen: set[int] = set()
    members: dict[str, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        members[row["domain"]].append(i)
        seen.add(hash(row["text"]))
    yield from rows
    place = {i: k for group in members.values() for k, i in enumerate(group)}
    for turn in range(1, 1_000_000):
        generator = random.Random(SEED + turn)
        shift = {name: generator.randrange(1, max(2, len(g))) for name, g in members.items()}
        order = list(range(len(rows)))
        generator.shuffle(order)
        draws = [generator.uniform(0.3, 0.7) for _ in range(256)]
        for i in order:
            row = rows[i]
            group = members[row["domain"]]
            other = rows[group[(place[i] + shift[row["domain"]]) % len(group)]]["text"]
            text = splice(row["text"], other, draws[i & 255], draws[(i >> 8) & 255])
            if (key := hash(text)) not in seen:
                seen.add(key)
                yield {**row, "id": f"{row['id']}-{turn}", "text": text}


def splice(first: str, second: str, cut_first: float, cut_second: float) -> str:
    """The beginning of one text and the end of another, each cut after a space near its share."""
    head = first.find(" ", int(len(first) * cut_first)) + 1
    tail = second.find(" ", int(len(second) * cut_second)) + 1
    return first[:head] + second[tail:] if head and tail else first + "\n" + second


def until(lines: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Lines up to the one that reaches `size` bytes."""
    total = 0
    for line in lines:
        yield line
        total += len(line)
        if total >= size:
            return


def encode(rows: Iterable[Row]) -> Iterator[bytes]:
    """Rows as JSON lines, characters outside ASCII as they are."""
    return (orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)


def write_lines(folder: Path, lines: Iterable[bytes], *, count: int = FILES) -> None:
    """Deal lines out to `count` files in turn, 256 at a time, without holding them."""
    with ExitStack() as stack:
        opened = [
            stack.enter_context((folder / f"part-{i:02}.jsonl").open("wb", buffering=1 << 20))
            for i in range(count)
        ]
        for number, line in enumerate(lines):
            opened[(number >> 8) % count].write(line)


def build_plain(folder: Path, size: int) -> None:
    """`plain`."""
    write_lines(folder / "pool", encode(pool_rows()))


def build_zst(folder: Path, size: int) -> None:
    """`zst`: level 3, as most corpora are."""
    for path in plain_of(size):
        packed = zstandard.ZstdCompressor(level=3).compress(path.read_bytes())
        (folder / "pool" / f"{path.name}.zst").write_bytes(packed)


def build_gz(folder: Path, size: int) -> None:
    """`gz`: level 6, no time stamp."""
    for path in plain_of(size):
        packed = gzip.compress(path.read_bytes(), compresslevel=6, mtime=0)
        (folder / "pool" / f"{path.name}.gz").write_bytes(packed)


def build_parquet(folder: Path, size: int) -> None:
    """`parquet`: Snappy, row groups of 5,000 documents."""
    for path in plain_of(size):
        columns = pa.Table.from_pylist(list(read_rows(path)), schema=schema())
        name = f"{path.stem}.parquet"
        pq.write_table(columns, folder / "pool" / name, row_group_size=5_000)


def schema() -> pa.Schema:
    """The columns of the pool."""
    return pa.schema([(name, pa.string()) for name in ("id", "text", "domain", "source", "lang")])


def build_repeat(folder: Path, size: int) -> None:
    """`repeat:SIZE`."""
    write_lines(folder / "pool", until(encode(repeated(pool_rows())), size))


def build_part(folder: Path, size: int) -> None:
    """`part:SIZE`."""
    write_lines(folder / "pool", until(encode(pool_rows()), size), count=2)


def build_sixth(folder: Path, size: int) -> None:
    """`sixth`: each domain keeps its share; copies of a text stay together."""
    rows = pool_rows()
    uid = Documents.from_texts([row["text"] for row in rows]).uid
    kept = np.flatnonzero(hash_uid(SEED, uid, SIXTH) % np.uint64(6) == 0)
    write_lines(folder / "pool", encode(rows[row] for row in kept))


def build_ascii(folder: Path, size: int) -> None:
    """`ascii`."""
    rows = [row for row in pool_rows() if row["text"].isascii()]
    write_lines(folder / "pool", until(encode(repeated(rows)), size or SCRIPT_BYTES))


def build_mixed(folder: Path, size: int) -> None:
    """`mixed`: documents of which at least a tenth of the characters are not ASCII."""
    rows = [
        row
        for row in pool_rows()
        if len(row["text"]) - len(row["text"].encode("ascii", "ignore")) >= 0.1 * len(row["text"])
    ]
    write_lines(folder / "pool", until(encode(repeated(rows)), size or SCRIPT_BYTES))


def build_joined(folder: Path, size: int) -> None:
    """`joined`."""
    rows = list(joined(pool_rows()))
    random.Random(SEED).shuffle(rows)
    write_lines(folder / "pool", encode(rows))


def joined(
    rows: Iterable[Row],
    *,
    median: int = 400,
    spread: float = 1.6,
    low: int = 50,
    high: int = 50_000,
) -> Iterator[Row]:
    """Documents of log-normal length in words, each from the pieces of one source in their order.

    Lengths are drawn with the given median and standard deviation of the logarithm, and clipped to
    [low, high]. What is left of a source after its last full document is a shorter one; fewer than
    `low` words are left out. `pieces` counts the pieces a document has text of.
    """
    sources: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: str(row["id"])):
        sources[row["domain"], row["source"]].append(row)
    generator = random.Random(SEED)
    for (domain, source), pieces in sorted(sources.items()):
        text = "\n\n".join(piece["text"] for piece in pieces)
        words = [match.span() for match in WORD.finditer(text)]
        firsts = piece_starts([len(piece["text"]) for piece in pieces])
        at = number = 0
        while len(words) - at >= low:
            drawn = generator.lognormvariate(0, spread) * median
            end = min(len(words), at + round(min(max(drawn, low), high)))
            start, stop = words[at][0], words[end - 1][1]
            yield {
                "id": f"joined-{domain}-{source}-{number}",
                "text": text[start:stop],
                "domain": domain,
                "source": source,
                "pieces": max(1, bisect_left(firsts, stop) - bisect_left(firsts, start)),
            }
            at, number = end, number + 1


def piece_starts(lengths: Iterable[int], gap: int = 2) -> list[int]:
    """Where pieces begin that are joined with `gap` characters between them."""
    starts, at = [], 0
    for length in lengths:
        starts.append(at)
        at += length + gap
    return starts


def build_planted(folder: Path, size: int) -> None:
    """`planted`, and beside the pool planted.jsonl and counts.json: see benchmarks/dirt.py."""
    opened = [(folder / "pool" / f"part-{i:02}.jsonl").open("wb") for i in range(FILES)]
    lines = [0] * FILES
    counts: Counter[str] = Counter()
    with (folder / "planted.jsonl").open("wb") as record:
        for number, (line, what) in enumerate(plant(pool_rows(), seed=SEED)):
            target = (number >> 8) % FILES
            opened[target].write(line)
            lines[target] += 1
            counts[str(what["kind"]) if what else "clean"] += 1
            if what:
                where = {"file": f"part-{target:02}.jsonl", "line": lines[target]}
                record.write(orjson.dumps({**what, **where}) + b"\n")
    for file in opened:
        file.close()
    (folder / "counts.json").write_bytes(orjson.dumps(counts, option=orjson.OPT_INDENT_2))


BUILDERS: dict[str, Callable[[Path, int], None]] = {
    "plain": build_plain,
    "zst": build_zst,
    "gz": build_gz,
    "parquet": build_parquet,
    "repeat": build_repeat,
    "part": build_part,
    "sixth": build_sixth,
    "ascii": build_ascii,
    "mixed": build_mixed,
    "joined": build_joined,
    "planted": build_planted,
}


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    for wanted in sys.argv[1:]:
        print(build(wanted))
