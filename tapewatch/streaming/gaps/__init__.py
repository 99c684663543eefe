"""Gaps: how missing stretches of the tape are found, recorded, and filled from a source of record."""
