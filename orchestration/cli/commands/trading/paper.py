"""`tapewatch paper`: an account of paper money along the live stream."""

import datetime as dt
import signal
import uuid
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from orchestration.cli.commands.options import MarketsOption, markets_of
from orchestration.cli.commands.trading import backtest, paper_lists
from orchestration.cli.listing import Column, Field, Format, Listing, counted
from orchestration.errors import console, output, reports_errors
from tapewatch.settings import Settings

app = typer.Typer()
paper = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")
paper.add_typer(paper_lists.app)
app.add_typer(
    paper,
    name="paper",
    help="Trade paper money along the live stream, by hand or on alerts; list, halt and resume accounts.",
)

AccountOption = Annotated[str, typer.Option("--account", "-a", help="name of the paper account")]
ReasonOption = Annotated[str, typer.Option("--reason", help="why, for the audit log")]
_POSITIONS = Listing(
    counted("position"),
    columns=(
        Column("symbol", lambda row: escape(str(row["symbol"]))),
        Column("quantity", lambda row: f"{row['quantity']:,g}", is_number=True),
        Column("cost", lambda row: f"{row['cost_cents'] / 100:,.2f}", is_number=True),
        Column("mark", lambda row: "" if row["mark_price"] is None else f"{row['mark_price']:,g}", is_number=True),
        Column("value", lambda row: f"{row['value_cents'] / 100:,.2f}", is_number=True),
        Column("realised", lambda row: f"{row['realised_cents'] / 100:,.2f}", is_number=True),
    ),
)
_STATUS = tuple(
    map(
        Field,
        (
            "account",
            "state",
            "reason",
            "time",
            "cash",
            "value",
            "equity",
            "fees",
            "open_orders",
            "trader_time",
            "positions",
        ),
    )
)


@paper.command()
@reports_errors
def start(
    market: MarketsOption,
    account: AccountOption = "main",
    cash: backtest.CashOption = 100_000.0,
    leverage: backtest.LeverageOption = 1.0,
    fee_bps: backtest.FeeBpsOption = 0.0,
    unit_fee: backtest.UnitFeeOption = 0.0,
    minimum_fee: backtest.MinimumFeeOption = 0.0,
    borrow_bps: backtest.BorrowOption = 0.0,
    latency_ms: backtest.LatencyOption = 0.0,
    share: backtest.ShareOption = 0.1,
    half_spread_bps: backtest.SpreadOption = 1.0,
    max_drawdown: Annotated[float, typer.Option("--max-drawdown", help="share of the highest equity; halts")] = 0.20,
    daily_loss: Annotated[float, typer.Option("--daily-loss", help="share of the day's equity; only reduces")] = 0.05,
    cooldown_s: Annotated[float, typer.Option("--cooldown", help="seconds without new positions after a loss")] = 600.0,
    symbol_exposure: Annotated[
        float, typer.Option("--symbol-exposure", help="of one symbol, share of the equity")
    ] = 0.25,
    correlation: Annotated[float, typer.Option("--correlation", help="positions as correlated count together")] = 0.8,
    over: backtest.OverOption = None,
    risk_aversion: backtest.AversionOption = 1e-6,
    participation: backtest.ParticipationOption = 0.1,
) -> None:
    """Open a paper account or go on with it, and trade its orders against the live minute bars until Ctrl-C.

    Killed at any moment, it goes on where it was, with the same outcome. The collectors must run: `tapewatch up`.

    [dim]tapewatch paper start --market stocks,crypto --cash 50000 --fee-bps 1
    tapewatch paper start --market stocks --over 30     large orders in parts, as `tapewatch backtest --over`[/]
    """
    from tapewatch.store.database.database import Database  # noqa: PLC0415
    from tapewatch.store.lake.lake import Lake  # noqa: PLC0415
    from tapewatch.streaming.stop import Stop  # noqa: PLC0415
    from tapewatch.trading.paper.broker import PaperBroker  # noqa: PLC0415
    from tapewatch.trading.paper.feed import LiveBars, lake_events  # noqa: PLC0415
    from tapewatch.trading.paper.live import trade_live  # noqa: PLC0415
    from tapewatch.trading.paper.parts import Slicer  # noqa: PLC0415
    from tapewatch.trading.paper.protections import Protections  # noqa: PLC0415

    markets = markets_of(market)
    settings = backtest.engine_settings(
        markets[0], cash=cash, leverage=leverage, fee_bps=fee_bps, unit_fee=unit_fee, minimum_fee=minimum_fee,
        borrow_bps=borrow_bps, latency_ms=latency_ms, share=share, half_spread_bps=half_spread_bps, queue=0.5, seed=0,
    )  # fmt: skip
    limits = Protections(
        max_drawdown=max_drawdown, daily_loss=daily_loss, cooldown_s=cooldown_s, symbol_exposure=symbol_exposure,
        correlation=correlation, market_exposure=leverage,
    )  # fmt: skip
    rules = None if over is None else backtest.slice_rules(over, risk_aversion, participation)
    stop = Stop()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with Database(Settings().database) as database:
        feed = LiveBars(database, markets, events=lake_events(Lake(Settings().lake_root), markets))
        slicer = None if rules is None else Slicer(rules, feed.bars, settings)
        broker = PaperBroker(database, account, settings, limits, returns=feed.returns, slicer=slicer)
        word = "opened" if broker.is_new else "continued"
        console.print(
            f"Paper account {account} {word}: equity {broker.simulation.equity_cents / 100:,.2f}. Ctrl-C stops."
        )
        trade_live(broker, feed, stop)


