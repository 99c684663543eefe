"""Every layout of the vendor's flat files, from a folder and from an fsspec URL."""

import datetime as dt
import gzip
from pathlib import Path

import polars as pl
import pytest

from tapewatch.feeds.files.daily import daily_bars, market_date
from tapewatch.feeds.files.source import FlatFileSource
from tapewatch.feeds.plans.table import TapeTable
from tapewatch.feeds.ranges import FlatFileRanges
from tapewatch.feeds.source import Load, MissingDayError, SourceError
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.tape import DELIVERED_BARS, QUOTES, TRADES
from tests.support.flat_days import (
    CRYPTO,
    DAYS,
    FOREX,
    FUTURES,
    HEADERS,
    INDICES,
    STOCKS,
    TICKERS,
    noon,
    put,
    row,
    text,
)  # fmt: skip

_TABLES = {"trades": TRADES, "quotes": QUOTES, "bars": DELIVERED_BARS, "day_bars": DELIVERED_BARS}


def frame_of(load: Load) -> pl.DataFrame:
    """All rows, with the counts' own arithmetic checked."""
    frames = list(load)
    assert load.source_rows == sum(f.height for f in frames) + load.duplicates + load.quarantine.height
    return pl.concat(frames)


@pytest.mark.parametrize(("market", "table"), HEADERS)
@pytest.mark.parametrize("suffix", [".csv.gz", ".csv"])
def test_every_layout_loads_into_its_table(tmp_path: Path, market: Market, table: str, suffix: str) -> None:
    day, ticker = DAYS[market], TICKERS[market]
    rows = [row(day, table, 60 * i, ticker=ticker, sequence_number=i + 1, id=f"a{i}") for i in range(3)]
    put(tmp_path, day, table, rows, suffix)
    source = FlatFileSource(str(tmp_path))
    load = source.day_bars(market, day.date.year) if table == "day_bars" else getattr(source, table)(day)
    frame = frame_of(load)
    _TABLES[table].check(frame)
    assert frame["symbol"].cast(pl.String).to_list() == [ticker] * 3
    assert frame["time"].to_physical().to_list() == [noon(day, 60 * i) for i in range(3)]
    assert load.quarantine.is_empty()
    assert load.source_rows == 3


@pytest.mark.parametrize("name", ["flat #1 é", "lake%202026", "what?a", "[x]* 100%"])
def test_a_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    put(tmp_path / name, STOCKS, "trades", [row(STOCKS, "trades")])
    source = FlatFileSource(str(tmp_path / name))
    assert source.available(Market.STOCKS) == {"trades": [STOCKS.date]}
    assert frame_of(source.trades(STOCKS)).height == 1


def test_values_of_a_stock_trade(tmp_path: Path) -> None:
    given = row(STOCKS, "trades", conditions="12,37", size="0.25", price=187.015, id="52983", trf_id=202)
    given |= {"participant_timestamp": noon(STOCKS) - 7, "trf_timestamp": noon(STOCKS) - 3, "sequence_number": 4711}
    put(tmp_path, STOCKS, "trades", [given])
    (trade,) = (
        frame_of(FlatFileSource(str(tmp_path)).trades(STOCKS))
        .with_columns(pl.col(pl.Datetime).to_physical(), pl.col(pl.Categorical).cast(pl.String))
        .to_dicts()
    )
    assert trade == {
        "symbol": "AAPL", "time": noon(STOCKS), "sequence_number": 4711, "price": 187.015, "size": 0.25, "exchange": 11,
        "conditions": "12,37", "id": "52983", "correction": 0, "participant_time": noon(STOCKS) - 7, "trf_id": 202,
        "trf_time": noon(STOCKS) - 3, "tape": 3,
    }  # fmt: skip


def test_absent_values_are_null_and_sizes_may_carry_a_point(tmp_path: Path) -> None:
    sparse = row(STOCKS, "trades", id="", correction="", trf_id="", tape="", size="100.0", trf_timestamp="")
    put(tmp_path, STOCKS, "trades", [sparse, row(STOCKS, "trades", 1, sequence_number=2)])
    first, second = frame_of(FlatFileSource(str(tmp_path)).trades(STOCKS)).to_dicts()
    assert first["size"] == 100
    assert [first[name] for name in ("id", "correction", "trf_id", "tape", "trf_time")] == [None] * 5
    assert first["conditions"] == ""
    assert (second["id"], second["correction"], second["trf_time"]) == ("1", 0, None)


