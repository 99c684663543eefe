"""The spool of streamed batches as a Dagster resource."""

from pathlib import Path

import dagster as dg
from pydantic import Field


class SpoolResource(dg.ConfigurableResource):
    """The folder of the batches that collectors and the healer write."""

    root: str
    merging_share: float = Field(0.25, gt=0, le=1)
    """Share of the time that the runs of one partition may take; each rewrites the partition."""

    @property
    def path(self) -> Path:
        return Path(self.root)
