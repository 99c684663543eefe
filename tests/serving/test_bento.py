"""The Bento is built from a saved detector, runs on its own copy of the code, and answers over HTTP."""

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from orchestration.processes.services import Service
from orchestration.processes.supervision import Supervisor, stop_signals
from serving.bento import BentoError, build_bento, pinned_requirements, service_modules
from serving.loader import Scorer
from serving.store import StoredBento, StoreError
from tapewatch.store.database.migrations import REVISIONS
from tests.support import ask
from tests.support.detectors import extreme, fitted, ordinary_rows
from tests.support.ports import free_port

PATIENCE_S = 180
JSON = {"content-type": "application/json"}
SINGLE = {"symbol": "AAPL", "event_time": "2024-06-03T13:31:00Z", "volume_ratio": 400.0}


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    fitted().save(folder)
    return folder


@pytest.fixture(scope="module")
def bento_home(tmp_path_factory: pytest.TempPathFactory, model_dir: Path) -> Path:
    home = tmp_path_factory.mktemp("bentoml")
    build_bento(model_dir, name="isolation_forest", version="3", metadata={"run": "abc"}, bento_home=home)
    return home


def poison(folder: Path) -> Path:
    """Packages with our names that fail on import, before the checkout on the path: a Bento must not import them."""
    for package in ("models", "serving", "tapewatch"):
        (folder / package).mkdir()
        (folder / package / "__init__.py").write_text("raise ImportError('not from the Bento')")
    return folder


@pytest.fixture(scope="module")
def url(bento_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    bento = StoredBento.latest(bento_home)
    assert bento is not None
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    # As a reader of docs/how_to/bentoml.md serves it; the platform's own command serves the folder.
    command = (
        str(Path(sys.executable).parent / "bentoml"),
        "serve",
        str(bento.tag),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    )
    service = Service("scoring", "Scoring", command, health=f"{address}/readyz")
    environment = {
        **os.environ,
        "BENTOML_HOME": str(bento_home),
        "BENTOML_DO_NOT_TRACK": "true",
        "PYTHONPATH": str(poison(tmp_path_factory.mktemp("poison"))),
    }
    with stop_signals() as stopping, Supervisor([service], tmp_path_factory.mktemp("home"), environment) as supervisor:
        supervisor.wait_until_healthy(service, timeout_s=300, stopping=stopping)
        yield address


def test_the_service_imports_only_library_models_and_serving() -> None:
    modules = service_modules()
    assert {"serving.service", "models.isolation_forest", "tapewatch.market.tables.tape"} <= set(modules)
    assert {name.partition(".")[0] for name in modules} == {"serving", "models", "tapewatch"}
    others = (
        "tapewatch.feeds",
        "tapewatch.emulator",
        "tapewatch.store.lake",
        "tapewatch.store.spool",
        "tapewatch.streaming",
    )
    assert not [name for name in modules if name.startswith(others)]


def test_the_service_can_tell_the_schema_of_the_database() -> None:
    revisions = {name.rpartition(".")[2][1:5] for name in service_modules() if ".migrations.versions.r" in name}
    assert revisions == set(REVISIONS)


@pytest.mark.long
def test_requirements_are_the_installed_versions() -> None:
    requirements = pinned_requirements(service_modules())
    assert all(requirement.count("==") == 1 for requirement in requirements)
    assert {"bentoml", "scikit-learn", "polars", "onnxruntime", "limits", "redis"} <= {
        requirement.partition("==")[0] for requirement in requirements
    }


def test_an_empty_store_holds_no_bento(tmp_path: Path) -> None:
    assert StoredBento.latest(tmp_path) is None


@pytest.mark.slow
def test_the_store_names_the_model_of_a_bento(bento_home: Path, model_dir: Path) -> None:
    bento = StoredBento.latest(bento_home)
    assert bento is not None
    assert (bento.tag, bento.model_name, bento.model_version) == (
        "tapewatch_scoring:isolation_forest-3",
        "isolation_forest",
        "3",
    )
    for path in model_dir.iterdir():
        assert (bento.model_folder / path.name).read_bytes() == path.read_bytes()
    manifest = yaml.safe_load((bento.model_folder / "model.yaml").read_text())
    assert manifest["metadata"]["run"] == "abc"


@pytest.mark.slow
def test_building_again_changes_nothing_and_makes_that_bento_the_latest(tmp_path: Path, model_dir: Path) -> None:
    def build(version: str) -> str:
        return build_bento(model_dir, name="isolation_forest", version=version, metadata={}, bento_home=tmp_path)

    first = build("1")
    written = (tmp_path / "bentos" / "tapewatch_scoring" / "isolation_forest-1" / "bento.yaml").stat().st_mtime_ns
    build("2")
    assert build("1") == first
    assert (
        tmp_path / "bentos" / "tapewatch_scoring" / "isolation_forest-1" / "bento.yaml"
    ).stat().st_mtime_ns == written
    latest = StoredBento.latest(tmp_path)
    assert latest is not None
    assert latest.model_version == "1", "the Bento requested last is served"


@pytest.mark.slow
def test_loading_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    missing = tmp_path / "nothing"
    with pytest.raises(BentoError, match="isolation_forest 1"):
        build_bento(missing, name="isolation_forest", version="1", metadata={}, bento_home=tmp_path / "bentoml")


@pytest.mark.slow
def test_the_error_of_a_bento_without_its_model_says_how_to_build_one(tmp_path: Path, bento_home: Path) -> None:
    home = tmp_path / "bentoml"
    (home / "bentos").mkdir(parents=True)
    (home / "bentos" / "tapewatch_scoring").symlink_to(bento_home / "bentos" / "tapewatch_scoring")
    with pytest.raises(StoreError, match="materialize"):
        StoredBento.latest(home)


@pytest.mark.slow
def test_scores_over_http_are_those_of_the_saved_detector(url: str, model_dir: Path) -> None:
    rows = extreme(ordinary_rows(3).head(4))
    plain = [
        {"symbol": row["symbol"], "event_time": row["event_time"].isoformat()}
        | {name: row[name] for name in ("session_minute", *fitted().features)}
        for row in rows.iter_rows(named=True)
    ]
    answer = ask.post(f"{url}/score?reasons=true", json={"rows": plain}, timeout=PATIENCE_S).raise_for_status().json()
    own = Scorer.load(model_dir, name="isolation_forest", version="3").answer(rows)
    assert answer["model"] == {"name": "isolation_forest", "version": "3"}
    assert [r["score"] for r in answer["results"]] == [v.score for v in own.results]
    assert all(r["is_anomaly"] for r in answer["results"])
    assert set(answer["results"][0]["reasons"][0]) == {"feature", "value", "shap_value"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        (json.dumps(SINGLE), 200, "volume_ratio"),
        ('{"symbol":"AAPL","event_time":"2024-06-03T13:31:00Z","volume_ratio":1e400}', 422, "range"),
        ('{"rows":[]}', 422, "length"),
        ('{"symbol":"AAPL","event_time":"2024-06-02T13:31:00Z","volume_ratio":1}', 200, "does not trade"),
        ('{"rows":' + "[" * 968 + "]" * 968 + "}", 422, "error"),
        ('{"rows":' + "[" * 50_000 + "]" * 50_000 + "}", 422, "nested"),
        ("not json", 422, "malformed"),
        ('{"rows":"' + "x" * 5_000_000 + '"}', 413, "fewer rows"),
    ],
)
def test_every_request_has_an_answer(url: str, body: str, status: int, word: str) -> None:
    response = ask.post(f"{url}/score?reasons=true", content=body, headers=JSON, timeout=PATIENCE_S)
    assert response.status_code == status
    assert word in response.text