def test_one_sided_quotes_and_conditions(tmp_path: Path) -> None:
    one_sided = row(STOCKS, "quotes", bid_exchange=0, bid_price="0.0", bid_size=0, conditions="2,14", indicators="604")
    put(tmp_path, STOCKS, "quotes", [one_sided])
    (quote,) = frame_of(FlatFileSource(str(tmp_path)).quotes(STOCKS)).to_dicts()
    assert (quote["bid_price"], quote["bid_size"], quote["ask_price"]) == (0, 0, 100.52)
    assert (quote["conditions"], quote["indicators"]) == ("2,14", "604")


def test_bars_without_transactions_and_indices_without_volume(tmp_path: Path) -> None:
    put(tmp_path, STOCKS, "bars", [row(STOCKS, "bars", 60 * i, transactions="", volume="12.5") for i in range(2)])
    put(tmp_path, INDICES, "bars", [row(INDICES, "bars", ticker="I:SPX")])
    source = FlatFileSource(str(tmp_path))
    bars = frame_of(source.bars(STOCKS))
    assert bars["transactions"].null_count() == bars["vwap"].null_count() == 2
    assert bars["volume"].to_list() == [12.5, 12.5]
    assert frame_of(source.bars(INDICES))["volume"].to_list() == [0]


def test_rows_without_sequence_numbers_are_numbered_by_position(tmp_path: Path) -> None:
    pairs = ["C:EUR-USD"] * 3 + ["C:USD-JPY"] * 2
    put(tmp_path, FOREX, "quotes", [row(FOREX, "quotes", i, ticker=pair) for i, pair in enumerate(pairs)])
    quotes = frame_of(FlatFileSource(str(tmp_path)).quotes(FOREX))
    assert quotes["sequence_number"].to_list() == [1, 2, 3, 1, 2]
    assert quotes["bid_size"].null_count() == 5


def test_columns_are_matched_by_name(tmp_path: Path) -> None:
    straight = text(
        STOCKS, "trades", [row(STOCKS, "trades", i, sequence_number=i + 1, conditions="12,37") for i in range(3)]
    )
    header = straight.splitlines()[0].split(",")
    shuffled = (
        pl.read_csv(straight.encode(), infer_schema=False).select(*reversed(header), colour=pl.lit("a,b")).write_csv()
    )
    put(tmp_path / "a", STOCKS, "trades", straight)
    put(tmp_path / "b", STOCKS, "trades", shuffled)
    put(tmp_path / "c", STOCKS, "trades", straight.replace("\n", "\r\n"))
    a, b, c = (frame_of(FlatFileSource(str(tmp_path / f)).trades(STOCKS)) for f in "abc")
    assert a.equals(b)
    assert a.equals(c)


def test_from_an_fsspec_url(tmp_path: Path) -> None:
    rows = [row(STOCKS, "quotes", i, sequence_number=i + 1) for i in range(5)]
    put("memory://tape", STOCKS, "quotes", rows)
    put(tmp_path, STOCKS, "quotes", rows)
    there, here = (frame_of(FlatFileSource(u).quotes(STOCKS)) for u in ("memory://tape", f"file://{tmp_path}"))
    assert there.equals(here)
    assert FlatFileSource("memory://tape").available(Market.STOCKS) == {"quotes": [STOCKS.date]}


def test_symbols_filter(tmp_path: Path) -> None:
    rows = [
        row(STOCKS, "trades", i, ticker=t, sequence_number=i + 1) for t in ("AAPL", "IBM", "TSLA") for i in range(2)
    ]
    put(tmp_path, STOCKS, "trades", [*rows, "IBM,broken", "TSLA,broken"])
    load = FlatFileSource(str(tmp_path)).trades(STOCKS, ["IBM", "NONE"])
    assert frame_of(load)["symbol"].cast(pl.String).to_list() == ["IBM", "IBM"]
    assert load.source_rows == 3
    assert load.quarantine["raw"].to_list() == ["IBM,broken"]
    assert ["NONE" in notice for notice in load.notices] == [True]


def test_a_table_that_the_day_lacks_is_no_error(tmp_path: Path) -> None:
    put(tmp_path, CRYPTO, "bars", [row(CRYPTO, "bars", ticker="X:BTC-USD")])
    source = FlatFileSource(str(tmp_path))
    assert list(source.trades(CRYPTO)) == []
    assert list(source.quotes(CRYPTO)) == []
    assert source.truth(CRYPTO) is None


