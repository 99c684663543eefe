"""Anomalies of daily bars, and their alerts."""
