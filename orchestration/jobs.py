"""The platform's jobs."""

import dagster as dg

#: Looks at all days of a market, so it belongs to no run of a few days.
FRESHNESS = dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey(["tape", "coverage"]), "up_to_date"))
STREAMED = dg.AssetSelection.assets(["tape", "stream_batches"])
#: Bars of other clocks, and of futures joined together, are built from the tape, not fetched.
INFORMATION = dg.AssetSelection.assets(["tape", "information_bars"], ["tape", "continuous_bars"])
#: Tables that a source of record delivers; streamed batches are merged by a job of their own.
TAPE = dg.AssetSelection.groups("tape") - STREAMED - INFORMATION - FRESHNESS
_STREAMED_FEATURES = (
    "microstructure",
    "microstructure_more",
    "bins_5s",
    "indicators",
    "correlations",
    "cross_asset",
    "regimes",
    "seasonality",
)
#: Labels by people and by what was detected: they follow the detections.
COLLECTED = dg.AssetSelection.assets(["labels", "human_labels"], ["labels", "weak_labels"])
DERIVED = (dg.AssetSelection.groups("features", "labels") - COLLECTED) | INFORMATION
#: Reports about whole detectors fit them again: they are made apart from a training.
REPORTED = dg.AssetSelection.assets(
    *(
        ["explanations", f"{name}_report"]
        for name in ("isolation_forest", "lstm_autoencoder", "anomaly_classifier", "ensemble")
    )
)
REPLAYED = dg.AssetSelection.assets(["serving", "replayed_requests"])
TRAINED = dg.AssetSelection.groups("models", "explanations", "serving") - REPORTED - REPLAYED
DRIFTED = dg.AssetSelection.assets(["detections", "drift"])
DETECTED = dg.AssetSelection.groups("detections") - DRIFTED

backfill_tape = dg.define_asset_job("backfill_tape", TAPE, description="Fetch the tape of a day or a range of days.")
build_features = dg.define_asset_job(
    "build_features",
    DERIVED,
    description="Compute features, labels and training set of days whose tape is in the lake.",
)
ingest_stream = dg.define_asset_job(
    "ingest_stream",
    STREAMED
    | dg.AssetSelection.assets(
        ["tape", "bars"],
        ["tape", "coverage"],
        *(["features", name] for name in _STREAMED_FEATURES),
    )
    - FRESHNESS,
    config={"ops": {"tape__bars": {"config": {"from_stream": True}}}},
    description="Merge the spool's batches of a day into the tape, and recompute what depends on it.",
)
certify_days = dg.define_asset_job(
    "certify_days",
    dg.AssetSelection.assets(["tape", "coverage"]) - FRESHNESS,
    description="Recompute the certificates of days, and check for old gaps.",
)
update_day = dg.define_asset_job(
    "update_day",
    TAPE | DERIVED,
    description="Fetch a day or a range of days and compute everything up to the training set.",
)
train_detectors = dg.define_asset_job(
    "train_detectors", TRAINED, description="Fit, evaluate, explain, register and package the detector."
)
detect_anomalies = dg.define_asset_job(
    "detect_anomalies", DETECTED, description="Score days of features with the champion and store the anomalies."
)
explain_models = dg.define_asset_job(
    "explain_models", REPORTED, description="Report what each detector looks at as a whole: importance and steadiness."
)
measure_drift = dg.define_asset_job(
    "measure_drift", DRIFTED, description="Measure how far days are from those that the champion was fitted on."
)
check_freshness = dg.define_asset_job(
    "check_freshness", FRESHNESS, description="Check that each market is certified up to its last finished trading day."
)
collect_labels = dg.define_asset_job(
    "collect_labels",
    COLLECTED | dg.AssetSelection.assets(["labels", "training_set"]),
    description="Copy people's labels of days into the lake and the training set, and label minutes by what rules and detectors found.",
)
scan_days = dg.define_asset_job(
    "scan_days",
    TAPE | dg.AssetSelection.assets(["features", "bins_5s"], ["detections", "incidents"]),
    description="Fetch days and find their incidents with a trained scan.",
)
refresh_feature_store = dg.define_asset_job(
    "refresh_feature_store",
    dg.AssetSelection.groups("feature_store"),
    description="Apply the features' definitions, and bring the online store to the newest rows of the lake.",
)
profile_tape = dg.define_asset_job(
    "profile_tape", dg.AssetSelection.groups("reports"), description="Write a page about a day's tape."
)
backtest_signals = dg.define_asset_job(
    "backtest_signals",
    dg.AssetSelection.assets(["trading", "signals"], ["trading", "backtest"]),
    description="Turn the alerts and features of days into signals, and see what became of them.",
)
judge_strategies = dg.define_asset_job(
    "judge_strategies",
    dg.AssetSelection.assets(["trading", "walk_forward"]),
    description="Judge the strategies on all backtested days, and write the tear sheet.",
)
report_paper = dg.define_asset_job(
    "report_paper",
    dg.AssetSelection.assets(["trading", "paper_portfolio"]),
    description="Copy what the paper accounts hold into the lake.",
)

replay_requests = dg.define_asset_job(
    "replay_requests",
    REPLAYED,
    description="Score the sampled requests of days again, and compare their vectors with the lake.",
)

JOBS = [
    backfill_tape,
    backtest_signals,
    build_features,
    certify_days,
    check_freshness,
    collect_labels,
    detect_anomalies,
    explain_models,
    ingest_stream,
    judge_strategies,
    measure_drift,
    profile_tape,
    refresh_feature_store,
    replay_requests,
    report_paper,
    scan_days,
    train_detectors,
    update_day,
]
