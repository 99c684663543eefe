"""Passes small facts between unpartitioned assets, as JSON beside the lake's tables."""

import json
from typing import Any

import dagster as dg

from resources.lake import LakeResource
from tapewatch.store.durable import Staging


class ReferenceIOManager(dg.ConfigurableIOManager):
    """Keeps a dict of plain values under the asset's key, `{root}/{group}/{name}.json`."""

    lake: dg.ResourceDependency[LakeResource]

    def handle_output(self, context: dg.OutputContext, obj: dict[str, Any]) -> None:
        """Replace the object atomically."""
        with Staging(self._path(context.asset_key)) as staging:
            staging.path.write_text(json.dumps(obj, indent=1))
            staging.swap_in()

    def load_input(self, context: dg.InputContext) -> dict[str, Any]:
        """The dict that the upstream asset returned last."""
        return dict(json.loads(self._path(context.asset_key).read_text()))

    def _path(self, key: dg.AssetKey) -> Any:
        group, name = key.path
        return self.lake.open().root / group / f"{name}.json"
