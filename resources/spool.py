"""The spool of streamed batches as a Dagster resource."""

from pathlib import Path

import dagster as dg


class SpoolResource(dg.ConfigurableResource):
    """Where collectors and the healer leave their batches."""

    root: str

    @property
    def path(self) -> Path:
        """The spool's folder."""
        return Path(self.root)
