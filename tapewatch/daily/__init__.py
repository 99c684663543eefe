"""Anomalies of daily bars: impossible prices and moves that are no split, and their alerts. Not tied to streams."""
