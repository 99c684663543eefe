"""The champion changes with its history or not at all, whoever promotes at the same time and whatever fails."""

import datetime as dt
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import mlflow
import pytest
import sqlalchemy as sa
from mlflow.exceptions import MlflowException

from resources.mlflow_registry import ModelRegistry, RegisteredModel, RegistryError
from resources.promotion import Promoter, PromotionError, champion_at
from tapewatch.market.tables.live import MODEL_HISTORY
from tapewatch.store.database.database import Database
from tapewatch.store.database.model_history import HistoryConflictError, history
from tapewatch.store.database.tables import twin
from tests.support.ports import free_port
from tests.support.registry import NAME, Parts

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    before = mlflow.get_tracking_uri()
    yield Parts(tmp_path_factory.mktemp("registry"))
    mlflow.set_tracking_uri(before)


@pytest.fixture
def three(parts: Parts, tmp_path: Path) -> Iterator[tuple[list[RegisteredModel], Promoter]]:
    """Three versions of which the first is champion, and a database of their own."""
    client = parts.registry.connect()
    for name in parts.registry.names():
        client.delete_registered_model(name)
    versions = [parts.version(tmp_path / str(number)) for number in range(3)]
    with Database(f"sqlite:///{tmp_path}/tapewatch.db") as database:
        promoter = Promoter(parts.registry, database, "ada")
        promoter.promote(versions[0], over=None, reason="there is no champion yet")
        yield versions, promoter


def test_promotions_refusals_and_rollbacks_are_a_chain(three: tuple[list[RegisteredModel], Promoter]) -> None:
    (first, second, third), promoter = three
    promoter.promote(second, over=1, reason="it finds more", evidence={"recall": 0.5})
    noon = dt.datetime.now(dt.UTC)
    promoter.refuse(third, over=2, reason="it finds less", evidence={"recall": 0.1})
    assert promoter.roll_back(NAME, None, "it raises too many alerts") == first
    assert promoter.registry.champion(NAME) == first
    entries = history(promoter.database)
    assert [(e["number"], e["action"], e["version"], e["champion_before"]) for e in entries] == [
        (1, "promoted", 1, None),
        (2, "promoted", 2, 1),
        (3, "refused", 3, 2),
        (4, "rolled_back", 1, 2),
    ]
    assert champion_at(promoter.database, NAME, noon) == 2
    assert champion_at(promoter.database, NAME, entries[0]["at_time"] - dt.timedelta(seconds=1)) is None
    assert promoter.faults() == []


def test_of_two_promotions_at_once_one_wins(three: tuple[list[RegisteredModel], Promoter]) -> None:
    (_, second, third), promoter = three

    def promoted(version: RegisteredModel) -> bool:
        try:
            promoter.promote(version, over=1, reason="it finds more")
        except HistoryConflictError:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        won = list(pool.map(promoted, (second, third)))
    assert sorted(won) == [False, True]
    champion = promoter.registry.champion(NAME)
    assert champion is not None
    assert champion.version == (2 if won[0] else 3)
    assert [e["version"] for e in history(promoter.database)] == [1, champion.version]
    assert promoter.faults() == []


def test_a_rollback_to_a_version_whose_files_are_gone_is_refused(three: tuple[list[RegisteredModel], Promoter]) -> None:
    (first, second, _), promoter = three
    promoter.promote(second, over=1, reason="it finds more")
    source = promoter.registry.versions(NAME)[-1].source
    shutil.rmtree(urlsplit(source).path)
    with pytest.raises(
        PromotionError, match=r"version 1 of isolation_forest .* its files are gone .* another version \(3, 2\)"
    ):
        promoter.roll_back(NAME, first.version, "back")
    assert promoter.registry.champion(NAME) == second
    assert len(history(promoter.database)) == 2


def test_where_mlflow_fails_nothing_is_recorded(
    three: tuple[list[RegisteredModel], Promoter], monkeypatch: pytest.MonkeyPatch
) -> None:
    (first, second, _), promoter = three

    def gone(*_: object) -> None:
        raise MlflowException("connection refused")

    with monkeypatch.context() as patch:
        patch.setattr(ModelRegistry, "set_champion", gone)
        with pytest.raises(PromotionError, match=r"connection refused.*nothing was recorded"):
            promoter.promote(second, over=1, reason="it finds more")
    assert promoter.registry.champion(NAME) == first
    assert len(history(promoter.database)) == 1
    promoter.promote(second, over=1, reason="it finds more")
    assert promoter.faults() == []


def test_what_is_changed_cut_off_or_moved_outside_is_found(three: tuple[list[RegisteredModel], Promoter]) -> None:
    (_, second, third), promoter = three
    promoter.promote(second, over=1, reason="it finds more")
    promoter.registry.set_champion(NAME, third.version)
    assert promoter.faults() == [
        "isolation_forest: the history says that version 2 is champion, MLflow's alias is at 3"
    ]
    # The next decision records the move before its own.
    promoter.refuse(second, over=3, reason="no better", evidence={})
    assert [e["action"] for e in history(promoter.database)] == ["promoted", "promoted", "found", "refused"]
    assert promoter.faults() == []
    table = twin(MODEL_HISTORY)
    with promoter.database.engine.begin() as connection:
        connection.execute(sa.update(table).where(table.c.number == 2).values(reason="it is mine"))
    assert promoter.faults() == ["entry 2 was changed: its hash is not that of its values"]
    with promoter.database.engine.begin() as connection:
        connection.execute(sa.delete(table).where(table.c.number >= 2))
    cut = promoter.faults()
    assert any("is not in the history" in fault for fault in cut)


def test_an_mlflow_that_does_not_answer_is_named_and_is_no_absent_champion(monkeypatch: pytest.MonkeyPatch) -> None:
    before = mlflow.get_tracking_uri()
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    registry = ModelRegistry(f"http://127.0.0.1:{free_port()}", "")
    try:
        with pytest.raises(
            RegistryError, match=r"MLflow at http://127.0.0.1:\d+ cannot be asked for the champion of scan"
        ):
            registry.champion("scan")
    finally:
        mlflow.set_tracking_uri(before)
