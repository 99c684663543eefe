"""Simple detectors of minutes, by which the others are measured."""
