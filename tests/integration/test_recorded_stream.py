"""The recorded days through the emulator's WebSocket: live bars and features equal batch, and the alerts stay sane."""

import datetime as dt
import gzip
import shutil
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from models.baselines.time_of_day import TimeOfDayDetector
from models.ensemble.detector import EnsembleDetector
from models.events import merge_anomalies
from models.isolation_forest.detector import ForestParameters, IsolationForestDetector
from tapewatch.bars.information.build import InformationBars
from tapewatch.bars.information.clocks import LIVE_CLOCKS
from tapewatch.bars.time_bars import minute_bars
from tapewatch.emulator.process import running_emulator
from tapewatch.features.families.indicators import indicators
from tapewatch.features.market_minutes import market_minutes
from tapewatch.features.microstructure import microstructure
from tapewatch.features.regimes.blocks import block_panel
from tapewatch.features.regimes.hidden_markov import RegimeModel
from tapewatch.features.seasonality.model import SeasonalModel
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.features import LIVE_FAMILIES, MARKET_MICROSTRUCTURE
from tapewatch.market.tables.live import ALERTS, LIVE_BARS, LIVE_INFORMATION_BARS, LIVE_MICROSTRUCTURE, SHADOW_MINUTES
from tapewatch.market.tables.tape import MICROSTRUCTURE, QUOTES, TIME, TRADES
from tapewatch.store.database.database import Database
from tapewatch.store.lake.lake import Lake
from tapewatch.streaming.detection.champion import CHALLENGER, MINUTES, file_of, publish
from tapewatch.streaming.ingest.ingest import ingest
from tests.support.families import bars_of, batch_families, minutes_of, plain
from tests.support.recorded import recorded_quotes, recorded_trades
from tests.support.replays import Home, collect_all

pytestmark = [pytest.mark.slow, pytest.mark.real_tape]

STOCK_DAY = Partition(dt.date(2013, 10, 7), Market.STOCKS)
STOCK_DAY_END = dt.datetime(2013, 10, 8, tzinfo=dt.UTC)
PRICE_RULES = {"price_move", "volatility_burst", "bad_print"}
BAR_COLUMNS = ("symbol", "time", "open", "high", "low", "close", "volume", "vwap", "transactions")
# Categories as text: their codes may differ.
_PLAIN = pl.selectors.categorical().cast(pl.String)


def alerts_of(home: Home) -> pl.DataFrame:
    with Database(home.database) as database:
        return database.read(ALERTS)


def replay(root: Path, days: str, market: Market, home: Home, **options: object) -> pl.DataFrame:
    """Collect a recorded replay; returns its alerts."""
    with running_emulator(flat_files=root, speed="max", replay=days) as emulator:
        status = collect_all(emulator, market, home, **options)
    assert (status.dropped_frames, status.malformed_frames, status.unknown_events) == (0, 0, 0)
    return alerts_of(home)


@pytest.fixture(scope="module")
def batch_minutes(market_data: Path) -> pl.DataFrame:
    """The features of the day, computed at once."""
    trades = recorded_trades(market_data, STOCK_DAY.date).sort(TRADES.sort)
    quotes = recorded_quotes(market_data, STOCK_DAY.date).sort(QUOTES.sort)
    return microstructure(trades, quotes, STOCK_DAY.session)


@pytest.fixture(scope="module")
def ensemble(batch_minutes: pl.DataFrame) -> EnsembleDetector:
    """Set so low that every symbol has alerts."""
    rows = batch_minutes.filter("is_regular")
    forest = IsolationForestDetector(ForestParameters(trees=50, samples=256), seed=1).fit(rows)
    return EnsembleDetector((forest, TimeOfDayDetector().fit(rows)), hours=1.0).fit(rows)


@pytest.fixture(scope="module")
def regime_model(market_data: Path) -> RegimeModel:
    """Fitted on another recorded day."""
    day = Partition(dt.date(2013, 10, 8), Market.STOCKS)
    bars = bars_of(recorded(market_data, day)[0], day.session)
    panel, volatility, _ = block_panel(bars, day.session, through_ns=day.session.day_end)
    fitted = RegimeModel.fit([(panel.symbols, volatility)])
    assert fitted is not None
    return fitted


@pytest.fixture(scope="module")
def seasonal_model(market_data: Path) -> SeasonalModel:
    """Fitted on another recorded day."""
    day = Partition(dt.date(2013, 10, 8), Market.STOCKS)
    fitted = SeasonalModel.fit([minutes_of(*recorded(market_data, day), day.session)])
    assert fitted is not None
    return fitted


def recorded(market_data: Path, day: Partition) -> tuple[pl.DataFrame, pl.DataFrame]:
    trades, quotes = recorded_trades(market_data, day.date), recorded_quotes(market_data, day.date)
    return trades.sort(TRADES.sort), quotes.sort(QUOTES.sort)


