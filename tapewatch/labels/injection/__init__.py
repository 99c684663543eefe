"""Anomalies of ten kinds put into a real tape at chosen strengths, with their truth."""
