"""Resources that hold the deployment's own settings, which no run can change.

The config of a run comes from whoever launches it, and Dagster lets it set every field of a configurable resource, also
from any environment variable (`{env: NAME}`). It could thus name the server to which the vendor's key is sent.
"""

from collections.abc import Callable
from typing import Any

import dagster as dg


def fixed(resource: dg.ConfigurableResource[Any]) -> dg.ResourceDefinition:
    """`resource` as it is: a run's config has no field for it."""
    return dg.ResourceDefinition(lambda _: resource, config_schema={}, description=type(resource).__doc__)


def fixed_io_manager(build: Callable[..., dg.IOManager], **switches: bool) -> dg.IOManagerDefinition:
    """The same for an IO manager: `build(**switches)`. A run may set these switches; the values are their defaults."""
    schema = {name: dg.Field(bool, default_value=default) for name, default in switches.items()}
    return dg.IOManagerDefinition(
        lambda context: build(**context.resource_config),
        config_schema=schema,
        description=getattr(build, "func", build).__doc__,
    )