@paper.command()
@reports_errors
def run(
    market: Annotated[
        list[str] | None, typer.Option("--market", "-m", metavar="MARKET[,…]", help="by default all that are streamed")
    ] = None,
    account: Annotated[
        str | None, typer.Option("--account", "-a", help="by default TAPEWATCH_PAPER_ACCOUNT, `signals`")
    ] = None,
    cash: Annotated[
        float | None,
        typer.Option("--cash", min=1.0, help="capital of a new account; by default TAPEWATCH_PAPER_CASH, 100,000"),
    ] = None,
    every_bet: Annotated[
        bool | None,
        typer.Option("--every-bet/--sized", help="every tradable signal at size 1, or bets sized by their record"),
    ] = None,
    dynamic: Annotated[
        bool | None,
        typer.Option(
            "--dynamic-limits/--spread-limits", help="limits of sized bets: where they break even, or at the spread"
        ),
    ] = None,
) -> None:
    """Trade on live alerts until Ctrl-C: from an alert to a signal to orders of paper money.

    Each minute it reads the alerts, bars and features that the collectors wrote, finds signals with the code of the asset
    `trading/signals`, opens bets by limit orders, and closes them at their barrier, horizon or the session's end. The size of
    a bet follows from the record of earlier bets in the lake; without a record nothing is traded, unless with --every-bet.

    Killed at any moment, it goes on where it was. With TAPEWATCH_PAPER_TRADING=true, `tapewatch up` and `tapewatch stream` run it.

    [dim]tapewatch paper run --market crypto --every-bet
    tapewatch paper bets      what it earned
    tapewatch paper halt -a signals[/]
    """
    from orchestration.processes.logs import start_log  # noqa: PLC0415
    from orchestration.processes.streaming import streamable, streaming_settings  # noqa: PLC0415
    from orchestration.processes.trader import run_trader  # noqa: PLC0415
    from tapewatch.streaming.stop import Stop  # noqa: PLC0415

    settings = Settings()
    start_log("paper-trader", settings)
    given = {"paper_account": account, "paper_cash": cash, "paper_every_bet": every_bet}
    given["paper_dynamic_limits"] = dynamic
    settings = settings.model_copy(update={name: value for name, value in given.items() if value is not None})
    markets = list(markets_of(market)) if market else streamable(streaming_settings(settings))
    stop = Stop()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    run_trader(settings, markets, stop)


@paper.command()
@reports_errors
def order(
    symbol: Annotated[str, typer.Argument(help="such as AAPL or X:BTC-USD")],
    quantity: Annotated[float, typer.Argument(help="amount; negative sells: -- AAPL -100")],
    account: AccountOption = "main",
    limit: Annotated[float | None, typer.Option("--limit", help="limit price")] = None,
    stop: Annotated[float | None, typer.Option("--stop", help="stop price")] = None,
    force: Annotated[str, typer.Option("--force", help="day, gtc or ioc")] = "day",
    tag: Annotated[str, typer.Option("--tag", help="where the order comes from")] = "manual",
) -> None:
    """Send an order to a paper account; its broker takes it with the next minute.

    [dim]tapewatch paper order AAPL 100 --limit 190.5
    tapewatch paper order -- AAPL -100[/]
    """
    import polars as pl  # noqa: PLC0415

    from tapewatch.market.tables.trading import ORDERS  # noqa: PLC0415
    from tapewatch.trading.engine.refusals import faults  # noqa: PLC0415

    row = {
        "order_id": uuid.uuid4().hex[:12], "symbol": symbol, "time": dt.datetime.now(dt.UTC), "side": 1 if quantity > 0 else -1,
        "quantity": abs(quantity), "kind": "stop" if stop is not None else "market" if limit is None else "limit",
        "limit_price": limit, "stop_price": stop, "time_in_force": force, "tag": tag,
    }  # fmt: skip
    frame = ORDERS.conform(pl.DataFrame([row]))
    for _, _, detail in faults(frame).iter_rows():
        raise typer.BadParameter(detail)
    _send(account, frame)


