"""Bentos in an object store: what is published is fetched whole or not at all, and a service elsewhere follows it."""

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from serving.bento import build_bento
from serving.bucket import BentoBucket, BucketError
from serving.store import (
    BENTO_NAME,
    CHALLENGER,
    CHAMPION,
    MODEL_ALIAS,
    MODEL_NAME,
    StoredBento,
    StoredModel,
    point,
    pointed,
)
from tests.support import ask
from tests.support.command import environment
from tests.support.crash_points import Killed, killed_at
from tests.support.detectors import fitted
from tests.support.ports import free_port
from tests.support.s3 import S3Server
from tests.support.scoring import put_model

pytestmark = pytest.mark.slow

PATIENCE_S = 300


def add(bento_home: Path, version: str) -> None:
    """Add a Bento and its model, of few files, and make them the newest and the champion."""
    tag = f"isolation_forest-{version}"
    bento, model = bento_home / "bentos" / BENTO_NAME / tag, bento_home / "models" / MODEL_NAME / tag
    for folder in (bento / "src", model):
        folder.mkdir(parents=True)
    (bento / "src" / "service.py").write_text(f"VERSION = {version}\n")
    (bento / "bento.yaml").write_text(
        yaml.safe_dump({"models": [{"tag": f"{MODEL_NAME}:{tag}", "alias": MODEL_ALIAS}]})
    )
    (bento.parent / "latest").write_text(tag)
    (model / "model.yaml").write_text(yaml.safe_dump({"metadata": {"name": "isolation_forest", "version": version}}))
    point(bento_home, CHAMPION, tag)


@pytest.fixture
def published(tmp_path: Path) -> tuple[Path, Path]:
    """A store with one version, and one with a second and a challenger."""
    first, second = tmp_path / "first", tmp_path / "second"
    for store in (first, second):
        add(store, "1")
    put_model(second, "3")
    add(second, "2")
    point(second, CHALLENGER, "isolation_forest-3")
    return first, second


def files(folder: Path) -> dict[str, bytes]:
    """A store's files but its own notes."""
    found = (
        path
        for path in folder.rglob("*")
        if path.is_file() and path.name[0] != "." and path.parent.parent.name != "models"
    )
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def state(bento_home: Path) -> tuple[str, str]:
    """The newest Bento and the champion, both of which must be whole."""
    bento = StoredBento.latest(bento_home)
    champion = pointed(bento_home, CHAMPION)
    assert bento is None or (bento.model_folder / "model.yaml").is_file()
    assert not champion or StoredModel.find(bento_home, champion) is not None
    return (bento.tag if bento else "", champion)


def test_a_store_elsewhere_has_what_was_published(published: tuple[Path, Path], bucket: str, tmp_path: Path) -> None:
    first, second = published
    place, elsewhere = BentoBucket(f"s3://{bucket}/bentos"), tmp_path / "elsewhere"
    assert not place.fetch(elsewhere)
    assert place.publish(first)
    assert not place.publish(first)
    assert place.fetch(elsewhere)
    assert not place.fetch(elsewhere)
    assert files(elsewhere) == files(first)
    # A champion that a webhook set here stays until the next publication.
    put_model(elsewhere, "9")
    point(elsewhere, CHAMPION, "isolation_forest-9")
    assert not place.fetch(elsewhere)
    assert pointed(elsewhere, CHAMPION) == "isolation_forest-9"
    assert place.publish(second)
    assert place.fetch(elsewhere)
    assert pointed(elsewhere, CHAMPION) == "isolation_forest-2"
    assert pointed(elsewhere, CHALLENGER) == "isolation_forest-3"
    assert files(second).items() <= files(elsewhere).items()
    # The publisher's own service fetches nothing.
    assert not place.fetch(second)


