"""The lock of a folder: what others left in its place harms nothing and is told in one line."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import Any

import pytest

from dataworth.engine.files import write_json
from dataworth.errors import RunError
from dataworth.table.folder import LOCK, lock_folder


def fails(folder: Path, *said: str) -> None:
    with pytest.raises(RunError) as caught:
        lock_folder(folder, "working in this folder")
    message = str(caught.value)
    assert "\n" not in message
    for part in said:
        assert part in message


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / LOCK).symlink_to(victim)
    fails(folder, ".lock", "remove it")
    assert victim.read_text() == "precious"
    victim.unlink()
    fails(folder, ".lock", "remove it")
    assert not victim.exists()


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_file(make: Any, tmp_path: Path) -> None:
    make(tmp_path / LOCK)
    fails(tmp_path, ".lock", "remove it")


def test_a_lock_that_a_dead_process_left_holds_nobody_up(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text("12345\n")
    with lock_folder(tmp_path, "working in this folder"):
        fails(tmp_path, "another process is working in this folder")
    lock_folder(tmp_path, "working in this folder").close()
    assert (tmp_path / LOCK).read_text() == "12345\n"


def test_a_disk_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    fails(tmp_path, "cannot be locked (No locks available)", "local disk")


def test_a_link_in_the_place_of_a_temporary_file(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / f".partial-{os.getpid()}-a.json").symlink_to(victim)
    write_json(tmp_path / "a.json", [1])
    assert victim.read_text() == "precious" and (tmp_path / "a.json").read_text() == "[\n  1\n]\n"
