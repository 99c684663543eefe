"""The operational database and the feature store."""
