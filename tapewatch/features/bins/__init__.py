"""Bins of five seconds: sums over the tape that are known at a bin's end."""
