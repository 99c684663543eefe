"""`tapewatch backtest`: orders over the recorded tape."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.cli.commands.options import FirstOption, LastOption, MarketOption
from orchestration.cli.commands.trading.backtest_shown import Part, show
from orchestration.cli.listing import Format
from orchestration.errors import console, reports_errors
from tapewatch.market.instruments import Market
from tapewatch.settings import Settings

if TYPE_CHECKING:
    import polars as pl

    from tapewatch.trading.engine import EngineSettings, Outcome
    from tapewatch.trading.strategies.slicing import SliceRules

app = typer.Typer()

CashOption = Annotated[float, typer.Option("--cash", help="start capital, in the quote currency")]
LeverageOption = Annotated[float, typer.Option("--leverage", help="positions up to this multiple of the equity")]
FeeBpsOption = Annotated[float, typer.Option("--fee-bps", help="fee as a share of what is traded, in basis points")]
UnitFeeOption = Annotated[float, typer.Option("--unit-fee", help="fee for each share or unit")]
MinimumFeeOption = Annotated[float, typer.Option("--minimum-fee", help="least fee of an order")]
BorrowOption = Annotated[float, typer.Option("--borrow-bps", help="borrow fee of short positions, basis points a year")]
ImpactOption = Annotated[
    float, typer.Option("--impact-bps", help="what a taker of the whole size or volume pays; by its root for less")
]
LatencyOption = Annotated[float, typer.Option("--latency-ms", help="from a decision to the market, in milliseconds")]
ShareOption = Annotated[float, typer.Option("--share", help="share of a size or volume that the account may take")]
SpreadOption = Annotated[float, typer.Option("--half-spread-bps", help="what a taker pays beyond a bar's price")]
QueueOption = Annotated[
    float, typer.Option("--queue", help="chance that a resting order is met by a trade at its limit")
]

OverOption = Annotated[
    int | None, typer.Option("--over", metavar="MINUTES", help="trade each market order in parts, one a minute")
]
AversionOption = Annotated[
    float, typer.Option("--risk-aversion", help="of --over: 0 gives equal parts, more trades sooner")
]
ParticipationOption = Annotated[
    float, typer.Option("--participation", help="of --over: most of a minute's usual volume that a part takes")
]


def engine_settings(
    market: Market,
    *,
    cash: float,
    leverage: float,
    fee_bps: float,
    unit_fee: float,
    minimum_fee: float,
    borrow_bps: float,
    impact_bps: float = 0.0,
    latency_ms: float,
    share: float,
    half_spread_bps: float,
    queue: float,
    seed: int,
) -> "EngineSettings":
    """The engine's settings from the options of a command."""
    from tapewatch.trading.costs import Borrow, ConstantLatency, Fees, Impact  # noqa: PLC0415
    from tapewatch.trading.engine import EngineSettings  # noqa: PLC0415

    return EngineSettings(
        cash=cash,
        leverage=leverage,
        fees=Fees(per_unit=unit_fee, taker_bps=fee_bps, maker_bps=fee_bps, minimum=minimum_fee),
        borrow=Borrow(borrow_bps),
        impact=Impact(impact_bps),
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
    show_: Annotated[Part, typer.Option("--show", help="the figures, or every row of a frame")] = Part.SUMMARY,
    form: Annotated[
        Format, typer.Option("--format", help="a table for people, or csv or json for programs")
    ] = Format.TABLE,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="write the frames there as Parquet")] = None,
    actions: Annotated[
        Path | None,
        typer.Option(
            "--actions",
            metavar="FILE",
            help="splits and dividends in place of the lake's: symbol, time, split_ratio, dividend",
        ),
    ] = None,
    halts: Annotated[
        Path | None,
        typer.Option("--halts", metavar="FILE", help="halts in place of the lake's: symbol, start_time, end_time"),
    ] = None,
    over: OverOption = None,
    risk_aversion: AversionOption = 1e-6,
    participation: ParticipationOption = 0.1,
    cash: CashOption = 100_000.0,
    leverage: LeverageOption = 1.0,
    fee_bps: FeeBpsOption = 0.0,
    unit_fee: UnitFeeOption = 0.0,
    minimum_fee: MinimumFeeOption = 0.0,
    borrow_bps: BorrowOption = 0.0,
    impact_bps: ImpactOption = 0.0,
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
    tapewatch backtest orders.csv --from 2024-06-03 --to 2024-06-07 --bars --show fills --format csv > fills.csv
    tapewatch backtest orders.csv --from 2024-06-03 --to 2024-06-07 --bars --over 30 --impact-bps 20[/]
    """
    from tapewatch.store.lake.lake import Lake  # noqa: PLC0415
    from tapewatch.trading import recorded  # noqa: PLC0415
    from tapewatch.trading.engine import run  # noqa: PLC0415

    sent = recorded.read_orders(orders)
    settings = engine_settings(
        market, cash=cash, leverage=leverage, fee_bps=fee_bps, unit_fee=unit_fee, minimum_fee=minimum_fee, borrow_bps=borrow_bps,
        impact_bps=impact_bps, latency_ms=latency_ms, share=share, half_spread_bps=half_spread_bps, queue=queue, seed=seed,
    )  # fmt: skip
    symbols = sent["symbol"].cast(str).unique().sort().to_list()
    lake, days = Lake(Settings().lake_root), (first.date(), last.date())
    if over is not None:
        known = recorded.recorded_bars(lake, market, *days, symbols)
        sent = _in_parts(sent, known, settings, slice_rules(over, risk_aversion, participation))
    tape = recorded.recorded_tape(
        lake, market, *days, symbols, is_bars=bars,
        actions=recorded.read_actions(actions) if actions else None, halts=recorded.read_halts(halts) if halts else None,
    )  # fmt: skip
    outcome = run(sent, tape, settings)
    show(outcome, show_, form, f"Backtest {days[0]} … {days[1]}")
    if out is not None:
        _write(outcome, out)


def slice_rules(minutes: int, risk_aversion: float, participation: float) -> "SliceRules":
    """How --over divides orders."""
    from tapewatch.trading.strategies.slicing import SliceRules  # noqa: PLC0415

    try:
        return SliceRules(minutes, risk_aversion, participation)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--over") from error


def _in_parts(
    sent: "pl.DataFrame", bars: "pl.DataFrame", settings: "EngineSettings", rules: "SliceRules"
) -> "pl.DataFrame":
    from tapewatch.trading.strategies.slicing import sliced  # noqa: PLC0415

    try:
        return sliced(sent, bars, rules, settings.lot_of)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--over") from error


def _write(outcome: "Outcome", out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    names = [part for part in Part if part is not Part.SUMMARY]
    for name in names:
        getattr(outcome, name).write_parquet(out / f"{name}.parquet")
    console.print(f"{out}: {', '.join(f'{name}.parquet' for name in names)}", markup=False, soft_wrap=True)