@paper.command()
@reports_errors
def send(
    orders: Annotated[
        Path, typer.Argument(metavar="ORDERS", help="CSV, JSON or Parquet, as `tapewatch backtest` reads")
    ],
    account: AccountOption = "main",
) -> None:
    """Send the orders of a file to a paper account, all or none.

    [dim]tapewatch paper send orders.csv --account pairs[/]
    """
    from tapewatch.trading.recorded import read_orders  # noqa: PLC0415

    _send(account, read_orders(orders))


@paper.command()
@reports_errors
def halt(account: AccountOption = "main", reason: ReasonOption = "by hand") -> None:
    """The kill switch: cancel all open orders of an account, and take no more.

    [dim]tapewatch paper halt --reason "wrong prices"[/]
    """
    _set_risk(account, "HALTED", reason)


@paper.command()
@reports_errors
def reduce(account: AccountOption = "main", reason: ReasonOption = "by hand") -> None:
    """Let an account only reduce its positions.

    [dim]tapewatch paper reduce --account pairs[/]
    """
    _set_risk(account, "REDUCING", reason)


@paper.command()
@reports_errors
def resume(account: AccountOption = "main", reason: ReasonOption = "by hand") -> None:
    """Let an account trade again: drawdown and losses count from now, and locks end.

    [dim]tapewatch paper resume[/]
    """
    _set_risk(account, "ACTIVE", reason)


@paper.command()
@reports_errors
def status(
    account: AccountOption = "main",
    form: Annotated[
        Format, typer.Option("--format", help="the account for programs; positions only in the table")
    ] = Format.TABLE,
) -> None:
    """Show an account's money, risk state, open orders and positions.

    [dim]tapewatch paper status --account main[/]
    """
    from tapewatch.store.database.database import Database  # noqa: PLC0415
    from tapewatch.trading.paper.status import status_of  # noqa: PLC0415

    with Database(Settings().database) as database:
        found = status_of(database, account)
    row = found.row()
    if form is not Format.TABLE:
        Listing(counted("account"), columns=(), fields=_STATUS).show([row], form)
        return
    table = Table(title=f"Paper account {account}", title_justify="left", show_header=False)
    for name, text in _lines(row):
        table.add_row(name, escape(text))
    output().print(table)
    if found.positions:
        _POSITIONS.show(found.positions, form)


def _lines(row: dict[str, Any]) -> list[tuple[str, str]]:
    money = [(name, f"{row[name]:,.2f}") for name in ("cash", "value", "equity", "fees")]
    risk = ("risk", f"{row['state']}: {row['reason']}")
    trader = [("trader wrote last", row["trader_time"])] if row["trader_time"] else []
    bars = ("tape up to", row["time"] or "no bar yet")
    return [risk, bars, *trader, *money, ("open orders", f"{row['open_orders']:,}")]


def _send(account: str, orders: Any) -> None:
    from tapewatch.store.database.database import Database  # noqa: PLC0415
    from tapewatch.trading.paper import ledger  # noqa: PLC0415

    with Database(Settings().database) as database:
        count = ledger.send(database, account, orders)
    noun = "order" if count == 1 else "orders"
    console.print(
        f"{count:,} {noun} sent to paper account {account}: {', '.join(orders['order_id'].head(3))}", markup=False
    )


def _set_risk(account: str, state: str, reason: str) -> None:
    from orchestration.runs.labels.labelling import user  # noqa: PLC0415
    from tapewatch.store.database.database import Database  # noqa: PLC0415
    from tapewatch.trading.paper import ledger  # noqa: PLC0415
    from tapewatch.trading.paper.protections import RiskState  # noqa: PLC0415

    with Database(Settings().database) as database:
        ledger.set_risk(database, account, RiskState(state), reason, user())
    console.print(f"Paper account {account} is {state}: {reason}", markup=False)
