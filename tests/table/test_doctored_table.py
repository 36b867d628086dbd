"""A table that is not what was written is refused by name; messages cannot steer a terminal."""

from pathlib import Path

import pyarrow as pa
import pytest

from dataworth.cli.errors import printable
from dataworth.corpus.documents import Column
from dataworth.errors import DataworthError
from dataworth.table.columns import PartWriter, declare, part_file
from dataworth.table.table import Layout, Table, Tally


def doctored(folder: Path, offsets: pa.Array) -> Table:
    """A table of documents alone, whose places are not what they should be."""
    key = "0" * 16
    place = folder / f"documents-{key}"
    declare(place, {}, [Column("offset", offsets.type, "", "")])
    tally = Tally(rows=[len(offsets)])
    facts = {"documents": None, "rows": len(offsets), "uids": "", "covered": len(offsets)}
    with PartWriter(part_file(place, 0)) as writer:
        writer.add({"offset": offsets})
        writer.commit({**facts, "dropped": {}, "tally": tally.as_dict()}, pa.schema([]))
    return Table(folder, Layout(place.name, None, (), 1, 0.25))


@pytest.mark.parametrize(
    "offsets",
    [pa.array([0, None], pa.int64()), pa.array([0.0, 1.0]), pa.array(["0", "1"])],
)
def test_doctored_column_is_refused(tmp_path: Path, offsets: pa.Array) -> None:
    table = doctored(tmp_path, offsets)
    with pytest.raises(DataworthError, match=r"00000\.parquet: column 'offset' is not int64"):
        table.rows(pa.array([0, 1]).to_numpy(), ["offset"])


def test_flipped_bytes_are_refused(tmp_path: Path) -> None:
    table = doctored(tmp_path, pa.array(range(1000), pa.int64()))
    (path,) = tmp_path.glob("*/00000.parquet")
    data = bytearray(path.read_bytes())
    data[4:40] = b"\xff" * 36
    path.write_bytes(data)
    with pytest.raises(DataworthError, match=r"00000\.parquet: cannot be read"):
        table.column("offset")


def test_messages_cannot_steer_a_terminal() -> None:
    assert printable("a\x1b[2Jb\u202ec\x9b\nd é 文") == "a\\x1b[2Jb\\u202ec\\x9b\nd é 文"
