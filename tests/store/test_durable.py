"""Files that are replaced whole: several writers of one target, killed writers, and locks."""

import os
import threading
from pathlib import Path
from typing import BinaryIO
from unittest.mock import patch

import filelock
import pytest
from upath import UPath

from tapewatch.store.durable import Staging, WriteError, process_lock, write_whole


def test_concurrent_writers_do_not_disturb_each_other(tmp_path: Path) -> None:
    target, refused = UPath(tmp_path / "day.parquet"), []

    def write() -> None:
        for _ in range(1_000):
            try:
                with Staging(target):
                    pass
            except WriteError as error:
                refused.append(error)

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert not refused
    assert not list(tmp_path.iterdir())


def test_the_next_writer_removes_the_file_of_a_killed_one_but_not_of_a_running_one(tmp_path: Path) -> None:
    target = UPath(tmp_path / "day.parquet")
    (tmp_path / ".day.parquet.0.tmp").write_bytes(b"half")
    with Staging(target) as living:
        living.path.write_bytes(b"whole")
        with Staging(target):
            pass
        living.swap_in()
    assert [path.name for path in tmp_path.iterdir()] == ["day.parquet"]
    assert target.read_bytes() == b"whole"


def test_an_empty_file_is_removed_once_no_living_writer_can_have_made_it(tmp_path: Path) -> None:
    old, new = (tmp_path / f".day.parquet.{number}.tmp" for number in range(2))
    for path in (old, new):
        path.touch()
    os.utime(old, (0, 0))
    with Staging(UPath(tmp_path / "day.parquet")):
        assert not old.exists()
        assert new.exists()


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    assert write_whole(path, "first") == 5
    with pytest.raises(ZeroDivisionError):
        write_whole(path, lambda stream: stream.write(b"half") / 0)
    assert path.read_text() == "first"
    assert write_whole(path, b"second", is_synced=False) == 6
    assert [file.name for file in tmp_path.iterdir()] == ["state.json"]
    assert path.read_bytes() == b"second"


@pytest.mark.parametrize("is_shared", [False, True])
def test_a_file_is_on_disk_before_it_has_its_name(tmp_path: Path, is_shared: bool) -> None:
    path, seen = tmp_path / "state.json", []
    with patch.object(os, "fsync", lambda _: seen.append(path.exists())):
        write_whole(path, "content", is_shared=is_shared)
    assert seen == [False]


def test_writers_of_a_shared_file_do_not_share_the_staged_one(tmp_path: Path) -> None:
    path = tmp_path / "page.html"

    def write(stream: BinaryIO) -> None:
        stream.write(b"outer")
        write_whole(path, "inner", is_shared=True)
        assert path.read_text() == "inner"

    write_whole(path, write, is_shared=True)
    assert path.read_text() == "outer"


def test_a_lock_has_one_holder_and_any_thread_may_release_it(tmp_path: Path) -> None:
    path = tmp_path / "made" / "writer.lock"
    first = process_lock(path)
    first.acquire()
    with pytest.raises(filelock.Timeout):
        process_lock(path).acquire(timeout=0)
    releasing = threading.Thread(target=first.release)
    releasing.start()
    releasing.join()
    with process_lock(path).acquire(timeout=0):
        assert not first.is_locked
