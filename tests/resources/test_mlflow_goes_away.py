"""MLflow's server is killed in the middle of a training and of a promotion: nothing is half done, and the champion keeps scoring."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mlflow
import pytest

from assets.models import training
from models.loading import load_detector
from resources.hand_over import hand_over
from resources.mlflow_registry import ModelRegistry, RegisteredModel, RegistryError
from resources.promotion import Promoter, PromotionError
from tapewatch.store.database.database import Database
from tapewatch.store.database.model_history import HistoryConflictError, history
from tapewatch.streaming.detection.champion import file_of, read_champion
from tests.support.detectors import ordinary_rows
from tests.support.mlflow_server import MlflowServer
from tests.support.registry import NAME, Parts

pytestmark = pytest.mark.slow
DAYS = {"train": ["2024-06-03|stocks"], "validation": ["2024-06-04|stocks"]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    before = mlflow.get_tracking_uri()
    with pytest.MonkeyPatch.context() as patch, MlflowServer(tmp_path_factory.mktemp("mlflow")) as started:
        # By default MLflow's client tries for minutes.
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        yield started
    mlflow.set_tracking_uri(before)


class Fragile(ModelRegistry):
    """A registry whose server is killed just before one of its methods."""

    def breaks_at(self, server: MlflowServer, method: str) -> "Fragile":
        """This registry, broken."""
        own = getattr(self, method)

        def broken(*arguments: Any, **named: Any) -> Any:
            server.kill()
            return own(*arguments, **named)

        object.__setattr__(self, method, broken)
        return self


@pytest.fixture
def registry(server: MlflowServer) -> Iterator[ModelRegistry]:
    """A registry without models, behind a server that answers."""
    server.start()
    found = registry_of(server)
    client = found.connect()
    for name in found.names():
        client.delete_registered_model(name)
    yield found
    server.start()


def registry_of(server: MlflowServer) -> Fragile:
    return Fragile(server.address, (server.folder / "artifacts").as_uri())


def test_a_training_whose_server_goes_away_registers_nothing(server: MlflowServer, registry: ModelRegistry) -> None:
    rows, config = ordinary_rows(), {"trees": 10, "seed": 1}
    with pytest.raises(RegistryError, match=r"MLflow at http://127.0.0.1:\d+ went away .* nothing was registered"):
        training.fit(registry_of(server).breaks_at(server, "log_onnx"), NAME, rows, DAYS, config)
    assert mlflow.active_run() is None
    server.start()
    assert registry.names() == []
    assert registry.champion(NAME) is None
    # The same once more, with a server that stays.
    fitted = training.fit(registry, NAME, rows, DAYS, config)
    version = registry.register(NAME, fitted.model_uri, fitted.run_id)
    again = registry.load_any(f"models:/{NAME}/{version.version}")
    assert again.threshold == fitted.threshold


@pytest.mark.parametrize(
    ("method", "is_promoted"),
    [("set_champion", False), ("end_challenge", True)],
    ids=["before the alias", "after the alias"],
)
def test_a_promotion_whose_server_goes_away_is_made_or_not(
    server: MlflowServer, registry: ModelRegistry, tmp_path: Path, method: str, *, is_promoted: bool
) -> None:
    parts = Parts(tmp_path, registry)
    first, second = (parts.version(tmp_path / str(number)) for number in range(2))
    with Database(f"sqlite:///{tmp_path}/tapewatch.db") as database:
        promoter = Promoter(registry, database, "ada")
        promoter.promote(first, over=None, reason="it is the first")
        hand_over(registry, tmp_path, (NAME,))
        failing = Promoter(registry_of(server).breaks_at(server, method), database, "ada")
        if is_promoted:
            failing.promote(second, over=1, reason="it finds more")
        else:
            with pytest.raises(PromotionError, match="was not promoted, and nothing was recorded"):
                failing.promote(second, over=1, reason="it finds more")
        # Whatever becomes of MLflow, the file that collectors score with is whole.
        live = read_champion(file_of(tmp_path, "minutes"), load_detector)
        assert live.model == str(first)
        assert live.detector.score(ordinary_rows().head(20)).shape == (20,)
        with pytest.raises(RegistryError, match="cannot be asked for the champion"):
            registry.champion(NAME)
        server.start()
        assert registry.champion(NAME) == (second if is_promoted else first)
        assert promoter.faults() == []
        if not is_promoted:
            promoter.promote(second, over=1, reason="it finds more")
        assert [entry["version"] for entry in history(database)] == [1, 2]
        assert promoter.faults() == []


def test_of_two_promotions_at_once_one_wins_behind_a_server_too(registry: ModelRegistry, tmp_path: Path) -> None:
    parts = Parts(tmp_path, registry)
    first, second, third = (parts.version(tmp_path / str(number)) for number in range(3))
    with Database(f"sqlite:///{tmp_path}/tapewatch.db") as database:
        promoter = Promoter(registry, database, "ada")
        promoter.promote(first, over=None, reason="it is the first")

        def promoted(version: RegisteredModel) -> bool:
            try:
                promoter.promote(version, over=1, reason="it finds more")
            except HistoryConflictError:
                return False
            return True

        with ThreadPoolExecutor(2) as pool:
            won = list(pool.map(promoted, (second, third)))
        assert sorted(won) == [False, True]
        assert registry.champion(NAME) == (second if won[0] else third)
        assert promoter.faults() == []
