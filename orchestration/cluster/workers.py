"""The workers of a cluster: whether they can be reached and belong to this deployment."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from dask.distributed import Client
from distributed.comm.addressing import get_address_host_port

from orchestration.errors import RunError
from tapewatch import __version__
from tapewatch.settings import Settings

#: For an answer of the host, and of a scheduler that may be busy.
_REACH_S, _CONNECT_S = 10, 60


@contextmanager
def cluster(address: str) -> Iterator[Client]:
    """A client of the scheduler at `address`, whose workers fit this deployment.

    Raises:
        RunError: no scheduler answers, it has no worker, or a worker has another version, folder or lake, or several threads.
    """
    try:
        # Dask would try again and again where nothing listens.
        with socket.create_connection(get_address_host_port(address), _REACH_S):
            pass
        client = Client(address, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        # Without its cause: a run's outcome shows the root of an error.
        raise RunError(
            f"no Dask scheduler at TAPEWATCH_DASK_ADDRESS={address}: start one (docs/how_to/dask.md), or unset the variable "
            f"to compute in one process ({error})"
        ) from None
    with client:
        _check(client, address)
        yield client


def deployment() -> dict[str, str]:
    """What a worker must have in common with the process that sends it work; read in each of them."""
    settings = Settings()
    return {
        "version": __version__,
        "TAPEWATCH_HOME": str(settings.home.absolute()),
        "TAPEWATCH_LAKE_URL": settings.lake_url or "",
        "TAPEWATCH_DAGSTER_POSTGRES_URL": "set" if settings.dagster_postgres_url else "",
    }


def _check(client: Client, address: str) -> None:
    workers = client.scheduler_info(n_workers=-1)["workers"]
    if not workers:
        raise RunError(f"the Dask scheduler at {address} has no worker: start one (docs/how_to/dask.md)")
    for name, facts in workers.items():
        if facts["nthreads"] != 1:
            raise RunError(
                f"the Dask worker at {name} has {facts['nthreads']} threads, and a step needs a process of its own: "
                "start it with --nthreads 1"
            )
    own = deployment()
    for name, theirs in client.run(deployment, on_error="return").items():
        if isinstance(theirs, OSError):
            continue  # it died at this moment: others do its work
        if isinstance(theirs, Exception):
            raise theirs
        for key, value in own.items():
            if theirs[key] != value:
                raise RunError(
                    f"the Dask worker at {name} has {key} {theirs[key] or 'unset'}, and this process {value or 'unset'}: start "
                    f"it with this deployment's environment (process {os.getpid()})"
                )
