"""A table that is not what was written is refused by name; messages cannot steer a terminal."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataworth.cli.errors import printable
from dataworth.errors import DataworthError
from dataworth.table.table import Table, unit_file


@pytest.mark.parametrize(
    "offsets",
    [pa.array([0, None], pa.int64()), pa.array([0.0, 1.0]), pa.array(["0", "1"])],
)
def test_doctored_column_is_refused(tmp_path: Path, offsets: pa.Array) -> None:
    pq.write_table(pa.table({"offset": offsets}), unit_file(tmp_path, 0))
    with pytest.raises(DataworthError, match=r"00000\.parquet: column 'offset' is not int64"):
        Table(tmp_path, 1).rows(pa.array([0, 1]).to_numpy(), ["offset"])


def test_flipped_bytes_are_refused(tmp_path: Path) -> None:
    path = unit_file(tmp_path, 0)
    pq.write_table(pa.table({"offset": pa.array(range(1000), pa.int64())}), path)
    data = bytearray(path.read_bytes())
    data[4:40] = b"\xff" * 36
    path.write_bytes(data)
    with pytest.raises(DataworthError, match=r"00000\.parquet: cannot be read"):
        Table(tmp_path, 1).column("offset")


def test_messages_cannot_steer_a_terminal() -> None:
    assert printable("a\x1b[2Jb\u202ec\x9b\nd é 文") == "a\\x1b[2Jb\\u202ec\\x9b\nd é 文"