@pytest.fixture(scope="module")
def stock_home(
    market_data: Path,
    ensemble: EnsembleDetector,
    regime_model: RegimeModel,
    seasonal_model: SeasonalModel,
    tmp_path_factory: pytest.TempPathFactory,
) -> Home:
    home = Home(tmp_path_factory.mktemp("stocks"))
    champions = home.root / "champions"
    publish(ensemble, "ensemble/1", file_of(champions, MINUTES))
    publish(ensemble, "ensemble/2", file_of(champions, CHALLENGER))
    replay(
        market_data,
        "2013-10-07",
        Market.STOCKS,
        home,
        channels=("T", "Q"),
        champions=champions,
        regime_model=lambda _: regime_model,
        seasonal_model=lambda _: seasonal_model,
    )
    return home


def test_live_bars_equal_batch_bars(stock_home: Home, market_data: Path) -> None:
    trades = recorded_trades(market_data, STOCK_DAY.date).sort(TRADES.sort)
    batch = minute_bars(trades, STOCK_DAY.session)
    with Database(stock_home.database) as database:
        live = database.read(LIVE_BARS, where={"clock": "1m"})
    assert_frame_equal(
        live.select(BAR_COLUMNS).with_columns(_PLAIN).sort("symbol", "time"),
        batch.select(BAR_COLUMNS).with_columns(_PLAIN).sort("symbol", "time"),
        check_exact=True,
    )


def test_live_features_and_scores_equal_those_of_the_batch(
    stock_home: Home, market_data: Path, batch_minutes: pl.DataFrame, ensemble: EnsembleDetector
) -> None:
    trades = recorded_trades(market_data, STOCK_DAY.date).sort(TRADES.sort)
    with Database(stock_home.database) as database:
        live, few = database.read(LIVE_MICROSTRUCTURE), database.read(MARKET_MICROSTRUCTURE)
    assert_frame_equal(
        live.select(MICROSTRUCTURE.schema.names()).with_columns(_PLAIN).sort("symbol", "event_time"),
        batch_minutes.with_columns(_PLAIN).sort("symbol", "event_time"),
        check_exact=True,
    )
    bars = minute_bars(trades, STOCK_DAY.session).with_columns(known_time="time")
    scored = ensemble.scored(batch_minutes.filter("is_regular"))
    scores = scored.select("symbol", "event_time", anomaly_score="score", model=pl.lit("ensemble/1"))
    expected = market_minutes(batch_minutes, indicators(bars, STOCK_DAY.session), scores)
    assert expected["anomaly_score"].count() == scored.height
    assert_frame_equal(
        few.select(expected.columns).with_columns(_PLAIN).sort("symbol", "event_time"),
        expected.with_columns(_PLAIN).sort("symbol", "event_time"),
        check_exact=True,
    )


def test_live_rows_of_further_tables_equal_those_of_the_batch(
    stock_home: Home, market_data: Path, regime_model: RegimeModel, seasonal_model: SeasonalModel
) -> None:
    expected = batch_families(
        *recorded(market_data, STOCK_DAY), STOCK_DAY.session, states=regime_model, seasons=seasonal_model
    )
    for table in LIVE_FAMILIES:
        with Database(stock_home.database) as database:
            live = database.read(table).select(table.schema.names())
        assert live.height == expected[table.name].height > 100
        assert_frame_equal(plain(table, live), plain(table, expected[table.name]), check_exact=True)


def test_live_bars_of_other_clocks_equal_those_of_the_batch(stock_home: Home, market_data: Path) -> None:
    trades = recorded_trades(market_data, STOCK_DAY.date).sort(TRADES.sort)
    batch = pl.concat(InformationBars(clock).add(trades, STOCK_DAY.session) for clock in LIVE_CLOCKS)
    with Database(stock_home.database) as database:
        live = database.read(LIVE_INFORMATION_BARS)
    columns = [name for name in batch.columns if name != "known_time"]
    order = ["symbol", "clock", "number"]
    assert batch.height > 100
    assert_frame_equal(
        live.select(columns).with_columns(_PLAIN).sort(order),
        # The database keeps microseconds.
        batch.select(columns).with_columns(_PLAIN, pl.col(TIME).dt.truncate("1us")).sort(order),
        check_exact=True,
    )


