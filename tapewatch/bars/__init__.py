"""Bars built from the tape, and how complete the tape is."""
