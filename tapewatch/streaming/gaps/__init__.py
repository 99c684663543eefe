"""Gaps: finds and records missing stretches of the tape, and fills them from a source of record."""