def test_the_lake_holds_the_recorded_tape(stock_home: Home, market_data: Path, tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    ingest(lake, stock_home.spool, STOCK_DAY, None, dt.datetime.now(dt.UTC))
    for table, recorded in ((TRADES, recorded_trades), (QUOTES, recorded_quotes)):
        columns = [name for name in ("symbol", "time", "sequence_number", "price", "size", "conditions", "exchange")
                   if name in table.schema] + [name for name in table.schema if name.startswith(("bid_", "ask_"))]  # fmt: skip
        assert_frame_equal(
            lake.read(table, STOCK_DAY).select(columns).with_columns(_PLAIN),
            recorded(market_data, STOCK_DAY.date).sort(table.sort).select(columns).with_columns(_PLAIN),
            check_exact=True,
        )


def test_the_champion_raises_live_what_it_finds_in_the_whole_day(
    stock_home: Home, ensemble: EnsembleDetector, batch_minutes: pl.DataFrame
) -> None:
    rows = batch_minutes.filter("is_regular")
    scored = ensemble.scored(rows)
    is_flagged = scored["score"] >= ensemble.threshold
    reasons = ensemble.explain(rows.filter(is_flagged))
    found = merge_anomalies(scored, reasons, rows, threshold=ensemble.threshold, model="ensemble/1")
    alerts = alerts_of(stock_home).filter(pl.col("model").str.contains("ensemble/1", literal=True)).with_columns(_PLAIN)
    text = pl.col("symbol").cast(pl.String)
    within = found.select(text, "start_time", "kind").join(
        alerts.select("symbol", opened="start_time", closed=pl.col("end_time").fill_null(STOCK_DAY_END)), on="symbol"
    )
    held = within.filter(
        pl.col("start_time") >= pl.col("opened").dt.offset_by("-1m"), pl.col("start_time") <= pl.col("closed")
    )
    assert held.select("symbol", "start_time").unique().height == found.height > 10
    assert set(held.select("symbol", "opened").iter_rows()) == set(alerts.select("symbol", "start_time").iter_rows())
    own = alerts.filter(pl.col("rule") == "champion")
    # Of which events the champion is the first to speak depends on the machine.
    assert not own.is_empty()
    first = own.join(found.with_columns(_PLAIN), on=["symbol", "start_time"], how="left")
    assert first["threshold"].null_count() == 0
    assert own["message"].str.contains(r"^[A-Z]+: [a-z ]+, 1 in [\d,]+ h: .+: ").all()
    with Database(stock_home.database) as database:
        shadow = database.read(SHADOW_MINUTES)
    assert shadow["symbols"].sum() == rows.height
    flags = shadow.select(pl.col("by_champion").str.json_decode(pl.List(pl.String)).list.len().sum())
    assert flags.item() == is_flagged.sum()
    assert shadow.filter(pl.col("by_champion") != pl.col("by_challenger")).is_empty()


def test_a_calm_day_of_stocks_raises_a_few_alerts(stock_home: Home) -> None:
    alerts = alerts_of(stock_home).filter(pl.col("rule") != "champion")
    counts = dict(alerts.group_by("rule").len().iter_rows())
    assert sum(counts.values()) <= 40, counts
    assert counts.get("feed_outage", 0) == 0


def test_one_outage_and_no_price_alert_where_a_feed_of_crypto_bars_stops(market_data: Path, tmp_path: Path) -> None:
    alerts = replay(crypto_with_quotes(market_data, tmp_path / "files"), "2018-04-04", Market.CRYPTO, Home(tmp_path))
    assert alerts.filter(pl.col("rule").is_in(PRICE_RULES)).is_empty()
    outages = alerts.filter(pl.col("rule") == "feed_outage")
    assert outages.height == 1
    started = outages["start_time"][0]
    assert dt.datetime(2018, 4, 4, 16, 40, tzinfo=dt.UTC) <= started <= dt.datetime(2018, 4, 4, 17, 15, tzinfo=dt.UTC)


def test_a_feed_with_crossed_quotes_is_one_incident(market_data: Path, tmp_path: Path) -> None:
    alerts = replay(
        market_data / "alt_feeds" / "fxcm", "2014-05-06:2014-05-08", Market.FOREX, Home(tmp_path), channels=("C",)
    )
    assert alerts.filter(pl.col("rule") == "data_quality").height == 1
    clean = replay(market_data, "2014-05-06:2014-05-08", Market.FOREX, Home(tmp_path / "oanda"), channels=("C",))
    assert clean.filter(pl.col("rule") == "data_quality").is_empty()


def test_a_split_is_no_price_anomaly(market_data: Path, tmp_path: Path) -> None:
    alerts = replay(
        market_data, "2014-06-05:2014-06-09", Market.STOCKS, Home(tmp_path), symbols=("AAPL",), channels=("AM",)
    )
    assert alerts.filter(pl.col("rule").is_in(PRICE_RULES)).is_empty()


def crypto_with_quotes(market_data: Path, root: Path) -> Path:
    """The recorded minute bars of the day, and beside them its quote bars as one quote a minute."""
    day = "2018/04/2018-04-04.csv.gz"
    bars = market_data / "global_crypto/minute_aggs_v1" / day
    target = root / "global_crypto/minute_aggs_v1" / day
    target.parent.mkdir(parents=True)
    shutil.copy(bars, target)
    quotes = pl.read_csv(next((market_data / "lean_quote_bars/crypto/minute").rglob("2018-04-04.csv.gz")))
    file = root / "global_crypto/quotes_v1" / day
    file.parent.mkdir(parents=True)
    rows = quotes.select(
        "ticker",
        ask_exchange=pl.lit(1),
        ask_price="ask_close",
        ask_size="ask_size",
        bid_exchange=pl.lit(1),
        bid_price="bid_close",
        bid_size="bid_size",
        participant_timestamp=pl.col("window_start") + 59_000_000_000,
    )
    with gzip.open(file, "wb") as stream:
        stream.write(rows.sort("ticker", "participant_timestamp").write_csv().encode())
    return root
