"""No run can choose an address, a folder or a secret: a run's config comes from whoever launches it."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._config import ConfigType, ConfigTypeKind

from orchestration.definitions import build_definitions
from tapewatch.settings import Settings

#: What a run may set of the resources.
SWITCHES = {"/lake_io/allow_shrink"}


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    return build_definitions(Settings(home=tmp_path_factory.mktemp("home"), polygon_api_key="the-key", _env_file=None))


def leaves(kind: ConfigType, path: str = "") -> Iterator[tuple[str, ConfigType]]:
    """Every value of a config, with its path."""
    if kind.kind in (ConfigTypeKind.STRICT_SHAPE, ConfigTypeKind.PERMISSIVE_SHAPE, ConfigTypeKind.SELECTOR):
        for name, field in kind.fields.items():  # type: ignore[attr-defined]
            yield from leaves(field.config_type, f"{path}/{name}")
    elif kind.kind in (ConfigTypeKind.ARRAY, ConfigTypeKind.NONEABLE, ConfigTypeKind.MAP):
        yield from leaves(kind.inner_type, path)  # type: ignore[attr-defined]
    else:
        yield path, kind


def configs(definitions: dg.Definitions) -> Iterator[tuple[str, ConfigType]]:
    repository = definitions.get_repository_def()
    for job in repository.get_all_jobs():
        yield from leaves(job.run_config_schema.config_type)


def test_no_run_can_set_a_field_of_a_resource(definitions: dg.Definitions) -> None:
    found = {path.removeprefix("/resources") for path, _ in configs(definitions) if path.startswith("/resources")}
    assert {path.replace("/config", "") for path in found} == SWITCHES


def test_no_text_of_a_run_s_config_can_come_from_an_environment_variable(definitions: dg.Definitions) -> None:
    # Numbers and switches may: their errors do not show the value.
    assert not {path for path, kind in configs(definitions) if kind.key == "StringSourceType"}


@pytest.mark.parametrize(
    "config",
    [
        {"resources": {"tape_source": {"config": {"base_url": "http://192.0.2.1"}}}},
        {"resources": {"tape_source": {"config": {"api_key": {"env": "HOME"}}}}},
        {"resources": {"tape_source": {"config": {"flat_files": "/etc"}}}},
        {"resources": {"database": {"config": {"url": {"env": "HOME"}}}}},
        {"resources": {"io_manager": {"config": {"base_dir": "/tmp"}}}},  # noqa: S108
    ],
)
def test_a_run_that_names_an_address_is_refused(definitions: dg.Definitions, config: dict[str, object]) -> None:
    job = definitions.resolve_job_def("backfill_tape")
    with pytest.raises(dg.DagsterInvalidConfigError, match="unexpected config entry"):
        job.execute_in_process(run_config=config, partition_key="2024-06-03|stocks")


def test_text_from_the_environment_is_refused(definitions: dg.Definitions) -> None:
    config = {"ops": {"models__isolation_forest": {"config": {"first": {"env": "HOME"}}}}}
    with pytest.raises(dg.DagsterInvalidConfigError) as caught:
        definitions.resolve_job_def("train_detectors").execute_in_process(run_config=config)
    assert str(Path.home()) not in str(caught.value)
