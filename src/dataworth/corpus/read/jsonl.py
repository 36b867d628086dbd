"""JSON lines at the speed of memory: the compiled scan, and line by line what it leaves open."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dataworth.corpus.fields import Fields, RowError
from dataworth.corpus.kernels.scan import LOOK, NAME_BYTES, scan_lines
from dataworth.corpus.kernels.utf8 import PADDING, count_lines
from dataworth.corpus.labels import first_keys, label_column
from dataworth.corpus.read.blocks import LineBlock, LongLine, line_blocks
from dataworth.corpus.read.lines import bad_line, read_line, read_lines, too_long
from dataworth.corpus.read.rows import BadLine, Rows, empty_bytes, label_paths
from dataworth.corpus.read.streams import open_stream
from dataworth.corpus.units import Unit

_AHEAD = 1 << 16  # bytes that the buffer has beyond the end of a unit, where its last line ends


def read_jsonl(
    unit: Unit,
    fields: Fields,
    *,
    options: Mapping[str, Any] | None = None,
    block_bytes: int,
    fast: bool = True,
) -> Iterator[tuple[Rows, int]]:
    """Yield a unit's rows, block after block, each with the uncompressed bytes it took.

    `fast` False reads line by line throughout; the result is the same.
    """
    scanner = Scanner(fields) if fast and Scanner.fits(fields) else None
    whole = unit.file.compression is not None
    start, end = (0, None) if whole else (unit.start, unit.end)
    if not whole:  # a buffer for small files is made in vain
        block_bytes = min(block_bytes, unit.end - max(unit.start - 1, 0) + _AHEAD)
    lines = 0
    with open_stream(unit.file, max(start - 1, 0), options) as stream:
        for block in line_blocks(stream, start, end, block_bytes, fields.max_line_bytes):
            if isinstance(block, LongLine):
                rows = _long(block, fields, unit.file.path, lines + 1)
                taken = block.bytes + 1
            else:
                taken = block.end
                if scanner is not None:
                    rows = scanner.read(block, unit.file.path, lines + 1)
                else:
                    data = block.data[block.start : block.end].tobytes()
                    rows = read_lines(
                        data, fields, file=unit.file.path, offset=block.offset, first_line=lines + 1
                    )
            lines += rows.lines
            yield rows, taken


def _long(line: LongLine, fields: Fields, file: str, number: int) -> Rows:
    rows = read_lines(b"", fields, file=file, offset=line.offset, first_line=number)
    detail = too_long(line.bytes, fields)
    rows.bad.append(
        BadLine(file, number, line.offset, line.bytes, "line_too_long", detail, line.sample)
    )
    rows.lines = 1
    return rows


class Scanner:
    """The compiled reader for one choice of fields."""

    def __init__(self, fields: Fields) -> None:
        self.fields = fields
        self.paths = label_paths(fields)
        keys = [key for path in self.paths.values() for key in first_keys(path)]
        self.names = list(dict.fromkeys([*fields.text, *keys]))
        encoded = [name.encode("utf-8", "surrogatepass") for name in self.names]
        padded = b"".join(name.ljust(NAME_BYTES, b"\0") for name in encoded)
        self._names: NDArray[np.uint8] = np.frombuffer(padded, np.uint8)
        self._sizes = np.array([len(name) for name in encoded], np.int64)

    @staticmethod
    def fits(fields: Fields) -> bool:
        """Tell if the compiled reader can read these fields: one top-level text field."""
        if len(fields.text) != 1 or fields.template is not None or "." in fields.text[0]:
            return False
        paths = label_paths(fields).values()
        names = [*fields.text, *paths]
        return fields.text[0] not in {key for path in paths for key in first_keys(path)} and all(
            len(name.encode("utf-8", "surrogatepass")) < NAME_BYTES for name in names
        )

    def read(self, block: LineBlock, file: str, first_line: int) -> Rows:
        """Return the rows of a block; `first_line` is the number of its first line."""
        data, start, end = block.data, block.start, block.end
        most = int(count_lines(data, start, end)) + 1
        wanted = len(self.names)
        out = empty_bytes(end - start + PADDING)
        line, offset, size, starts, ends = (np.empty(most, np.int64) for _ in range(5))
        spans = np.empty(2 * wanted * most, np.int64)
        states = np.empty(most, np.uint8)
        count = scan_lines(
            data, start, end, self._names, self._sizes, out,
            line, offset, size, starts, ends, spans, states,
        )  # fmt: skip
        lines = most - int(data[end - 1] == 10)
        long = size[:count] > self.fields.max_line_bytes
        look = np.flatnonzero(long | (states[:count] == LOOK))
        places = spans.reshape(-1, wanted, 2)[:count]
        rows = Rows(
            data=out,
            starts=starts[:count],
            ends=ends[:count],
            offset=offset[:count] + (block.offset - start),
            bytes=size[:count],
            columns={
                name: label_column(data, path, self.names, places)
                for name, path in self.paths.items()
            },
            lines=lines,
            blank=lines - count,
        )
        if len(look):
            self._look(rows, look, data, offset, line + first_line, file)
        return rows

    def _look(
        self,
        rows: Rows,
        look: NDArray[np.int64],
        data: NDArray[np.uint8],
        places: NDArray[np.int64],
        numbers: NDArray[np.int64],
        file: str,
    ) -> None:
        """Have the marked rows read line by line; drop the bad ones."""
        keep = np.ones(len(rows.starts), np.bool_)
        labels: list[list[str | None]] = []
        for row in look.tolist():
            line = data[places[row] : places[row] + rows.bytes[row]].tobytes()
            try:
                text, row_labels, *_ = read_line(line, self.fields, self.paths)
                begin = int(rows.starts[row])
                rows.data[begin : begin + len(text)] = np.frombuffer(text, np.uint8)
                rows.ends[row] = begin + len(text)
                labels.append(row_labels)
            except RowError as error:
                keep[row] = False
                labels.append([None] * len(self.paths))
                place = int(rows.offset[row])
                rows.bad.append(bad_line(file, int(numbers[row]), place, line, error))
        mask = np.zeros(len(keep), np.bool_)
        mask[look] = True
        for i, (name, column) in enumerate(rows.columns.items()):
            values = pa.array([row_labels[i] for row_labels in labels], pa.string())
            rows.columns[name] = pc.replace_with_mask(column, pa.array(mask), values)
        if not keep.all():
            rows.starts, rows.ends = rows.starts[keep], rows.ends[keep]
            rows.offset, rows.bytes = rows.offset[keep], rows.bytes[keep]
            kept = pa.array(keep)
            rows.columns = {name: column.filter(kept) for name, column in rows.columns.items()}
