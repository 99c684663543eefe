"""The card of a registered version: what it is for, what it was made from, how well it does, and where it ends."""

from mlflow.entities import Run

#: What each detector does, in a sentence.
PURPOSES = {
    "isolation_forest": "Finds anomalous minutes by how few random cuts isolate them (Liu, Ting and Zhou 2008).",
    "lstm_autoencoder": "Finds anomalous minutes by how badly an LSTM autoencoder restores them (Malhotra et al. 2016).",
    "anomaly_classifier": "Finds and names anomalous minutes by boosted trees, grown on injected and labelled anomalies.",
    "ensemble": "Finds anomalous minutes by several detectors on one scale: how many hours of ordinary tape lie between alerts.",
    "scan": "Finds incidents in bins of five seconds by how rarely ordinary tape peaks as high.",
}
_MEASURES = (
    ("average_precision", "average precision"),
    ("rule_average_precision", "average precision of the trivial rule"),
    ("champion_average_precision", "average precision of the champion then"),
    ("event_recall", "anomalies found"),
    ("false_alerts_per_390_minutes", "false alerts in 390 minutes of a symbol"),
    ("delay_minutes", "median delay, minutes"),
)
#: Tags of the run that the version repeats.
_TAGS = ("code_version", "seed", "lock_file_sha256")


def model_card(run: Run, name: str) -> tuple[str, dict[str, str]]:
    """The card (Markdown) and the tags of the version that a run trained."""
    data = run.data
    measured = [(words, data.metrics[key]) for key, words in _MEASURES if key in data.metrics]
    rows = "\n".join(f"| {words} | {value:.3f} |" for words, value in measured)
    parameters = ", ".join(f"{key} {value}" for key, value in sorted(data.params.items()) if value not in ("", "[]"))
    tags = {key: data.tags[key] for key in _TAGS if key in data.tags}
    made = ", ".join(f"{key.replace('_', ' ')} `{value[:12]}`" for key, value in tags.items())
    parts = [
        f"# {name}",
        PURPOSES.get(name, "Finds anomalies."),
        f"**Made from** {data.tags.get('mlflow.runName', run.info.run_id)}. The run `{run.info.run_id}` holds the partitions with "
        f"their hashes (`inputs.json`, `partitions.json`). {made}.",
        f"**Parameters**: {parameters}.",
        f"**On days that it was not fitted on**\n\n| measure | value |\n|---|---|\n{rows}"
        if rows
        else "**Not judged**: the validation days hold no anomaly.",
        "**Use** it for alerts that a person looks at; it proves nothing about intent. **Limits**: it was fitted on the markets of "
        "these days alone, an unseen symbol is compared with its market, and anomalies that last for weeks become usual.",
    ]
    return "\n\n".join(parts), tags
