"""Facts passed from one asset to the next."""

import json
from pathlib import Path

import dagster as dg

from resources.lake import LakeResource
from resources.references import ReferenceIOManager

KEY = dg.AssetKey(["models", "champion"])


def test_a_reference_is_replaced_atomically(tmp_path: Path) -> None:
    io = ReferenceIOManager(lake=LakeResource(root=str(tmp_path)))
    io.handle_output(dg.build_output_context(asset_key=KEY), {"version": 1})
    with (tmp_path / "models" / "champion.json").open() as reader:
        io.handle_output(dg.build_output_context(asset_key=KEY), {"version": 2})
        assert json.load(reader) == {"version": 1}
    assert io.load_input(dg.build_input_context(asset_key=KEY)) == {"version": 2}
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["champion.json"]
