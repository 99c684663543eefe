"""Scores of rows, symbols and tape, and the refusal of what cannot be scored."""

import datetime as dt
import io
import json

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from models.served.minutes import Minutes
from serving.cache import AnswerCache
from serving.contract import examples
from serving.operations import scoring
from serving.schemas import MAX_ROWS, Verdict
from serving.traffic.log import read_traffic
from tapewatch.features.from_bars import bar_features
from tapewatch.features.microstructure import microstructure
from tapewatch.market.instruments import NS_PER_MINUTE, Market, session_of
from tapewatch.market.tables.tape import QUOTES, TRADES
from tests.serving.operations.conftest import AT, MINUTE, Served, publish
from tests.support.detectors import extreme, ordinary_rows

ARROW = {"content-type": "application/vnd.apache.arrow.stream"}
ROW = {"symbol": "AAPL", "event_time": AT.isoformat(), "volume_ratio": 400.0}


def stream(rows: pl.DataFrame, **options: object) -> bytes:
    table = rows.to_arrow()
    table = pa.table({name: table[name] for name in table.column_names})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return sink.getvalue()


def plain(rows: pl.DataFrame, served: Served) -> pl.DataFrame:
    features = served.deployment.slot.scorer.features
    return rows.select(pl.col("symbol").cast(pl.String), "event_time", *features)


def test_json_arrow_and_the_detector_give_the_same_scores(served: Served) -> None:
    rows = pl.concat([ordinary_rows(4).sample(150, seed=1, shuffle=True), extreme(ordinary_rows(4).slice(50, 10))])
    given = plain(rows, served)
    body = {"rows": [{**row, "event_time": row["event_time"].isoformat()} for row in given.to_dicts()]}
    by_json = served.client.post("/score", json=body).raise_for_status().json()
    by_arrow = served.client.post("/score", content=stream(given), headers=ARROW).raise_for_status().json()
    assert by_json["results"] == by_arrow["results"]
    wanted = {**ARROW, "accept": ARROW["content-type"]}
    answer = pa.ipc.open_stream(served.client.post("/score", content=stream(given), headers=wanted).content).read_all()
    assert answer["score"].to_pylist() == [each["score"] for each in by_json["results"]]
    assert answer["one_in_hours"].to_pylist() == [each.get("one_in_hours") for each in by_json["results"]]
    scorer = served.deployment.slot.scorer
    expected = scorer.detector.score(Minutes.of_frame(rows, scorer.features))
    assert [each["score"] for each in by_json["results"]] == expected.tolist()
    assert (by_json["model"], by_json["feature_version"]) == (
        {"name": "isolation_forest", "version": "3"},
        scorer.feature_version,
    )
    assert "reasons" not in by_json["results"][0]


