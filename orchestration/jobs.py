"""The platform's jobs: verbs over selections of assets."""

import dagster as dg

STREAMED = dg.AssetSelection.assets(["tape", "stream_batches"])
#: What a source of record delivers; what a stream does is merged as it comes.
TAPE = dg.AssetSelection.groups("tape") - STREAMED
DERIVED = dg.AssetSelection.groups("features", "labels")
TRAINED = dg.AssetSelection.groups("models", "explanations", "serving")
DETECTED = dg.AssetSelection.groups("detections")

backfill_tape = dg.define_asset_job("backfill_tape", TAPE, description="Fetch the tape of a day or a range of days.")
build_features = dg.define_asset_job(
    "build_features", DERIVED, description="Features, labels and training set of days whose tape is in the lake."
)
ingest_stream = dg.define_asset_job(
    "ingest_stream",
    STREAMED | dg.AssetSelection.assets(["tape", "bars"], ["tape", "coverage"], ["features", "microstructure"]),
    config={"ops": {"tape__bars": {"config": {"from_stream": True}}}},
    description="Merge the spool's batches of a day into the tape, and renew what is made of it.",
)
certify_days = dg.define_asset_job(
    "certify_days",
    dg.AssetSelection.assets(["tape", "coverage"]),
    description="Renew the certificates of days, and look for gaps that nobody fills.",
)
update_day = dg.define_asset_job(
    "update_day", TAPE | DERIVED, description="From the source to the training set, for a day or a range of days."
)
train_detectors = dg.define_asset_job(
    "train_detectors", TRAINED, description="Fit, evaluate, explain, crown and package the detector."
)
detect_anomalies = dg.define_asset_job(
    "detect_anomalies", DETECTED, description="Score days of features by the champion and keep the anomalies."
)
profile_tape = dg.define_asset_job(
    "profile_tape", dg.AssetSelection.groups("reports"), description="A page on what a day's tape holds."
)

JOBS = [
    ingest_stream,
    certify_days,
    backfill_tape,
    build_features,
    update_day,
    train_detectors,
    detect_anomalies,
    profile_tape,
]
