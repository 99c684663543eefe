"""An example of every request and answer, for the description; a test sends each to the service."""

from typing import Any, Final

_MODEL: Final = {"name": "isolation_forest", "version": "3"}
_TAIL: Final = {"feature_version": 5, "request_id": "6f1d7a2c9b5e4d0f8a3c1e2b4d6f8091"}
_TIME: Final = "2024-06-03T14:25:00Z"
ROWS: Final = {
    "rows": [
        {"symbol": "AAPL", "event_time": _TIME, "volume_ratio": 400.0, "return_bps": -35.0, "spread_ratio": 2.5},
        {"symbol": "MSFT", "event_time": _TIME, "volume_ratio": 1.1},
    ]
}
_VERDICT: Final[dict[str, Any]] = {
    "symbol": "AAPL",
    "event_time": _TIME,
    "score": 0.7124,
    "threshold": 0.65,
    "is_anomaly": True,
}
ANSWER: Final = {"model": _MODEL, "results": [_VERDICT], **_TAIL}
_REASON: Final = {
    "feature": "volume_ratio",
    "value": 400.0,
    "shap_value": 9.77,
    "words": "volume against the half hour before is unusual: 400, as in a volume spike",
}
EXPLAINED: Final = {"model": _MODEL, "results": [_VERDICT | {"reasons": [_REASON]}], **_TAIL}
SYMBOLS: Final = {"symbols": ["AAPL", "MSFT"], "max_age_s": 300.0}
SYMBOLS_ANSWER: Final = {"model": _MODEL, "results": [_VERDICT | {"age_s": 12.4}], **_TAIL}
BARS: Final = {
    "bars": [
        {
            "symbol": "AAPL",
            "time": f"2024-06-03T14:{minute:02}:00Z",
            "open": 194.0,
            "high": 194.2,
            "low": 193.9,
            "close": 194.1,
            "volume": 52_000.0,
            "vwap": 194.05,
            "transactions": 610,
        }
        for minute in range(3)
    ],
    "last": 1,
}
BARS_ANSWER: Final = ANSWER
FEEDBACK: Final = {
    "alert_id": "stocks:price_jump:AAPL:20240603T142500",
    "verdict": "dismissed",
    "note": "a late print",
}
FEEDBACK_ANSWER: Final = {
    "alert_id": FEEDBACK["alert_id"],
    "verdict": "dismissed",
    "author": "desk",
    "request_id": _TAIL["request_id"],
}
_ALERT: Final = {
    "id": FEEDBACK["alert_id"],
    "source": "alert",
    "market": "stocks",
    "symbol": "AAPL",
    "kind": "price_jump",
    "start_time": _TIME,
    "known_time": "2024-06-03T14:25:01Z",
    "level": "warning",
    "message": "moved 35 basis points in 10 seconds, 7 times the usual",
}
ALERTS: Final = {"alerts": [_ALERT], "is_cut": False, "request_id": _TAIL["request_id"]}
EVENT: Final = (
    f'id: 1717424701000000/{FEEDBACK["alert_id"]}\nevent: alert\ndata: {{"id": "{FEEDBACK["alert_id"]}", …}}\n\n'
)
CARD: Final = {
    **_MODEL,
    "role": "champion",
    "detector": "isolation_forest",
    "threshold": 0.65,
    "feature_version": 5,
    "schema_hash": "4f0c…",
    "features": ["volume_ratio", "return_bps"],
    "markets": ["stocks"],
    "fit_window": ["2024-06-03T13:31:00Z", "2024-06-05T20:00:00Z"],
    "training_rows": 5850,
    "partitions": ["2024-06-03|stocks"],
    "lineage": {"mlflow_run": "0d6c…"},
}
_SHADOW: Final = {
    **CARD,
    **{"version": "4", "role": "challenger", "lineage": {"mlflow_run": "77b1…"}},
    "agreement": {
        "rows": 1200,
        "gained": 3,
        "lost": 1,
        "not_scored": 0,
        "dropped": 0,
        "mean_difference": 0.012,
        "share": 0.9967,
    },
}
MODELS: Final = {"models": [CARD, _SHADOW], "request_id": _TAIL["request_id"]}
HEALTH: Final = {"status": "ready", "model": _MODEL, "access": "callers with an API key"}
ALIAS_EVENT: Final = {
    **{"entity": "model_version_alias", "action": "created", "timestamp": "2024-06-03T14:27:00+00:00"},
    "data": {"name": "isolation_forest", "alias": "champion", "version": "4"},
}
WEBHOOK_ANSWER: Final = {"outcome": "served", "reason": "", "request_id": _TAIL["request_id"]}
WEBHOOK_WAITING: Final = {
    **WEBHOOK_ANSWER,
    **{"outcome": "waiting", "reason": "isolation_forest 4 is not in the store: materialize serving/anomaly_bento"},
}