def test_slices_scored_side_by_side_are_in_the_order_of_the_request(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = ordinary_rows(4)
    rows = pl.concat([rows] * (2_500 // rows.height + 1)).head(2_500)
    scorer = served.deployment.slot.scorer
    expected = scorer.detector.score(Minutes.of_frame(rows, scorer.features)).tolist()
    for cores, slice_ in ((1, 5_120), (2, 5_120), (3, 200)):
        monkeypatch.setattr(scoring, "CORES", cores)
        monkeypatch.setattr(scoring, "_SLICE", slice_)
        # Equal requests are answered from memory.
        served.deployment.cache = AnswerCache(None, ttl_s=60)
        answer = served.client.post("/score", content=stream(plain(rows, served)), headers=ARROW)
        assert [each["score"] for each in answer.raise_for_status().json()["results"]] == expected


def test_an_answer_in_arrow_says_what_the_one_in_json_says(served: Served) -> None:
    odd = ["X:BTC-USD", "AAPL", "AAPL", "MSFT"]
    times = [AT, AT, AT - dt.timedelta(days=365), AT]
    rows = [ROW | {"symbol": name, "event_time": time.isoformat()} for name, time in zip(odd, times, strict=True)]
    for path, body in (("/score", rows * 100), ("/score?reasons=true", rows), ("/explain", rows[1:2])):
        by_arrow = served.client.post(path, json={"rows": body}, headers={"accept": ARROW["content-type"]})
        assert by_arrow.raise_for_status().headers["content-type"] == ARROW["content-type"]
        table = pa.ipc.open_stream(by_arrow.content).read_all()
        answer = served.client.post(path, json={"rows": body}).json()
        found = [msgspec.convert(row, Verdict) for row in map(_without_nulls, table.to_pylist())]
        assert found == [msgspec.convert(each, Verdict) for each in answer["results"]]
        assert table.schema.metadata[b"version"].decode() == answer["model"]["version"]
        assert int(table.schema.metadata[b"feature_version"]) == answer["feature_version"]


def _without_nulls(row: dict[str, object]) -> dict[str, object]:
    """Null columns of text and reasons are what a verdict leaves out."""
    return {name: value for name, value in row.items() if value is not None or name in ("score", "is_anomaly")}


def test_reasons_come_when_asked_for_and_in_words_from_explain(served: Served) -> None:
    asked = served.client.post("/score?reasons=true", json=ROW).json()["results"][0]
    explained = served.client.post("/explain", json=ROW).json()["results"][0]
    assert asked["score"] == explained["score"]
    assert [r["feature"] for r in asked["reasons"]] == [r["feature"] for r in explained["reasons"]]
    words = next(r["words"] for r in explained["reasons"] if r["feature"] == "volume_ratio")
    assert "400" in words
    assert "volume spike" in words


def test_more_reasons_than_can_be_given_in_time_are_refused_early(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "_TRIED_S", 0.0)
    monkeypatch.setattr(scoring, "PATIENCE_S", 1e-9)
    body = {"rows": [ROW | {"volume_ratio": 1.0 + at} for at in range(100)]}
    answer = served.client.post("/explain", json=body)
    problem = answer.json()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
    assert problem["detail"].startswith("100 rows would take some")
    assert problem["way_out"] == "send at most 1 rows a request, or try again later"
    # What is done already is answered.
    for few in (ROW, {"rows": body["rows"][:30]}):
        assert served.client.post("/explain", json=few).status_code == 200
    monkeypatch.setattr(scoring, "PATIENCE_S", 3_600.0)
    assert len(served.client.post("/explain", json=body).raise_for_status().json()["results"]) == 100


@pytest.mark.parametrize(
    ("change", "field", "word"),
    [
        ({"volume_ratoi": 1}, "volume_ratoi", "unknown"),
        ({"event_time": None}, "event_time", "event_time"),
        ({"volume_ratio": "400"}, "volume_ratio", "float"),
        ({"volume_ratio": -1}, "volume_ratio", ">= 0"),
        ({"symbol": ""}, "symbol", "length"),
    ],
)
def test_a_refusal_is_a_problem_that_names_the_field(
    served: Served, change: dict[str, object], field: str, word: str
) -> None:
    answer = served.client.post("/score", json={"rows": [ROW, ROW | change]}, headers={"x-request-id": "mine-1"})
    body = answer.json()
    assert answer.status_code == body["status"] == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == body["request_id"] == "mine-1"
    assert body["field"] == f"rows[1].{field}"
    assert word in body["detail"]
    assert body["way_out"]


@pytest.mark.parametrize(
    ("body", "field", "word"),
    [
        ({**ROW, "volume_ratio": float("nan")}, "volume_ratio", "send null"),
        ({"rows": [{**ROW, "return_bps": float("-inf")}]}, "return_bps", "-Infinity"),
        ({"symbol": "AAPL", "volume_ratio": 1.0}, "event_time", "missing"),
    ],
)
def test_what_json_has_no_number_for_and_what_is_missing_is_named(
    served: Served, body: dict[str, object], field: str, word: str
) -> None:
    headers = {"content-type": "application/json"}
    answer = served.client.post("/score", content=json.dumps(body), headers=headers)
    problem = answer.json()
    assert (answer.status_code, problem["field"]) == (422, field)
    assert word in problem["detail"]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda f: f.rename({"volume_ratio": "volume_ratoi"}), "volume_ratoi"),
        (lambda f: f.drop("symbol"), "missing columns symbol"),
        (lambda f: f.with_columns(volume_ratio=pl.lit("x")), "not a number"),
        (lambda f: f.with_columns(volume_ratio=pl.lit(-1.0)), "outside 0"),
        (lambda f: f.with_columns(volume_ratio=pl.lit(float("inf"))), "outside 0"),
        (lambda f: f.with_columns(volume_ratio=pl.lit(float("nan"))), "null where none is known"),
        (lambda f: f.with_columns(pl.col("event_time").dt.replace_time_zone(None)), "time zone"),
        (lambda f: f.with_columns(symbol=pl.lit(None, pl.String)), "null, empty"),
        (lambda f: f.clear(), "send 1 to"),
        (lambda f: f.with_columns(pl.lit(None, pl.Float64).alias(c) for c in f.columns[2:]), "holds no feature"),
        (lambda f: pl.concat([f] * (MAX_ROWS // f.height + 1)), "send 1 to"),
    ],
)
def test_arrow_is_checked_as_json_is(served: Served, change, word: str) -> None:
    given = change(plain(ordinary_rows(4).head(400), served))
    answer = served.client.post("/score", content=stream(given), headers=ARROW)
    assert answer.status_code == 422, answer.text
    assert word in answer.json()["detail"]


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_a_compressed_stream_is_refused_before_it_is_inflated(served: Served, compression: str) -> None:
    given = plain(ordinary_rows(4).head(400), served)
    answer = served.client.post("/score", content=stream(given, compression=compression), headers=ARROW)
    assert (answer.status_code, "compressed" in answer.json()["detail"]) == (422, True)


def test_broken_streams_are_refused(served: Served) -> None:
    whole = stream(plain(ordinary_rows(4).head(40), served))
    noise = np.random.default_rng(0)
    broken = [b"", b"x" * 100, whole[:50], whole[:-500]]
    for _ in range(60):
        changed = bytearray(whole)
        for at in noise.integers(0, len(whole), 6):
            changed[at] = noise.integers(0, 256)
        broken.append(bytes(changed))
    statuses = {served.client.post("/score", content=body, headers=ARROW).status_code for body in broken}
    assert statuses <= {200, 422}
    assert 422 in statuses


def test_symbols_are_scored_by_their_newest_features(served: Served) -> None:
    home = served.deployment.home
    now = dt.datetime.now(dt.UTC)
    publish(home, "AAPL", AT, AT + MINUTE, volume_ratio=400.0)
    publish(home, "MSFT", now - 2 * MINUTE, now - MINUTE, volume_ratio=1.0)
    asked = {"symbols": ["AAPL", "MSFT", "NONE"], "time": (AT + 2 * MINUTE).isoformat()}
    first, second, third = served.client.post("/score_symbols", json=asked).raise_for_status().json()["results"]
    alone = served.client.post("/score", json=ROW).json()["results"][0]
    assert (first["score"], first["age_s"], first["event_time"]) == (alone["score"], 60.0, "2024-06-03T14:25:00Z")
    assert "after the time that was asked for" in second["not_scored"]
    assert (third["score"], third["is_anomaly"]) == (None, None)
    assert "unknown symbol" in third["not_scored"]
    stale, fresh = served.client.post("/score_symbols", json={"symbols": ["AAPL", "MSFT"]}).json()["results"]
    assert "stale features" in stale["not_scored"]
    assert stale["age_s"] > 86_400
    assert "not_scored" not in fresh or "regular session" in fresh["not_scored"]


def test_symbols_without_usable_features_are_refused_by_name(served: Served) -> None:
    publish(served.deployment.home, "AAPL", AT, AT + MINUTE, volume_ratio=400.0)
    answer = served.client.post("/score_symbols", json={"symbols": ["AAPL", *(f"NONE{n}" for n in range(9))]})
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (422, "urn:tapewatch:error:features")
    assert (problem["field"], "max_age_s" in problem["way_out"]) == ("symbols", True)
    for words in ("AAPL: stale features", "NONE0: unknown symbol", "and 5 more"):
        assert words in problem["detail"]


def test_without_an_online_store_the_way_out_is_named(served: Served) -> None:
    answer = served.client.post("/score_symbols", json={"symbols": ["AAPL"]})
    assert answer.status_code == 503
    assert "feature_store/online" in answer.json()["way_out"]
    assert not (served.deployment.home / "feast").exists(), "reading makes no store"


def made_bars(minutes: int) -> list[dict[str, object]]:
    noise = np.random.default_rng(3)
    price = 194.0 * np.exp(np.cumsum(noise.normal(0, 1e-4, minutes)))
    return [
        {
            **{
                "symbol": symbol,
                "time": (AT + at * MINUTE).isoformat(),
                "open": p,
                "high": p * 1.001,
                "low": p * 0.999,
            },
            **{"close": p, "volume": float(noise.integers(1_000, 9_000)), "vwap": p, "transactions": 40 + at},
        }
        for symbol in ("AAPL", "MSFT")
        for at, p in enumerate(price.tolist())
    ]


def test_bars_are_scored_as_the_lake_s_features_would_be(served: Served) -> None:
    bars = made_bars(45)
    answer = served.client.post("/score_bars", json={"bars": bars, "last": 3}).raise_for_status().json()
    session = session_of(Market.STOCKS, AT.date())
    frame = pl.DataFrame(bars).with_columns(pl.col("time").str.to_datetime(time_zone="UTC", time_unit="ns"))
    rows = bar_features(frame, session, through_ns=int((AT + 45 * MINUTE).timestamp()) * 10**9)
    scorer = served.deployment.slot.scorer
    expected = scorer.answer(
        rows.with_columns(pl.col("symbol").cast(pl.String)).group_by("symbol", maintain_order=True).tail(3)
    )
    assert [(r["symbol"], r["score"]) for r in answer["results"]] == [(v.symbol, v.score) for v in expected.results]
    assert len(answer["results"]) == 6


def test_ticks_are_scored_as_the_lake_s_features_would_be(served: Served) -> None:
    noise = np.random.default_rng(4)
    offsets = np.sort(noise.uniform(0, 40 * 60, 900))
    trades = [
        {
            "symbol": "AAPL",
            "time": (AT + dt.timedelta(seconds=float(s))).isoformat(),
            "price": 194 + float(noise.normal(0, 0.02)),
            "size": 100.0,
        }
        for s in offsets
    ]
    quotes = [
        {
            "symbol": "AAPL",
            "time": t["time"],
            "bid_price": 193.99,
            "ask_price": 194.01,
            "bid_size": 5.0,
            "ask_size": 7.0,
        }
        for t in trades[::2]
    ]
    asked = {"trades": trades, "quotes": quotes, "through": (AT + 40 * MINUTE).isoformat(), "last": 5}
    answer = served.client.post("/score_bars", json=asked).raise_for_status().json()
    session = session_of(Market.STOCKS, AT.date())
    tape = []
    for rows, table in ((trades, TRADES), (quotes, QUOTES)):
        frame = pl.DataFrame(rows).with_columns(
            pl.col("time").str.to_datetime(time_zone="UTC", time_unit="ns"),
            sequence_number=pl.int_range(pl.len()),
            exchange=pl.lit(0),
            conditions=pl.lit(""),
        )
        tape.append(table.conform(frame))
    through = (int(AT.timestamp()) + 40 * 60) * 10**9
    rows = microstructure(*tape, session, through_ns=through).tail(5)
    expected = served.deployment.slot.scorer.answer(rows.with_columns(pl.col("symbol").cast(pl.String)))
    assert [r["score"] for r in answer["results"]] == [v.score for v in expected.results]
    assert through % NS_PER_MINUTE == 0


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"bars": []}, "no tape"),
        ({"trades": [{"symbol": "AAPL", "time": AT.isoformat(), "price": 1.0, "size": 1.0}]}, "not both"),
        ({"bars": [made_bars(1)[0], made_bars(1)[0] | {"symbol": "X:BTC-USD"}]}, "one market"),
        ({"bars": [made_bars(1)[0], made_bars(1)[0] | {"time": "2024-06-04T14:25:00Z"}]}, "2 days"),
        ({"bars": [made_bars(1)[0] | {"time": "2024-06-02T14:25:00Z"}]}, "does not trade"),
        ({"bars": [made_bars(1)[0] | {"time": "2024-06-03T14:25:30Z"}]}, "whole minute"),
        ({"bars": [made_bars(1)[0]] * 2}, "two bars"),
        ({"bars": [made_bars(1)[0] | {"time": "9999-12-31T23:59:59Z"}]}, ""),
        ({"through": "2024-06-03T04:00:00Z"}, "no minute"),
    ],
)
def test_tape_that_cannot_be_scored_is_refused(served: Served, change: dict[str, object], word: str) -> None:
    answer = served.client.post("/score_bars", json={"bars": made_bars(3)} | change)
    assert answer.status_code == 422, answer.text
    assert word in answer.json()["detail"]


