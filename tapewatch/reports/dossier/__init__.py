"""The dossier of an alert: its tape, its reasons in words, its score made again, similar events, and the exact data."""
