"""Signals, what became of them, the strategies judged, and paper accounts."""
