"""The data folder, while other processes read it."""

from pathlib import Path

import dagster as dg
from pydantic import SecretStr

from orchestration.home import introduce_stream, prepare_home
from tapewatch.settings import Settings


def test_the_configuration_is_replaced_atomically(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, _env_file=None)
    prepare_home(settings)
    config = settings.dagster_home / "dagster.yaml"
    before, text = config.stat(), config.read_text()
    assert "QueuedRunCoordinator" in text
    with config.open() as reader:
        prepare_home(settings)
        assert config.stat() == before, "nothing new, nothing written"
        # It holds no password.
        prepare_home(settings.model_copy(update={"dagster_postgres_url": SecretStr("postgresql://me@127.0.0.1/x")}))
        assert reader.read() == text
    assert config.read_text().startswith(text)
    assert "postgres_url" in config.read_text()
    assert [path.name for path in settings.dagster_home.iterdir()] == [config.name]


def test_an_edited_configuration_is_kept(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, _env_file=None)
    prepare_home(settings)
    config = settings.dagster_home / "dagster.yaml"
    config.write_text("telemetry:\n  enabled: false\n")
    prepare_home(settings.model_copy(update={"dagster_postgres_url": SecretStr("postgresql://me@127.0.0.1/x")}))
    assert config.read_text() == "telemetry:\n  enabled: false\n"


def test_a_home_that_never_streamed_has_no_upstream_that_was_never_materialized() -> None:
    key = dg.AssetKey(["tape", "stream_batches"])
    with dg.DagsterInstance.ephemeral() as opened:
        for _ in range(2):
            introduce_stream(opened)
        assert len(opened.fetch_materializations(key, limit=9).records) == 1
        assert not opened.get_materialized_partitions(key)
