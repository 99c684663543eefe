"""The spool of streamed batches as a Dagster resource."""

from pathlib import Path

import dagster as dg
from pydantic import Field


class SpoolResource(dg.ConfigurableResource):
    """Where collectors and the healer leave their batches."""

    root: str
    merging_share: float = Field(0.25, gt=0, le=1)
    """Of the time, the share that the runs of one partition may take, each of which rewrites it."""

    @property
    def path(self) -> Path:
        """The spool's folder."""
        return Path(self.root)
