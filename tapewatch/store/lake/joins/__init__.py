"""Joins as of a time: of each key the row that was known then, over the partitions of a table and the versions of their rows."""
