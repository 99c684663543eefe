"""What the stacks cost a month: `python -m deployment.aws.costs` renews the section of docs/how_to/deploy_aws.md.

Prices are in `prices.toml`; quantities are those of the templates, and of a deployment whose lake holds 100 GB.
"""

import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any, Final

HOURS: Final = 730
_CENT = Decimal("0.01")
_HERE = Path(__file__).resolve().parent
_DATA: Final[dict[str, Any]] = tomllib.loads((_HERE / "prices.toml").read_text("utf-8"), parse_float=Decimal)
PAGE: Final = _HERE.parents[1] / "docs" / "how_to" / "deploy_aws.md"
HEADING: Final = "## What it costs a month\n"


@dataclass(frozen=True)
class Item:
    """A line of the bill: so much of what `price` names."""

    name: str
    price: str
    amount: Decimal | int
    #: What the amount is for, in words; by default the multiplication.
    note: str = ""

    @property
    def usd(self) -> Decimal:
        """The cost in dollars, to the cent."""
        return (self.amount * _price(self.price)).quantize(_CENT, ROUND_HALF_UP)

    @property
    def reckoning(self) -> str:
        """The amount times the price of one."""
        unit = _DATA["prices"][self.price]["unit"]
        return self.note or f"{self.amount:,} {unit} × {_price(self.price)}".replace("  ", " ")


def machine(*, lake_gb: int = 100, reserved: str = "") -> list[Item]:
    """The bill of `machine.yaml` with `network.yaml` and `storage.yaml`; `reserved` is empty, `1-year` or `3-years`."""
    kind = f"t3-medium-{reserved}" if reserved else "t3-medium"
    return [
        Item(f"t3.medium, {'reserved' if reserved else 'on demand'}", kind, HOURS),
        Item("public IPv4 address", "address", HOURS),
        Item("gp3 disk", "disk", 50),
        Item("S3, the lake", "s3", lake_gb),
        Item("S3, written objects", "s3-writes", 200),
        Item("CloudWatch logs, taken in", "logs", 5),
        Item("CloudWatch logs, kept for a month", "logs-kept", 5),
        Item("CloudWatch metrics", "metric", 3),
        Item("CloudWatch alarms", "alarm", 4),
        Item("Secrets Manager", "secret", 1),
        Item("traffic out", "traffic", 0, "the first 100 GB are free"),
    ]


def cluster() -> list[Item]:
    """The bill of `cluster.yaml` with one collector (0.5 vCPU, 2 GB) and one scoring task (0.5 vCPU, 1 GB)."""
    return [
        Item("Fargate, processors", "fargate-cpu", HOURS),
        Item("Fargate, memory", "fargate-memory", 3 * HOURS),
        Item("public IPv4 addresses", "address", 2 * HOURS),
        Item("EFS, spool and Bentos", "efs", 5),
        Item("CloudWatch logs, taken in", "logs", 2),
    ]


def total(items: Sequence[Item]) -> Decimal:
    """The sum in dollars."""
    return sum((item.usd for item in items), Decimal(0))


def section() -> str:
    """The section of the page, without its heading."""
    variants = {
        "as above": machine(),
        "300 GB in S3": machine(lake_gb=300),
        "reserved for a year, nothing paid in advance": machine(reserved="1-year"),
        "reserved for three years, nothing paid in advance": machine(reserved="3-years"),
        "reserved for a year, 300 GB in S3": machine(lake_gb=300, reserved="1-year"),
    }
    return "\n".join(
        (
            "",
            f"AWS's list prices of {_DATA['year']} in {_DATA['region']}, for {HOURS} hours. Prices change: to renew this section, open the `source` of each price in",
            "`deployment/aws/prices.toml`, write today's price and `year` there, and run `python -m deployment.aws.costs`.",
            "",
            "One machine (`network.yaml`, `storage.yaml`, `machine.yaml`):",
            "",
            *_bill(machine()),
            "",
            "| the same machine | $ a month |",
            "|---|--:|",
            *(f"| {name} | {total(items)} |" for name, items in variants.items()),
            "",
            "A `cluster.yaml` beside it, with one collector and one scoring task:",
            "",
            *_bill(cluster()),
            "",
        )
    )


def written(page: str) -> str:
    """The page with its last section renewed."""
    before, _, _ = page.partition(HEADING)
    return f"{before}{HEADING}{section()}"


def _bill(items: Sequence[Item]) -> list[str]:
    rows = [f"| {item.name} | {item.reckoning} | {item.usd} |" for item in items]
    return ["| what | how much | $ |", "|---|---|--:|", *rows, f"| **sum** | | **{total(items)}** |"]


def _price(name: str) -> Decimal:
    return Decimal(_DATA["prices"][name]["usd"])


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text("utf-8")), "utf-8")
    sys.stdout.write(f"{PAGE}: {total(machine())} $ a month\n")
