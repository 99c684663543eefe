"""The Helm chart: linted, rendered, and every manifest valid for Kubernetes."""

from itertools import pairwise
from typing import Any

import helm_python
import kubernetes_validate
import pytest

from orchestration.cli.commands.deployment.serve import Part
from tapewatch.market.instruments import Market
from tapewatch.settings import Settings, variable_of
from tests.deployment.manifests import CHART, VALUES, Manifest, rendered
from tests.documentation.pages import CHECKOUT, shown

VERSION = "1.33.0"


@pytest.fixture(scope="module")
def manifests() -> list[Manifest]:
    return rendered()


def of_kind(manifests: list[Manifest], kind: str) -> dict[str, Manifest]:
    return {part["metadata"]["name"]: part for part in manifests if part["kind"] == kind}


def containers(manifests: list[Manifest]) -> dict[str, tuple[Manifest, Manifest]]:
    """Pod and container of each deployment."""
    pods = {name: part["spec"]["template"]["spec"] for name, part in of_kind(manifests, "Deployment").items()}
    return {name: (pod, pod["containers"][0]) for name, pod in pods.items()}


def test_the_chart_passes_lint() -> None:
    found = helm_python.lint(CHART, VALUES, strict=True)
    assert not [m for m in found.get("messages", []) if str(m.get("severity", "")).upper() in ("ERROR", "WARNING")], (
        found
    )


def test_the_page_installs_with_values_that_the_chart_has() -> None:
    (command,) = (
        each for each in shown(CHECKOUT / "docs" / "how_to" / "deploy_kubernetes.md") if each.words[0] == "helm"
    )
    values: dict[str, Any] = {}
    for before, word in pairwise(command.words):
        for name, value in (pair.split("=") for pair in word.split(",") if before == "--set"):
            *outer, last = name.split(".")
            inner = values
            for each in outer:
                inner = inner.setdefault(each, {})
            inner[last] = value
    found = rendered(**values)
    hosts = {rule["host"] for ingress in of_kind(found, "Ingress").values() for rule in ingress["spec"]["rules"]}
    assert {"dagster.example.com", "tapewatch.example.com"} <= hosts
    (claim,) = of_kind(found, "PersistentVolumeClaim").values()
    assert claim["spec"]["storageClassName"] == "efs"
    for _, container in containers(found).values():
        assert container["image"].startswith("registry.example.com/tapewatch-")
        assert {"secretRef": {"name": "tapewatch"}} in container["envFrom"]
    assert "s3://tapes/lake" in {
        value for part in of_kind(found, "ConfigMap").values() for value in part["data"].values()
    }


@pytest.mark.long
def test_every_manifest_is_valid(manifests: list[Manifest]) -> None:
    assert len(manifests) > 20
    for manifest in manifests:
        kubernetes_validate.validate(manifest, VERSION, strict=True)
    names = [(part["kind"], part["metadata"]["name"]) for part in manifests]
    assert len(set(names)) == len(names)


def test_pods_run_without_root_on_a_root_that_is_read_only_and_with_limits(manifests: list[Manifest]) -> None:
    for name, (pod, container) in containers(manifests).items():
        assert pod["securityContext"]["runAsNonRoot"], name
        assert container["securityContext"]["readOnlyRootFilesystem"], name
        assert container["securityContext"]["capabilities"]["drop"] == ["ALL"], name
        assert container["resources"]["limits"]["memory"], name
        assert pod["automountServiceAccountToken"] is False, name
        assert [source["secretRef"]["name"] for source in container["envFrom"] if "secretRef" in source] == [
            "tapewatch"
        ]


def test_no_secret_is_in_the_chart_and_it_says_which_are_needed() -> None:
    assert of_kind(rendered(), "Secret") == {}
    with pytest.raises(helm_python.HelmError, match="existingSecret: name a secret"):
        rendered(existingSecret="")


def test_each_part_and_setting_is_one_that_exists(manifests: list[Manifest]) -> None:
    parts = {args[1] for _, c in containers(manifests).values() if (args := c.get("args", [])) and args[0] == "serve"}
    assert parts == set(Part) - {"scoring"}
    settings = of_kind(manifests, "ConfigMap")["tw-settings"]["data"]
    markets = {variable_of("markets", market, "plan") for market in Market}
    known = {field.alias or variable_of(name) for name, field in Settings.model_fields.items()}
    assert settings.keys() <= known | markets
    assert settings["TAPEWATCH_LAKE_URL"] == "s3://tapes/lake"
    assert set(settings["TAPEWATCH_ALLOWED_HOSTS"].split(",")) > {"tw-webserver", "dagster.example.com"}


def test_each_market_has_one_collector_on_the_port_of_its_figures(manifests: list[Manifest]) -> None:
    for place, market in enumerate(Market):
        deployment = of_kind(manifests, "Deployment")[f"tw-collector-{market}"]
        assert deployment["spec"]["replicas"] == 1
        assert deployment["spec"]["strategy"] == {"type": "Recreate"}
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        assert container["args"] == ["serve", f"collector-{market}", "--wait"]
        port = Settings(_env_file=None).port_metrics + place
        assert container["ports"] == [{"name": "main", "containerPort": port}]


def test_services_select_pods_and_policies_leave_the_code_location_to_dagster(manifests: list[Manifest]) -> None:
    labels = [d["spec"]["template"]["metadata"]["labels"] for d in of_kind(manifests, "Deployment").values()]
    for name, service in of_kind(manifests, "Service").items():
        matching = [one for one in labels if service["spec"]["selector"].items() <= one.items()]
        assert len(matching) == 1, name
    policies = of_kind(manifests, "NetworkPolicy")
    assert "ingress" not in policies["tw-closed"]["spec"]
    (rule,) = policies["tw-code-location"]["spec"]["ingress"]
    sources = {one["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for one in rule["from"]}
    assert sources == {"webserver", "daemon"}


def test_scoring_grows_with_load_and_keeps_a_pod_through_maintenance(manifests: list[Manifest]) -> None:
    scaler = of_kind(manifests, "HorizontalPodAutoscaler")["tw-scoring"]["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (2, 6)
    assert "replicas" not in of_kind(manifests, "Deployment")["tw-scoring"]["spec"]
    assert of_kind(manifests, "PodDisruptionBudget")["tw-scoring"]["spec"]["maxUnavailable"] == 1