@pytest.mark.parametrize("address", ["s3", "folder"])
def test_a_publisher_that_is_killed_leaves_the_old_state_or_the_new_one(
    published: tuple[Path, Path], bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    first, second = published
    place = BentoBucket(f"s3://{bucket}/bentos" if address == "s3" else str(tmp_path / "shared"))
    place.publish(first)
    old = ("tapewatch_scoring:isolation_forest-1", "isolation_forest-1")
    write, left = BentoBucket._write, 0

    def counted(bucket: BentoBucket, key: str, content: bytes) -> None:
        nonlocal left
        if left == 0:
            raise Killed
        left -= 1
        write(bucket, key, content)

    monkeypatch.setattr(BentoBucket, "_write", counted)
    done = 0
    while True:
        left = 1
        place.fetch(tmp_path / str(done))
        assert state(tmp_path / str(done)) == old
        try:
            place.publish(second)
        except Killed:
            done += 1
        else:
            break
    assert done == 3  # a Bento and two models, of which each attempt adds one
    place.fetch(tmp_path / "last")
    assert files(tmp_path / "last").items() <= files(second).items()
    assert state(tmp_path / "last")[1] == "isolation_forest-2"


def test_a_reader_that_is_killed_at_any_moment_has_a_whole_bento_and_catches_up(
    published: tuple[Path, Path], tmp_path: Path
) -> None:
    first, second = published
    place, before = BentoBucket(str(tmp_path / "shared")), tmp_path / "before"
    place.publish(first)
    place.fetch(before)
    place.publish(second)
    moment, seen = 0, set()
    while True:
        home = tmp_path / "home"
        shutil.copytree(before, home)
        with killed_at(moment) as disk:
            try:
                place.fetch(home)
            except Killed:
                seen.add(state(home))
        is_over = disk.moments < moment
        place.fetch(home)
        assert state(home) == ("tapewatch_scoring:isolation_forest-2", "isolation_forest-2")
        assert files(home).items() >= files(second).items()
        shutil.rmtree(home)
        if is_over:
            break
        moment += 1
    assert moment > 10
    assert len(seen) > 1


def test_readers_beside_publishers_see_whole_bentos_only(
    published: tuple[Path, Path], bucket: str, tmp_path: Path
) -> None:
    place, is_over = BentoBucket(f"s3://{bucket}/bentos"), threading.Event()
    errors: list[BaseException] = []

    def again(work: Callable[[], object]) -> None:
        try:
            while not is_over.is_set():
                work()
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)

    def reader(home: Path) -> Callable[[], object]:
        return lambda: (place.fetch(home), state(home))

    place.publish(published[0])
    work = [lambda: place.publish(published[0]), lambda: place.publish(published[1])]
    threads = [
        threading.Thread(target=again, args=[each])
        for each in (*work, reader(tmp_path / "a"), reader(tmp_path / "a"), reader(tmp_path / "b"))
    ]
    for thread in threads:
        thread.start()
    time.sleep(3)
    is_over.set()
    for thread in threads:
        thread.join()
    assert errors == []
    place.publish(published[1])
    place.fetch(tmp_path / "b")
    assert state(tmp_path / "b")[1] == "isolation_forest-2"


def test_a_damaged_object_is_refused_and_the_store_stays(published: tuple[Path, Path], tmp_path: Path) -> None:
    place, elsewhere = BentoBucket(str(tmp_path / "shared")), tmp_path / "elsewhere"
    place.publish(published[0])
    place.fetch(elsewhere)
    place.publish(published[1])
    (damaged,) = (tmp_path / "shared").rglob("isolation_forest-3-*.zip")
    damaged.write_bytes(damaged.read_bytes()[:-1])
    before = state(elsewhere)
    with pytest.raises(BucketError, match=r"isolation_forest-3-\w+\.zip is damaged: materialize serving/anomaly_bento"):
        place.fetch(elsewhere)
    assert state(elsewhere) == before


def test_a_place_that_cannot_be_written_or_read_is_named(published: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    place = BentoBucket(str(tmp_path / "file"))
    with pytest.raises(BucketError, match=f"TAPEWATCH_BENTOS_URL: {tmp_path}/file cannot be written"):
        place.publish(published[0])
    with pytest.raises(BucketError, match=f"TAPEWATCH_BENTOS_URL: {tmp_path}/file cannot be read"):
        place.fetch(tmp_path / "home")


@pytest.fixture
def service(bucket: str, s3: S3Server, tmp_path: Path) -> Iterator[str]:
    """A scoring service on a machine of its own: an empty home, and the bucket."""
    port = free_port()
    given = environment(
        tmp_path / "home",
        TAPEWATCH_BENTOS_URL=f"s3://{bucket}/bentos",
        TAPEWATCH_PORT_SCORING=str(port),
        NO_PROXY="127.0.0.1",
        no_proxy="127.0.0.1",
        **s3.environment,
    )
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "serving"], env=given, stdout=log, stderr=log)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


def test_a_service_elsewhere_starts_with_the_bento_and_swaps_to_the_next(
    service: str, bucket: str, tmp_path: Path
) -> None:
    model, store = tmp_path / "model", tmp_path / "store"
    fitted().save(model)
    build_bento(model, name="isolation_forest", version="1", metadata={}, bento_home=store)

    def wait_for(version: str) -> None:
        deadline, said = time.monotonic() + PATIENCE_S, ""
        while f'"version":"{version}"' not in said:
            assert time.monotonic() < deadline, f"{said} {(tmp_path / 'log').read_text()[-3000:]}"
            time.sleep(0.2)
            try:
                said = ask.get(f"{service}/model", trust_env=False, timeout=10).text.replace(" ", "")
            except httpx.HTTPError as error:
                said = str(error)

    place = BentoBucket(f"s3://{bucket}/bentos")
    place.publish(store)
    wait_for("1")
    put_model(store, "2")
    point(store, CHAMPION, "isolation_forest-2")
    place.publish(store)
    wait_for("2")