def test_a_missing_day_names_the_path(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"us_stocks_sip/trades_v1/2024/03/2024-03-05\.csv\.gz"):
        FlatFileSource(str(tmp_path)).trades(STOCKS)


@pytest.mark.parametrize(
    ("date", "market", "why"),
    [
        (dt.date(2013, 10, 12), Market.STOCKS, r"2013-10-12 is no trading day for stocks \(Saturday\)"),
        (dt.date(2013, 12, 25), Market.STOCKS, r"2013-12-25 is no trading day for stocks \(Wednesday, a holiday\)"),
        (dt.date(2014, 5, 10), Market.FOREX, r"2014-05-10 is no trading day for forex \(Saturday\)"),
    ],
)
def test_a_day_without_trading_is_an_error(tmp_path: Path, date: dt.date, market: Market, why: str) -> None:
    with pytest.raises(SourceError, match=why):
        FlatFileSource(str(tmp_path)).bars(Partition(date, market))


def test_the_venues_of_futures_are_one_market(tmp_path: Path) -> None:
    tickers = {
        "cbot": ["ZBM4", "ZCH4"],
        "cme": ["ESH4", "NQH4"],
        "comex": ["GCJ4"],
        "nymex": ["BZ:BF G6-H6-J6", "CLJ4"],
    }
    for venue, names in tickers.items():
        rows = [row(FUTURES, "trades", i, ticker=t, sequence_number=i + 1) for t in names for i in range(150)]
        put(tmp_path, FUTURES, "trades", rows, venue=venue)
    for block_bytes in (500, 10**6):
        load = FlatFileSource(str(tmp_path), block_bytes=block_bytes).trades(FUTURES)
        frame = frame_of(load)
        TRADES.check(frame)
        names = sorted(name for of_venue in tickers.values() for name in of_venue)
        assert frame["symbol"].cast(pl.String).to_list() == [name for name in names for _ in range(150)]
        assert frame["sequence_number"].to_list() == [*range(1, 151)] * len(names)
        assert load.notices == []
    assert FlatFileSource(str(tmp_path)).available(Market.FUTURES) == {"trades": [FUTURES.date]}


def test_fills_of_a_future_that_share_a_number_stay(tmp_path: Path) -> None:
    fills = [row(FUTURES, "trades", ticker="ESH4", sequence_number=9, report_sequence=i) for i in (1, 2, 3)]
    put(tmp_path, FUTURES, "trades", [*fills, fills[1]], venue="cme")
    load = FlatFileSource(str(tmp_path)).trades(FUTURES)
    assert sorted(frame_of(load)["id"]) == ["1", "2", "3"]
    assert load.duplicates == 1


def test_an_empty_side_of_a_future_s_quote_has_price_0_and_a_spread_may_be_negative(tmp_path: Path) -> None:
    rows = [
        row(FUTURES, "quotes", ticker="1OZZ5-1OZG6", bid_price="", bid_size="", ask_price=-28, sequence_number=1),
        row(FUTURES, "quotes", 1, ticker="1OZZ5-1OZG6", bid_price="-28.5", ask_price="-0.25", sequence_number=2),
    ]
    put(tmp_path, FUTURES, "quotes", rows, venue="comex")
    quotes = frame_of(FlatFileSource(str(tmp_path)).quotes(FUTURES))
    assert quotes.select("bid_price", "bid_size", "ask_price").rows() == [(0, None, -28), (-28.5, 200, -0.25)]


def test_a_venue_s_missing_file_is_named(tmp_path: Path) -> None:
    for venue in ("cme", "nymex"):
        put(tmp_path, FUTURES, "trades", [row(FUTURES, "trades", ticker="ESH4")], venue=venue)
    (tmp_path / "us_futures_cme/trades_v1/2024/03/2024-03-05.csv.gz").unlink()
    load = FlatFileSource(str(tmp_path)).trades(FUTURES)
    assert frame_of(load).height == 1
    (notice,) = load.notices
    assert "us_futures_cme/trades_v1/2024/03/2024-03-05.csv.gz" in notice


def test_a_gap_of_futures_is_healed_only_from_the_files_of_every_venue(tmp_path: Path) -> None:
    ranges = FlatFileRanges(FlatFileSource(str(tmp_path)))
    for venue in ("cme", "nymex", "comex", "cbot"):
        assert ranges.tapes(Market.FUTURES, FUTURES.date, FUTURES.date)[0] == []
        put(tmp_path, FUTURES, "trades", [], venue=venue)
    assert ranges.tapes(Market.FUTURES, FUTURES.date, FUTURES.date) == ([TapeTable.TRADES], "")


