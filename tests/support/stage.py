"""A deployment for a Dask cluster: the lake on a real S3 server, Dagster's storage, MLflow's and ours on a real PostgreSQL."""

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import pytest

from tapewatch.settings import Settings
from tests.support.command import environment
from tests.support.dask import DaskCluster, dask_cluster
from tests.support.hosts import Host
from tests.support.postgres import postgres_server
from tests.support.s3 import S3Server, s3_server


@dataclass(frozen=True, slots=True)
class Stage:
    """A deployment without workers yet: what they reach, and the home that they share."""

    home: Path
    bucket: str
    s3: S3Server
    dask: DaskCluster
    hosts: Sequence[Host]
    settings: Settings

    def worker(self, number: int, **changes: str) -> subprocess.Popen[bytes]:
        return self.dask.worker(on=self.hosts[number], **changes)

    def objects(self, prefix: str = "lake/") -> dict[str, bytes]:
        """Every object below `prefix`, by default of the lake, by its path from there."""
        client = self.s3.client()
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        keys = [found["Key"] for page in pages for found in page.get("Contents", ())]
        return {key.removeprefix(prefix): client.get_object(Bucket=self.bucket, Key=key)["Body"].read() for key in keys}


@contextmanager
def stage(folder: Path, hosts: Sequence[Host], variables: Mapping[str, str]) -> Iterator[Stage]:
    """The stores and the scheduler, reached at the hosts' gateway. Meanwhile this process has the deployment's environment.

    Args:
        variables: settings besides the addresses of the stores.
    """
    gateway = hosts[0].gateway
    with ExitStack() as stack:
        server = stack.enter_context(postgres_server())
        if not ip_address(gateway).is_loopback:  # else its socket is enough, and its port may be another's
            server.listen(gateway)
        (folder / "s3").mkdir(parents=True)
        s3 = stack.enter_context(s3_server(folder / "s3", gateway))
        bucket = s3.bucket()
        given = environment(
            folder / "home",
            NO_PROXY=gateway,
            no_proxy=gateway,
            TAPEWATCH_LAKE_URL=f"s3://{bucket}/lake",
            TAPEWATCH_ARTIFACTS_URL=f"s3://{bucket}/mlflow",
            TAPEWATCH_DATABASE_URL=server.database(),
            TAPEWATCH_DAGSTER_POSTGRES_URL=server.database(),
            MLFLOW_TRACKING_URI=server.database(),
            # A lost host is noticed sooner than after half a minute; Dask takes no less.
            DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP="11s",
            DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL="30s",
            **s3.environment,
            **variables,
        )
        dask = stack.enter_context(dask_cluster(folder / "dask", given, gateway))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in {**given, "TAPEWATCH_DASK_ADDRESS": dask.address}.items():
            patch.setenv(name, value)
        s3.use(patch)
        yield Stage(folder / "home", bucket, s3, dask, hosts, Settings(_env_file=None))
