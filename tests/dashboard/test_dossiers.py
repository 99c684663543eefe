"""The dossier on an alert's page: the one that `tapewatch explain` builds, from a process of its own."""

from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

from dashboard import places
from dashboard.dossiers.process import DossierError, DossierProcess
from dashboard.dossiers.registry import Registry
from dashboard.views import alert
from dashboard.views.controls import escaped
from models.base import CHAMPIONS_OF_MINUTES
from resources.mlflow_registry import ModelRegistry
from tapewatch.market.tables.derived import INCIDENTS
from tapewatch.store.database.people.verdicts import incident_id
from tests.dashboard.test_views import run, texts
from tests.support.scored_days import DAYS, ScoredDays

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScoredDays]:
    """A home whose lake and database hold two scored days, with the forest in its registry, as champion."""
    home = tmp_path_factory.mktemp("home")
    made = ScoredDays(home)
    registry = ModelRegistry(f"sqlite:///{home}/mlflow/mlflow.db", (home / "mlflow" / "artifacts").as_uri())
    with registry.run("isolation_forest") as started:
        made.forest.save(home / "saved" / "detector")
        mlflow.log_artifacts(str(home / "saved"), "model/artifacts")
    registry.register("isolation_forest", f"{started.info.artifact_uri}/model", started.info.run_id)
    registry.set_champion("isolation_forest", 1)
    yield made
    made.database.close()


@pytest.fixture(scope="module")
def dossiers(platform: ScoredDays) -> Iterator[DossierProcess]:
    """What pages of that home use."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TAPEWATCH_HOME", str(Path(str(platform.lake.root)).parent))
        for name in ("TAPEWATCH_DATABASE_URL", "MLFLOW_TRACKING_URI"):
            patch.delenv(name, raising=False)
        places.close()
        yield places.dossiers()
        places.close()


def test_the_process_builds_what_the_command_builds(platform: ScoredDays, dossiers: DossierProcess) -> None:
    registry = Registry(f"sqlite:///{Path(str(platform.lake.root)).parent}/mlflow/mlflow.db")
    assert registry.first_champion(*CHAMPIONS_OF_MINUTES) == "isolation_forest/1"
    assert registry.first_champion("ensemble") is None
    name = platform.strongest(DAYS[1])
    found = dossiers.of(name)
    assert found.is_identical
    assert found.as_dict() == platform.dossier(name).as_dict()
    with pytest.raises(DossierError, match="there is no alert 'nothing'"):
        dossiers.of("nothing")
    event = platform.database.read(INCIDENTS, limit=1).row(0, named=True)
    with pytest.raises(DossierError, match="scan/1, which found this, cannot be loaded"):
        dossiers.of(incident_id(event["market"], event["symbol"], event["start_time"]))


def test_the_page_shows_the_dossier_also_after_the_process_died(platform: ScoredDays, dossiers: DossierProcess) -> None:
    if (process := dossiers._process) is not None:
        process.kill()
        process.wait()
    page = run(alert.show, id=platform.strongest(DAYS[1]))
    expected = platform.dossier(platform.strongest(DAYS[1]))
    assert not page.exception
    assert [line.removeprefix("- ") for line in page.markdown[1].value.splitlines()] == [
        *map(escaped, expected.reasons)
    ]
    assert "made again from the lake, bit for bit" in texts(page)
    measures, similar = (frame.value for frame in page.dataframe[:2])
    assert measures["contribution"].tolist()[:5] == [each.contribution for each in expected.measures[:5]]
    assert similar["distance"].tolist() == [row["distance"] for row in expected.neighbours]