def test_a_market_without_files_names_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"futures for 2024-03-05: expected .*us_futures_cbot/trades_v1/2024/03"):
        FlatFileSource(str(tmp_path)).trades(FUTURES)


@pytest.mark.parametrize("table", ["trades", "quotes", "bars"])
def test_a_missing_day_of_bars_alone_names_the_file_of_bars(tmp_path: Path, table: str) -> None:
    put(tmp_path, Partition(dt.date(2024, 3, 4), Market.CRYPTO), "bars", [])
    with pytest.raises(MissingDayError) as raised:
        getattr(FlatFileSource(str(tmp_path)), table)(CRYPTO)
    assert str(raised.value).endswith(f"{tmp_path}/global_crypto/minute_aggs_v1/2024/03/2024-03-05.csv.gz")


def test_a_table_s_missing_file_is_named_where_the_day_has_others(tmp_path: Path) -> None:
    put(tmp_path, Partition(dt.date(2024, 3, 4), Market.STOCKS), "quotes", [])
    put(tmp_path, STOCKS, "trades", [row(STOCKS, "trades")])
    load = FlatFileSource(str(tmp_path)).quotes(STOCKS)
    assert list(load) == []
    assert ["us_stocks_sip/quotes_v1/2024/03/2024-03-05.csv.gz" in notice for notice in load.notices] == [True]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no folder at .*/nope: name the folder"):
        FlatFileSource(str(tmp_path / "nope")).expect_folder()
    with pytest.raises(SourceError, match="expected a folder us_futures_cbot or us_futures_cme or"):
        FlatFileSource(str(tmp_path)).expect_market(Market.FUTURES)
    put(tmp_path, FUTURES, "bars", [], venue="cme")
    FlatFileSource(str(tmp_path)).expect_market(Market.FUTURES)


def test_a_replaced_file_has_another_fingerprint(tmp_path: Path) -> None:
    put(tmp_path, STOCKS, "trades", [row(STOCKS, "trades")])
    source = FlatFileSource(str(tmp_path))
    (before,) = source.files(Market.STOCKS)
    assert source.files(Market.STOCKS) == [before]
    put(tmp_path, STOCKS, "trades", [row(STOCKS, "trades"), row(STOCKS, "trades", 1, sequence_number=2)])
    (after,) = source.files(Market.STOCKS)
    assert (before.table, before.date, before.path) == (after.table, after.date, after.path)
    assert before.fingerprint != after.fingerprint


def test_day_bars_from_a_year_or_from_days(tmp_path: Path) -> None:
    header = HEADERS[Market.STOCKS, "bars"]
    lines = [
        f"{ticker},5,10,10.5,11,9,{dt.datetime(2013, 10, day, 4, tzinfo=dt.UTC).timestamp():.0f}000000000,"
        for ticker in ("A", "B")
        for day in (7, 8)
    ]
    folder = tmp_path / "year" / "us_stocks_sip" / "day_aggs_v1"
    folder.mkdir(parents=True)
    (folder / "2013.csv.gz").write_bytes(gzip.compress("\n".join([header, *lines]).encode()))
    for day, of_day in ((7, lines[::2]), (8, lines[1::2])):
        put(
            tmp_path / "days",
            Partition(dt.date(2013, 10, day), Market.STOCKS),
            "day_bars",
            "\n".join([header, *of_day]),
        )
    year, days = (frame_of(FlatFileSource(str(tmp_path / f)).day_bars(Market.STOCKS, 2013)) for f in ("year", "days"))
    DELIVERED_BARS.check(year)
    assert year.equals(days)
    assert year.height == 4
    with pytest.raises(SourceError, match="day_aggs_v1/2014"):
        FlatFileSource(str(tmp_path / "year")).day_bars(Market.STOCKS, 2014)


def test_a_session_of_futures_has_the_date_on_which_it_ends(tmp_path: Path) -> None:
    for venue, ticker in (("cme", "ESH4"), ("nymex", "CLJ4")):
        evening = row(FUTURES, "day_bars", ticker=ticker, window_start=FUTURES.session.day_start)
        put(tmp_path, FUTURES, "day_bars", [evening], venue=venue)
    bars = daily_bars(FlatFileSource(str(tmp_path)), Market.FUTURES)
    assert (bars.frame.height, bars.refused) == (2, 0)
    assert bars.frame.select(market_date(Market.FUTURES)).to_series().to_list() == [FUTURES.date] * 2
