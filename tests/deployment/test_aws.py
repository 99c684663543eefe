"""The CloudFormation templates: linted, with rights that name their resources, and created, updated and deleted on moto."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from cfnlint.decode import cfn_yaml
from moto import mock_aws

from deployment.aws import costs

FOLDER = Path(__file__).resolve().parents[2] / "deployment" / "aws"
TEMPLATES = sorted(FOLDER.glob("*.yaml"))
REGION = "us-east-1"


def template(name: str) -> dict[str, Any]:
    return cfn_yaml.load(str(FOLDER / f"{name}.yaml"))


def statements(node: Any) -> Iterator[dict[str, Any]]:
    """Every statement of every policy in a template."""
    if isinstance(node, dict):
        if "Effect" in node:
            yield node
        node = list(node.values())
    if isinstance(node, list):
        for inner in node:
            yield from statements(inner)


@pytest.mark.long
def test_cfn_lint_finds_nothing() -> None:
    assert [path.stem for path in TEMPLATES] == ["cluster", "machine", "network", "storage"]
    command = [str(Path(sys.executable).parent / "cfn-lint"), "--regions", REGION, "--", *map(str, TEMPLATES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_no_right_is_for_everything(path: Path) -> None:
    for statement in statements(template(path.stem)["Resources"]):
        if statement["Effect"] == "Deny" or "Principal" in statement:
            continue
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        assert not [action for action in actions if "*" in action]
        # Metrics have no resources: there the namespace is the limit.
        if statement["Resource"] == "*":
            assert actions == ["cloudwatch:PutMetricData"]
            assert statement["Condition"] == {"StringEquals": {"cloudwatch:namespace": "Tapewatch"}}


def test_the_bucket_is_closed_keeps_versions_and_forgets_old_backups() -> None:
    bucket = template("storage")["Resources"]["Bucket"]
    assert bucket["DeletionPolicy"] == "Retain"
    properties = bucket["Properties"]
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
    (denied,) = template("storage")["Resources"]["OnlyOverTls"]["Properties"]["PolicyDocument"]["Statement"]
    assert (denied["Effect"], denied["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})
    rules = {rule["Id"]: rule for rule in properties["LifecycleConfiguration"]["Rules"]}
    assert rules["backups"]["ExpirationInDays"] == {"Ref": "DaysOfBackups"}
    assert rules["old-days"]["Transitions"][0]["StorageClass"] == "STANDARD_IA"


def test_alarms_reach_a_person_and_say_what_to_do() -> None:
    resources = template("machine")["Resources"].values()
    alarms = [one["Properties"] for one in resources if one["Type"] == "AWS::CloudWatch::Alarm"]
    assert len(alarms) == 4
    for alarm in alarms:
        assert {"Ref": "Alarms"} in alarm["AlarmActions"]
        assert " - " in alarm["AlarmDescription"]


def test_the_page_has_the_costs_of_the_price_list_and_each_price_names_its_source() -> None:
    page = costs.PAGE.read_text("utf-8")
    assert page == costs.written(page), "run `python -m deployment.aws.costs`"
    prices = tomllib.loads((FOLDER / "prices.toml").read_text("utf-8"))["prices"]
    assert all(price["source"].startswith("https://aws.amazon.com/") for price in prices.values())
    used = {item.price for item in (*costs.machine(), *costs.cluster())}
    assert prices.keys() == used | {"t3-medium-1-year", "t3-medium-3-years"}


def test_a_month_costs_what_a_bill_by_hand_says() -> None:
    by_hand = Decimal("30.37") + Decimal("3.65") + Decimal("4.00") + Decimal("3.30") + Decimal("2.65") + Decimal("1.70")
    assert costs.total(costs.machine()) == by_hand
    for lake_gb in (100, 500):
        assert 45 <= costs.total(costs.machine(lake_gb=lake_gb)) <= 55
    # 730 hours at 0.0416 - 0.0261 less.
    assert by_hand - costs.total(costs.machine(reserved="1-year")) == Decimal("11.32")


def test_the_bill_has_what_the_templates_make() -> None:
    machine, cluster = template("machine"), template("cluster")
    amounts = {item.price: item.amount for item in costs.machine()}
    kinds = [one["Type"] for one in machine["Resources"].values()]
    assert machine["Parameters"]["Kind"]["Default"] == "t3.medium"
    assert amounts["disk"] == machine["Parameters"]["DiskGiB"]["Default"]
    assert amounts["alarm"] == kinds.count("AWS::CloudWatch::Alarm")
    assert amounts["address"] == kinds.count("AWS::EC2::EIP") * costs.HOURS
    measured = re.findall(r'"measurement": \["(\w+)"\]', (FOLDER / "machine.yaml").read_text("utf-8"))
    assert amounts["metric"] == len(measured) + kinds.count("AWS::Logs::MetricFilter")
    tasks = [one["Properties"] for one in cluster["Resources"].values() if one["Type"] == "AWS::ECS::TaskDefinition"]
    fargate = {item.price: item.amount for item in costs.cluster()}
    assert fargate["fargate-cpu"] == sum(int(task["Cpu"]) for task in tasks) / 1024 * costs.HOURS
    assert fargate["fargate-memory"] == sum(int(task["Memory"]) for task in tasks) / 1024 * costs.HOURS
    assert fargate["address"] == len(tasks) * costs.HOURS


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[boto3.Session]:
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        yield boto3.Session(region_name=REGION)


def parameters(**values: str) -> list[dict[str, str]]:
    return [{"ParameterKey": name, "ParameterValue": value} for name, value in values.items()]


class Stacks:
    """CloudFormation as a person uses it: the outputs of one stack are the parameters of the next."""

    def __init__(self, aws: boto3.Session) -> None:
        self.client = aws.client("cloudformation")

    def apply(self, name: str, *, updates: bool = False, **values: str) -> dict[str, str]:
        call = self.client.update_stack if updates else self.client.create_stack
        body = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
        call(StackName=name, TemplateBody=body, Parameters=parameters(**values), Capabilities=["CAPABILITY_IAM"])
        (stack,) = self.client.describe_stacks(StackName=name)["Stacks"]
        assert stack["StackStatus"] == ("UPDATE_COMPLETE" if updates else "CREATE_COMPLETE")
        return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:Tried to parse:UserWarning")  # moto lacks alarms, filters and the bucket's policy
def test_stacks_are_created_updated_and_deleted(aws: boto3.Session) -> None:
    stacks, s3 = Stacks(aws), aws.client("s3")
    network, storage = stacks.apply("network"), stacks.apply("storage")
    bucket = storage["Bucket"]
    s3.head_bucket(Bucket=bucket)
    user = aws.client("iam").list_users()["Users"][0]["UserName"]
    assert user == storage["StreamingUser"]
    shared = {"Network": network["Network"], "Use": storage["Use"], "Bucket": bucket, "Images": "registry.example.com/"}
    machine = {
        **shared,
        "Subnet": network["SubnetA"],
        "Mail": "a@example.com",
        "Source": "https://example.com/tapewatch.tar.gz",
    }
    made = stacks.apply("machine", **machine)
    ec2 = aws.client("ec2")
    (instance,) = ec2.describe_instances(InstanceIds=[made["Machine"]])["Reservations"][0]["Instances"]
    assert instance["InstanceType"] == "t3.medium"
    secret = f"arn:aws:secretsmanager:{REGION}:123456789012:secret:tapewatch-AbCdEf"  # pragma: allowlist secret
    stacks.apply("cluster", **shared, Subnets=network["Subnets"], Secret=secret)
    assert (
        len(aws.client("ecs").list_services(cluster=aws.client("ecs").list_clusters()["clusterArns"][0])["serviceArns"])
        == 2
    )

    stacks.apply("storage", updates=True, DaysOfBackups="7")
    for name in ("cluster", "machine", "storage"):
        stacks.client.delete_stack(StackName=name)
        with pytest.raises(ClientError, match="does not exist"):
            stacks.client.describe_stacks(StackName=name)
    states = [one["State"]["Name"] for group in ec2.describe_instances()["Reservations"] for one in group["Instances"]]
    assert states == ["terminated"]
