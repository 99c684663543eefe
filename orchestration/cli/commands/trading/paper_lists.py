"""`tapewatch paper orders|positions|signals|bets|equity`: lists of a paper account."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from orchestration.cli.listing import Column, Field, Format, Listing, counted, time_field
from orchestration.errors import reports_errors
from tapewatch.settings import Settings

if TYPE_CHECKING:
    from tapewatch.trading.paper.view import AccountView

app = typer.Typer()

AccountOption = Annotated[str, typer.Option("--account", "-a", help="name of the paper account")]
FormatOption = Annotated[Format, typer.Option("--format", help="a table for people, or csv or json for programs")]
MostOption = Annotated[int, typer.Option("--limit", min=1, help="rows at most, the newest")]
_MINUTE = "%m-%d %H:%M"


def _time(name: str, heading: str = "") -> Column:
    return Column(heading or name, lambda row: "" if row[name] is None else f"{row[name]:{_MINUTE}}")


def _number(name: str, form: str = ",g", heading: str = "") -> Column:
    return Column(
        heading or name.replace("_", " "),
        lambda row: "" if row[name] is None else f"{row[name]:{form}}",
        is_number=True,
    )


def _text(name: str, *, folds: bool = False) -> Column:
    return Column(name, lambda row: escape(str(row[name] or "")), folds=folds)


def _fields(*names: str) -> tuple[Field, ...]:
    return tuple(time_field(name, name) if name.endswith("time") else Field(name, _plain(name)) for name in names)


def _plain(name: str) -> Any:
    return lambda row: str(row[name]) if name in ("symbol", "strategy", "kind", "regime") else row[name]


_SIDE = Column("side", lambda row: "buy" if row["side"] > 0 else "sell")
_ORDERS = Listing(
    counted("order"),
    columns=(
        _time("time"), _text("symbol"), _SIDE, _number("quantity"), _text("kind"), _number("limit_price", ",.6g", "limit"),
        _text("state"), _number("filled"), _text("tag"), _text("reason", folds=True),
    ),
    fields=_fields(
        "order_id", "time", "symbol", "side", "quantity", "kind", "limit_price", "stop_price", "time_in_force", "expires_time",
        "state", "filled", "tag", "reason",
    ),
    is_boxed=False,
)  # fmt: skip
_POSITIONS = Listing(
    counted("position"),
    columns=(
        _text("symbol"), _number("quantity"), _number("mark_price", ",.6g", "mark"), _number("value", ",.2f"),
        _number("unrealised", ",.2f"), _number("realised", ",.2f"), _number("share_of_equity", ".0%", "share"),
    ),
    fields=_fields("symbol", "at_time", "quantity", "mark_price", "value", "unrealised", "realised", "share_of_equity"),
)  # fmt: skip
_SIGNALS = Listing(
    counted("signal"),
    columns=(
        _time("known_time", "known"), _text("symbol"), _SIDE, _text("strategy"), _text("kind"), _number("confidence", ".2f"),
        _number("size", ".1f"), _text("reason", folds=True),
    ),
    fields=_fields(
        "known_time", "event_time", "symbol", "strategy", "partner", "kind", "detector", "side", "horizon_minutes", "regime",
        "price", "spread_bps", "target_bps", "cost_bps", "is_tradable", "reason", "confidence", "size", "limit_price",
    ),
    is_boxed=False,
)  # fmt: skip
_BETS = Listing(
    counted("bet"),
    columns=(
        _time("known_time", "known"), _text("symbol"), _SIDE, _text("strategy"), _number("filled"),
        _number("entry_price", ",.6g", "entry"), _number("exit_price", ",.6g", "exit"), _number("return_bps", ".1f", "bps"),
        _number("profit", ",.2f"),
    ),
    fields=_fields(
        "bet", "known_time", "symbol", "strategy", "kind", "detector", "side", "quantity", "filled", "entry_price", "closed",
        "exit_price", "fee_cents", "return_bps", "profit",
    ),
    is_boxed=False,
)  # fmt: skip
_EQUITY = Listing(
    counted("minute"),
    columns=(_time("time"), _number("equity", ",.2f")),
    fields=_fields("time", "equity"),
    is_boxed=False,
)


@app.command()
@reports_errors
def orders(account: AccountOption = "main", most: MostOption = 50, form: FormatOption = Format.TABLE) -> None:
    """List the orders of an account, newest first, with where they stand and why one was refused.

    [dim]tapewatch paper orders --account signals --limit 500 --format csv > orders.csv[/]
    """
    _show(_ORDERS, account, most, form, "orders")


@app.command()
@reports_errors
def positions(account: AccountOption = "main", form: FormatOption = Format.TABLE) -> None:
    """List what an account holds, with its profit.

    [dim]tapewatch paper positions --account signals[/]
    """
    _show(_POSITIONS, account, 1, form, "positions")


@app.command()
@reports_errors
def signals(account: AccountOption = "signals", most: MostOption = 50, form: FormatOption = Format.TABLE) -> None:
    """List the signals that the account's trader decided on, also those that it did not trade, and why.

    [dim]tapewatch paper signals --format json[/]
    """
    _show(_SIGNALS, account, most, form, "signals")


@app.command()
@reports_errors
def bets(account: AccountOption = "signals", most: MostOption = 50, form: FormatOption = Format.TABLE) -> None:
    """List the bets of the account's trader: entry, exit, and what they earned after fees.

    [dim]tapewatch paper bets --limit 500 --format csv[/]
    """
    _show(_BETS, account, most, form, "bets")


@app.command()
@reports_errors
def equity(account: AccountOption = "main", most: MostOption = 60, form: FormatOption = Format.TABLE) -> None:
    """List the equity of an account minute by minute, oldest first.

    [dim]tapewatch paper equity --limit 1000 --format csv[/]
    """
    _show(_EQUITY, account, most, form, "equity")


def _show(listing: Listing, account: str, most: int, form: Format, name: str) -> None:
    from tapewatch.store.database.database import Database  # noqa: PLC0415
    from tapewatch.trading.paper.view import account_view  # noqa: PLC0415

    with Database(Settings().database) as database:
        view: AccountView = account_view(database, account, most)
    rows: Sequence[dict[str, Any]] = getattr(view, name).to_dicts()
    listing.show(rows, form)
