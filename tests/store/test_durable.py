"""Files that are staged and swapped in: many writers of one target, and what a dead one leaves."""

import threading
from pathlib import Path

from upath import UPath

from tapewatch.store.durable import Staging, WriteError


def test_writers_that_begin_together_do_not_hinder_each_other(tmp_path: Path) -> None:
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


def test_what_a_dead_writer_left_goes_with_the_next_and_a_living_one_s_stays(tmp_path: Path) -> None:
    target = UPath(tmp_path / "day.parquet")
    (tmp_path / ".day.parquet.0.tmp").write_bytes(b"half")
    with Staging(target) as living:
        living.path.write_bytes(b"whole")
        with Staging(target):
            pass
        living.swap_in()
    assert [path.name for path in tmp_path.iterdir()] == ["day.parquet"]
    assert target.read_bytes() == b"whole"
