"""Flat files: from a folder or URL of the vendor's CSV files to sorted frames and quarantined lines, in flat memory.

Layouts and parsing belong here. Partitions of the lake do not (`tapewatch.store.lake`).
"""
