"""The rules: their thresholds, the state kept per symbol, and one compiled pass per kind of event."""
