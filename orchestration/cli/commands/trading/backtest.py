"""`tapewatch backtest`: orders over the recorded tape."""

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from orchestration.cli.commands.options import FirstOption, LastOption, MarketOption
from orchestration.errors import console, output, reports_errors
from tapewatch.market.instruments import Market
from tapewatch.settings import Settings

if TYPE_CHECKING:
    from tapewatch.trading.engine import EngineSettings, Outcome

app = typer.Typer()

CashOption = Annotated[float, typer.Option("--cash", help="start capital, in the quote currency")]
LeverageOption = Annotated[float, typer.Option("--leverage", help="positions up to this multiple of the equity")]
FeeBpsOption = Annotated[float, typer.Option("--fee-bps", help="fee as a share of what is traded, in basis points")]
UnitFeeOption = Annotated[float, typer.Option("--unit-fee", help="fee for each share or unit")]
MinimumFeeOption = Annotated[float, typer.Option("--minimum-fee", help="least fee of an order")]
BorrowOption = Annotated[float, typer.Option("--borrow-bps", help="borrow fee of short positions, basis points a year")]
LatencyOption = Annotated[float, typer.Option("--latency-ms", help="from a decision to the market, in milliseconds")]
ShareOption = Annotated[float, typer.Option("--share", help="share of a size or volume that the account may take")]
SpreadOption = Annotated[float, typer.Option("--half-spread-bps", help="what a taker pays beyond a bar's price")]
QueueOption = Annotated[
    float, typer.Option("--queue", help="chance that a resting order is met by a trade at its limit")
]
_SHOWN_REFUSALS = 5


def engine_settings(
    market: Market,
    *,
    cash: float,
    leverage: float,
    fee_bps: float,
    unit_fee: float,
    minimum_fee: float,
    borrow_bps: float,
    latency_ms: float,
    share: float,
    half_spread_bps: float,
    queue: float,
    seed: int,
) -> "EngineSettings":
    """The engine's settings from the options of a command."""
    from tapewatch.trading.costs import Borrow, ConstantLatency, Fees  # noqa: PLC0415
    from tapewatch.trading.engine import EngineSettings  # noqa: PLC0415

    return EngineSettings(
        cash=cash,
        leverage=leverage,
        fees=Fees(per_unit=unit_fee, taker_bps=fee_bps, maker_bps=fee_bps, minimum=minimum_fee),
        borrow=Borrow(borrow_bps),
        latency=ConstantLatency(latency_ms),
        depth_share=share,
        half_spread_bps=half_spread_bps,
        queue_probability=queue,
        seed=seed,
        market=market,
    )


@app.command()
@reports_errors
def backtest(
    orders: Annotated[
        Path, typer.Argument(metavar="ORDERS", help="CSV, JSON or Parquet: order_id, symbol, time, side, …")
    ],
    first: FirstOption,
    last: LastOption,
    market: MarketOption = Market.STOCKS,
    bars: Annotated[
        bool, typer.Option("--bars", metavar="", help="against minute bars, not quotes and trades")
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="write the frames there as Parquet")] = None,
    cash: CashOption = 100_000.0,
    leverage: LeverageOption = 1.0,
    fee_bps: FeeBpsOption = 0.0,
    unit_fee: UnitFeeOption = 0.0,
    minimum_fee: MinimumFeeOption = 0.0,
    borrow_bps: BorrowOption = 0.0,
    latency_ms: LatencyOption = 0.0,
    share: ShareOption = 1.0,
    half_spread_bps: SpreadOption = 0.0,
    queue: QueueOption = 0.5,
    seed: Annotated[int, typer.Option("--seed", help="of the queue")] = 0,
) -> None:
    """Fill orders over the recorded tape of the lake, with paper money.

    A row of ORDERS needs order_id, symbol, time (UTC), side (1 buys, -1 sells) and quantity; kind, limit_price, stop_price,
    time_in_force, expires_time and tag are optional.

    [dim]tapewatch backtest orders.csv --from 2024-06-03 --to 2024-06-07 --fee-bps 1 --latency-ms 50
    tapewatch backtest orders.csv --from 2024-06-03 --to 2024-06-07 --bars --out result[/]
    """
    from tapewatch.store.lake.lake import Lake  # noqa: PLC0415
    from tapewatch.trading.engine import run  # noqa: PLC0415
    from tapewatch.trading.recorded import read_orders, recorded_tape  # noqa: PLC0415

    sent = read_orders(orders)
    settings = engine_settings(
        market, cash=cash, leverage=leverage, fee_bps=fee_bps, unit_fee=unit_fee, minimum_fee=minimum_fee,
        borrow_bps=borrow_bps, latency_ms=latency_ms, share=share, half_spread_bps=half_spread_bps, queue=queue, seed=seed,
    )  # fmt: skip
    symbols = sent["symbol"].cast(str).unique().sort().to_list()
    tape = recorded_tape(Lake(Settings().lake_root), market, first.date(), last.date(), symbols, is_bars=bars)
    outcome = run(sent, tape, settings)
    _show(outcome, first.date(), last.date())
    if out is not None:
        _write(outcome, out)


def _show(outcome: "Outcome", first: dt.date, last: dt.date) -> None:
    states = dict(outcome.orders["state"].value_counts().sort("state").rows())
    table = Table(title=f"Backtest {first} … {last}", title_justify="left", show_header=False)
    table.add_row("orders", ", ".join(f"{count:,} {state}" for state, count in states.items()) or "none")
    table.add_row("fills", f"{outcome.fills.height:,}")
    for name in ("notional", "fee"):
        table.add_row(f"{name}s", f"{outcome.fills[f'{name}_cents'].sum() / 100:,.2f}")
    table.add_row("borrow, dividends", f"{outcome.cash_flows['amount_cents'].sum() / 100:,.2f}")
    if outcome.equity.height:
        equity = outcome.equity["equity_cents"]
        table.add_row("equity", f"{equity[-1] / 100:,.2f}")
        table.add_row("profit", f"{outcome.profit:,.2f}")
        table.add_row("largest drawdown", f"{(1 - equity / equity.cum_max()).max():.2%}")
    output().print(table)
    for row in outcome.refusals.head(_SHOWN_REFUSALS).iter_rows(named=True):
        console.print(
            f"refused ({row['reason']}): {row['order_id'] or row['symbol']}: {escape(row['detail'])}", soft_wrap=True
        )
    if outcome.refusals.height > _SHOWN_REFUSALS:
        console.print(f"and {outcome.refusals.height - _SHOWN_REFUSALS:,} more refusals: --out writes all of them")


def _write(outcome: "Outcome", out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    names = ("orders", "fills", "positions", "equity", "cash_flows", "refusals")
    for name in names:
        getattr(outcome, name).write_parquet(out / f"{name}.parquet")
    console.print(f"{out}: {', '.join(f'{name}.parquet' for name in names)}", markup=False, soft_wrap=True)