@pytest.mark.slow
def test_health_and_model_pages_answer(url: str) -> None:
    for page in ("healthz", "readyz", "livez", "health"):
        assert ask.get(f"{url}/{page}", timeout=PATIENCE_S).status_code == 200
    assert ask.get(f"{url}/model", timeout=PATIENCE_S).json()["features"] == list(fitted().features)
    assert ask.get(f"{url}/score", timeout=PATIENCE_S).status_code == 405


@pytest.mark.slow
def test_paths_that_do_not_exist_share_one_label(url: str) -> None:
    def lines() -> list[str]:
        return ask.get(f"{url}/metrics", timeout=PATIENCE_S).raise_for_status().text.splitlines()

    ask.get(f"{url}/nothing", timeout=PATIENCE_S)
    lines()
    before = len(lines())
    with httpx.Client(timeout=PATIENCE_S) as client:
        for number in range(100):
            assert client.get(f"{url}/nothing/{number}?x={number}").status_code == 404
    after = lines()
    assert len(after) == before
    counted = next(
        line for line in after if line.startswith('tapewatch_scoring_requests_total{path="other",status="404"}')
    )
    assert float(counted.split()[-1]) >= 100


@pytest.mark.slow
def test_the_description_shows_how_to_score(url: str) -> None:
    document = ask.get(f"{url}/docs.json", timeout=PATIENCE_S).raise_for_status().json()
    posted = document["paths"]["/score"]["post"]
    assert {"200", "413", "422"} <= set(posted["responses"])
    schemas = document["components"]["schemas"]
    assert "volume_ratio" in schemas["Row"]["properties"]
    assert "not_scored" in schemas["Verdict"]["properties"]
    page = ask.get(f"{url}/", timeout=PATIENCE_S).text
    assert "openapi.json" in page
    assert ask.get(f"{url}/openapi.json", timeout=PATIENCE_S).json() == document
    assert "://" not in page, "it loads nothing from elsewhere"
    for name in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert ask.get(f"{url}/{name}", timeout=PATIENCE_S).is_success, name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example.com"}, 403),
        ({"origin": "https://evil.example.com"}, 403),
        ({"content-type": "text/plain"}, 415),
    ],
)
def test_requests_of_other_sites_pages_are_refused(url: str, headers: dict[str, str], status: int) -> None:
    answer = ask.post(f"{url}/score", content=json.dumps(SINGLE), headers=JSON | headers, timeout=PATIENCE_S)
    assert answer.status_code == status
