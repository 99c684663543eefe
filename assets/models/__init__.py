"""Detectors: fitted, judged, registered, promoted."""
