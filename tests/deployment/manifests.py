"""The chart's manifests as Kubernetes gets them: `python -m tests.deployment.manifests > FILE`."""

import sys
from pathlib import Path
from typing import Any

import helm_python
import yaml

from tapewatch.market.instruments import Market

CHART = Path(__file__).resolve().parents[2] / "deployment" / "helm" / "tapewatch"
VALUES = {
    "existingSecret": "tapewatch",  # pragma: allowlist secret
    "bucket": "tapes",
    "markets": [str(market) for market in Market],
    # As docs/how_to/deploy_kubernetes.md adds it.
    "parts": {
        "paper-trader": {
            "image": "collector",
            "args": ["serve", "paper-trader", "--wait"],
            "single": True,
            "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
        }
    },
    "ingress": {"hosts": {"webserver": "dagster.example.com", "scoring": "scoring.example.com"}},
}
Manifest = dict[str, Any]


def rendered(**values: object) -> list[Manifest]:
    """Every manifest of the chart, with all markets and `values`."""
    with helm_python.Chart.load(CHART) as chart:
        files = chart.render(values={**VALUES, **values}, name="tw", namespace="markets")
    texts = files.values() if isinstance(files, dict) else [files]
    return [part for text in texts for part in yaml.safe_load_all(text) if part]


if __name__ == "__main__":
    yaml.safe_dump_all(rendered(), sys.stdout)