def test_every_example_is_answered(served: Served) -> None:
    bodies = {"/score": examples.ROWS, "/explain": examples.ROWS, "/score_bars": examples.BARS}
    for path, body in bodies.items():
        assert served.client.post(path, json=body).status_code == 200, path
    now = dt.datetime.now(dt.UTC)
    publish(served.deployment.home, "AAPL", now - MINUTE, now, volume_ratio=1.0)
    assert served.client.post("/score_symbols", json=examples.SYMBOLS | {"max_age_s": 3_600.0}).status_code == 200


def test_equal_requests_are_answered_from_memory_and_by_the_model_that_is_served(served: Served) -> None:
    def hits() -> float:
        lines = served.client.get("/metrics").text.splitlines()
        return sum(
            float(line.split()[-1])
            for line in lines
            if line.startswith('tapewatch_scoring_cache_total{source="memory"}')
        )

    before = hits()
    first, second = (served.client.post("/score", json=ROW).json() for _ in range(2))
    assert hits() == before + 1
    assert first["results"] == second["results"]
    assert first["request_id"] != second["request_id"]


def test_sampled_requests_reach_the_lake(served: Served) -> None:
    today = dt.datetime.now(dt.UTC).date()
    answer = served.client.post("/score", json={"rows": [ROW, ROW | {"return_bps": 3.0}]}).json()
    assert served.deployment.traffic.flush() == 2
    assert served.deployment.traffic.flush() == 0
    kept = read_traffic(served.deployment.home / "lake", today - dt.timedelta(days=1), today)
    assert kept["score"].to_list() == [each["score"] for each in answer["results"]]
    vector = dict(zip(kept["features"][1], kept["values"][1], strict=True))
    assert (vector["volume_ratio"], vector["return_bps"], vector["spread_ratio"]) == (
        400.0,
        3.0,
        None,
    )
    assert set(kept["request_id"]) == {answer["request_id"]}


def test_a_body_that_is_too_large_or_of_another_type_is_refused(served: Served) -> None:
    large = json.dumps({"rows": "x" * 5_000_000})
    assert served.client.post("/score", content=large, headers={"content-type": "application/json"}).status_code == 413
    assert served.client.post("/score", content="a,b", headers={"content-type": "text/csv"}).status_code == 415
